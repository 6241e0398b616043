import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { runtimeEnv } from "../../local/account.ts"
import type { NewAgent } from "../../local/account.ts"
import type { Script } from "../../local/model/script.ts"
import { entry } from "./entry.ts"
import { eventually, makeSetup } from "./setup.ts"
import type { Setup, Message } from "./setup.ts"
import { freePort, gatewaySettings, makeGatewayHome } from "./supervisedGateway.ts"

const root = join(import.meta.dirname, "..", "..")
const team: ReadonlyArray<NewAgent> = Array.from({ length: 4 }, (_, index) => ({
  slug: `agent-${index}`,
  name: `Agent ${index}`,
  role: "answers"
}))
const script: Script = {
  rules: [
    {
      match: "mentioned you",
      repeat: true,
      capture: { n: "request number (\\d+)" },
      actions: [{ delayMs: 400, text: "Answer {{n}}" }]
    }
  ],
  fallback: { text: "NO_ACTION" }
}

/** A runtime that is not awaited: it may be signalled at any time after its start. */
const spawnRuntime = (env: Record<string, string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const mark = randomUUID()
      const child = spawn(
        process.execPath,
        ["--import", join(root, "local/launcher/dieWithParent.js"), entry, "start"],
        { detached: true, env: { ...process.env, ...env, TEST_MARK: mark }, stdio: ["pipe", "ignore", "pipe"] }
      )
      let words = ""
      child.stderr.on("data", (chunk: Buffer) => {
        words = (words + chunk.toString("utf8")).slice(-20_000)
      })
      child.stdin.on("error", () => {})
      const ended = new Promise<{ readonly code: number | null; readonly signal: string | null }>((done) =>
        child.once("close", (code, signal) => done({ code, signal }))
      )
      return {
        child,
        mark,
        ended,
        words: () => words,
        hasEnded: () => child.exitCode !== null || child.signalCode !== null
      }
    }),
    ({ child, hasEnded }) =>
      Effect.sync(() => {
        if (!hasEnded()) process.kill(-child.pid!, "SIGKILL")
        child.stdin.destroy()
      })
  )

/**
 * Whether the program's first module has run, after which the program decides how it ends. Before that, Node itself
 * handles SIGTERM and exits at once. SIGHUP, for which that module registers its handler last, is not handled before.
 */
const hasBegun = (pid: number): boolean => {
  try {
    const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0"
    return (BigInt(`0x${mask}`) & 1n) !== 0n
  } catch {
    return false
  }
}

/** The processes that the runtime of this mark has left behind, with any parent. */
const leftBehind = (mark: string): ReadonlyArray<string> =>
  readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      return readFileSync(`/proc/${pid}/environ`, "utf8").includes(`TEST_MARK=${mark}`)
    } catch {
      return false
    }
  })

const isReady = (port: number) =>
  Effect.promise(() =>
    fetch(`http://127.0.0.1:${port}/readyz`).then(
      ({ status }) => status === 200,
      () => false
    )
  )

const phases = ["boot", "work", "drain"] as const

