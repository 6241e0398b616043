/** The faults of a soak: one after another, at random, each with a name under which it is counted. */
import { Effect } from "effect"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { FunctionPath } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { LEASE_SECONDS } from "./world.ts"
import type { World } from "./world.ts"

/** The functions whose calls get the plane's faults. */
const faulted: ReadonlyArray<FunctionPath> = [
  functions.claim,
  functions.renew,
  functions.complete,
  functions.fail,
  functions.release,
  functions.updateAgentHeartbeat,
  functions.createTask,
  functions.upsertDocument,
  functions.requestResponses,
  functions.pulse,
  functions.agents
]

type Mishap = { readonly name: string; readonly weight: number; readonly happen: Effect.Effect<unknown, unknown> }

const post = (url: string, body: object, headers: Record<string, string> = {}): Effect.Effect<void> =>
  Effect.promise(async () => {
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) })
    if (!response.ok) throw new Error(`${url} answered ${response.status}`)
  })

/** All faults of this world. */
export const mishapsOf = (world: World, random: () => number): ReadonlyArray<Mishap> => {
  const pick = <A>(list: ReadonlyArray<A>): A => list[Math.floor(random() * list.length)]!
  const planeFault = (fault: object) =>
    post(`${world.planeUrl}/__local/faults`, fault, { authorization: `Convex ${world.adminKey}` })
  const gatewayFault = (fault: object) => post(`${world.gatewayUrl}/__local/faults`, fault)
  const onPlane = (kind: string, more: object = {}): Mishap => ({
    name: `plane: ${kind}`,
    weight: 2,
    happen: Effect.suspend(() =>
      planeFault({ kind, path: pick(faulted), count: 1 + Math.floor(random() * 3), ...more })
    )
  })
  const onGateway = (kind: string, more: object = {}, name = kind): Mishap => ({
    name: `gateway: ${name}`,
    weight: 2,
    happen: Effect.suspend(() => gatewayFault({ kind, count: 1 + Math.floor(random() * 2), ...more }))
  })
  return [
    onPlane("drop"),
    onPlane("delay", { milliseconds: 2_000 }),
    onPlane("refuse"),
    onPlane("overload"),
    onPlane("error"),
    {
      name: "plane: hang",
      weight: 1,
      happen: Effect.suspend(() => planeFault({ kind: "hang", path: pick(faulted), count: 1 }))
    },
    { name: "push: parked", weight: 2, happen: planeFault({ kind: "park", count: 2 }) },
    { name: "push: refused", weight: 1, happen: planeFault({ kind: "refuse", transport: "websocket", count: 4 }) },
    onGateway("unavailable"),
    onGateway("answer", { status: 502 }, "a bare 502"),
    onGateway("delay", { delayMs: 3_000 }),
    onGateway("garbage"),
    onGateway("reset"),
    onGateway("lose"),
    onGateway("truncate"),
    { name: "gateway: hang", weight: 1, happen: gatewayFault({ kind: "hang", count: 1 }) },
    { name: "gateway: port closed for 1 s", weight: 1, happen: gatewayFault({ kind: "refuse", forMs: 1_000 }) },
    { name: "gateway killed", weight: 2, happen: world.gateway.killAndRestart },
    { name: "plane killed", weight: 2, happen: world.plane.killAndRestart },
    { name: "runtime killed -9", weight: 4, happen: world.mortal.killAndRestart },
    {
      name: "runtime frozen beyond its lease",
      weight: 1,
      happen: Effect.flatMap(world.mortal.running, (running) =>
        running === undefined
          ? Effect.void
          : running
              .signal("SIGSTOP")
              .pipe(
                Effect.andThen(Effect.sleep(`${LEASE_SECONDS * 1.5} seconds`)),
                Effect.ensuring(running.signal("SIGCONT"))
              )
      )
    },
    {
      name: "runtime drained and started",
      weight: 2,
      happen: Effect.gen(function* () {
        const running = yield* world.mortal.running
        if (running === undefined) return
        yield* running.signal("SIGTERM")
        yield* running.exit
        yield* world.mortal.killAndRestart
      })
    }
  ]
}

/** Causes one fault after another, every few seconds, and counts them; a fault for a dead process does not count. */
export const chaos = (world: World, random: () => number, counts: Map<string, number>) => {
  const mishaps = mishapsOf(world, random)
  const all = mishaps.reduce((sum, { weight }) => sum + weight, 0)
  return Effect.gen(function* () {
    let point = random() * all
    const next = mishaps.find(({ weight }) => (point -= weight) < 0) ?? mishaps[0]!
    yield* next.happen.pipe(
      Effect.andThen(Effect.sync(() => counts.set(next.name, (counts.get(next.name) ?? 0) + 1))),
      Effect.ignoreCause,
      // A half restart would leave an unknown process.
      Effect.uninterruptible
    )
    yield* Effect.sleep(2_000 + 6_000 * random())
  }).pipe(Effect.forever)
}
