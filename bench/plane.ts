/** The cost of the local control plane, with and without a long history. */
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { ConvexHttpClient } from "convex/browser"
import { anyApi } from "convex/server"
import { Effect } from "effect"
import { type LaunchedPlane, launchPlane } from "../local/launcher.ts"
import { temporaryFolder } from "../local/temporaryFolder.ts"
import { type Figure, figureOf } from "./figure.ts"

const app = fileURLToPath(new URL("../test/local/plane/fixtures/app", import.meta.url))
const rows = 20_000
const rounds = 15
const pairsPerRound = 100
const inFlight = 16
const api = anyApi as Record<string, Record<string, never>>

const adminOf = (plane: LaunchedPlane): ConvexHttpClient => {
  const client = new ConvexHttpClient(plane.url, { skipConvexDeploymentUrlCheck: true, logger: false })
  ;(client as ConvexHttpClient & { setAdminAuth(key: string): void }).setAdminAuth(plane.adminKey)
  return client
}

const call = <A>(client: ConvexHttpClient, module: string, name: string, args: Record<string, unknown>): Promise<A> =>
  client.mutation(api[module]![name]!, args as never, { skipQueue: true }) as Promise<A>

/** Delivered rows, in transactions that a deployment accepts. */
const seedHistory = async (client: ConvexHttpClient): Promise<void> => {
  for (let seeded = 0; seeded < rows; seeded += 5_000) {
    await call(client, "queue", "seed", { count: 5_000, status: "delivered" })
  }
}

/** Milliseconds for one claim and its completion, over one round of them. */
const claimAndComplete = async (client: ConvexHttpClient): Promise<number> => {
  await call(client, "queue", "seed", { count: pairsPerRound, status: "ready" })
  const before = performance.now()
  for (let pair = 0; pair < pairsPerRound; pair += 1) {
    const id = await call<string>(client, "queue", "claim", { holder: "bench" })
    await call(client, "queue", "complete", { id })
  }
  return (performance.now() - before) / pairsPerRound
}

const mutationsPerSecond = async (client: ConvexHttpClient): Promise<number> => {
  const count = 3_000
  let left = count
  const before = performance.now()
  await Promise.all(
    Array.from({ length: inFlight }, async (_, lane) => {
      while (left-- > 0) await call(client, "items", "add", { group: `lane ${lane}`, rank: left })
    })
  )
  return count / ((performance.now() - before) / 1_000)
}

/**
 * Paired rounds on two planes, one with a history and one without, so that a slow moment of the machine affects both.
 */
const history = Effect.gen(function* () {
  const empty = adminOf(yield* launchPlane({ name: "plane-empty", args: ["--app", app] }))
  const full = adminOf(yield* launchPlane({ name: "plane-full", args: ["--app", app] }))
  return yield* Effect.promise(async () => {
    await seedHistory(full)
    const warmUp = 4
    const samples = { empty: [] as Array<number>, full: [] as Array<number>, ratio: [] as Array<number> }
    for (let round = 0; round < rounds + warmUp; round += 1) {
      const withoutHistory = await claimAndComplete(empty)
      const withHistory = await claimAndComplete(full)
      if (round < warmUp) continue
      samples.empty.push(withoutHistory)
      samples.full.push(withHistory)
      samples.ratio.push((withHistory / withoutHistory - 1) * 100)
    }
    return [
      figureOf("claim and complete, empty table", "ms", samples.empty),
      figureOf("claim and complete, 20,000 delivered rows", "ms", samples.full),
      figureOf("what 20,000 delivered rows add to it", "%", samples.ratio, { below: 20 })
    ]
  })
}).pipe(Effect.scoped)

const throughput = (name: string, args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const client = adminOf(yield* launchPlane({ args: ["--app", app, ...args] }))
    const samples = yield* Effect.promise(async () => {
      const rates: Array<number> = []
      for (let sample = 0; sample < 6; sample += 1) rates.push(await mutationsPerSecond(client))
      return rates.slice(1)
    })
    return figureOf(name, "1/s", samples, { atLeast: 1_500 })
  }).pipe(Effect.scoped)

const restore = (file: string) =>
  Effect.gen(function* () {
    yield* launchPlane({ args: ["--app", app, "--data", file] }).pipe(
      Effect.flatMap((plane) => Effect.promise(() => seedHistory(adminOf(plane)))),
      Effect.scoped
    )
    const restored: Array<number> = []
    const started: Array<number> = []
    for (let sample = 0; sample < 5; sample += 1) {
      const before = performance.now()
      const plane = yield* launchPlane({ args: ["--app", app, "--data", file] }).pipe(Effect.scoped)
      started.push(performance.now() - before)
      restored.push(Number(plane.ready["restoreMilliseconds"]))
    }
    return [
      figureOf("20,000 rows restored from the file", "ms", restored, { below: 1_000 }),
      figureOf("process start to ready and stopped again, with them", "ms", started)
    ]
  })

/** Runs all measurements; takes about half a minute. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder("plane-bench-")
    return [
      ...(yield* history),
      yield* throughput("simple mutations, 16 in flight", []),
      yield* throughput("simple mutations kept in a file, 16 in flight", ["--data", join(folder, "rate")]),
      ...(yield* restore(join(folder, "restore")))
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