/** One life of a runtime: started, signalled once, twice or three times at random instants of the phase, ended. */
const life = Effect.fnUntraced(function* (
  setup: Setup,
  plan: {
    readonly index: number
    readonly phase: (typeof phases)[number]
    readonly signals: number
    readonly request: Effect.Effect<void>
  }
) {
  const { index, phase, request, signals } = plan
  const name = `${phase} ${index}, ${signals} signals`
  const port = yield* freePort
  // Every other one starts its own gateway, which must end with it.
  const home = index % 2 === 0 ? null : yield* makeGatewayHome(gatewaySettings(team.map(({ slug }) => slug)))
  if (home !== null) writeFileSync(join(home.folder, "script.json"), JSON.stringify(script))
  const env = runtimeEnv(
    setup.account,
    setup.plane.url,
    { url: setup.gateway.url },
    {
      ...(home === null
        ? {}
        : { ...home.env, OPENCLAW_GATEWAY_ARGS: `gateway run --script ${join(home.folder, "script.json")}` }),
      RUNTIME_ID: `life-${index}`,
      HEALTH_PORT: String(port),
      DELIVERY_BACKOFF_BASE_MS: "1000",
      DELIVERY_BACKOFF_MAX_MS: "1000",
      DELIVERY_MAX_ATTEMPTS: "40"
    }
  )
  const runtime = yield* spawnRuntime(env)
  const pid = runtime.child.pid!
  const someTime = (most: number) => Effect.flatMap(Random.nextIntBetween(0, most), (millis) => Effect.sleep(millis))
  yield* eventually(
    Effect.sync(() => hasBegun(pid)),
    (isSo) => isSo || runtime.hasEnded()
  )
  if (phase === "boot") {
    yield* someTime(2_000)
  } else {
    yield* eventually(isReady(port), (isSo) => isSo || runtime.hasEnded())
    yield* request
    yield* someTime(600)
  }
  for (let sent = 0; sent < signals; sent++) {
    if (!runtime.hasEnded()) process.kill(pid, sent % 2 === 0 ? "SIGTERM" : "SIGINT")
    // The drain lasts as long as the turn, so the later signals come during the drain.
    yield* someTime(phase === "drain" ? 400 : 150)
  }
  assert.deepStrictEqual(yield* Effect.promise(() => runtime.ended), { code: 0, signal: null }, name + runtime.words())
  assert.deepStrictEqual(leftBehind(runtime.mark), [], name)
  // The runtime reports it, or the control plane concludes it from missing pulses; before the first pulse it is unknown.
  yield* eventually(
    Effect.promise(() => setup.person.query("app/runtimes:list", { accountId: setup.account.accountId })),
    (all) =>
      all
        .filter(({ runtimeId }: { runtimeId: string }) => runtimeId === `life-${index}`)
        .every(({ status }: { status: string }) => status === "offline")
  )
})

describe("a runtime signalled at 30 random instants of boot, work and drain, once, twice or three times", () => {
  it.live(
    "exits with 0, leaves no child, is offline, and loses nothing",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSetup({ team })
        const { accountId } = setup.account
        yield* setup.script(script)
        yield* Effect.promise(() =>
          setup.person.mutation("app/accounts:configure", { accountId, sessionScope: "task" })
        )
        const tasks: Array<string> = []
        const request = Effect.gen(function* () {
          const taskId = yield* setup.newTask()
          const n = tasks.push(taskId) - 1
          yield* setup.post(taskId, `@agent-${n % team.length} this is request number ${n}`)
        })
        yield* Effect.forEach(
          Array.from({ length: 30 }, (_, index) => index),
          (index) =>
            Effect.scoped(
              life(setup, { index, phase: phases[index % 3]!, signals: 1 + (Math.floor(index / 3) % 3), request })
            ),
          { concurrency: 3, discard: true }
        )
        yield* setup.startRuntime({
          RUNTIME_ID: "last",
          DELIVERY_BACKOFF_BASE_MS: "1000",
          DELIVERY_BACKOFF_MAX_MS: "1000"
        })
        const rows = yield* eventually(setup.notifications, (all) =>
          all.every(({ state }) => state === "delivered" || state === "dead")
        )
        assert.strictEqual(rows.filter(({ type }) => type === "mention").length, tasks.length)
        assert.isAtLeast(tasks.length, 20)
        for (const [n, taskId] of tasks.entries()) {
          const messages: ReadonlyArray<Message> = yield* setup.messages(taskId)
          assert.deepStrictEqual(
            messages.filter(({ kind }) => kind === "reply" || kind === "fallback").map(({ content }) => content),
            [`Answer ${n}`]
          )
        }
      }).pipe(Effect.scoped, Random.withSeed("signals")),
    300_000
  )
})
