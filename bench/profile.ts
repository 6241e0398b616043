/**
 * The runtime's processor time under load, from a V8 profile (`--cpu-prof`) of 100 sessions with instant replies: the
 * share of each package, and of the functions with the most time of their own.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { temporaryFolder } from "../local/temporaryFolder.ts"
import { makeSetup } from "../test/process/setup.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { hold, now, pushed, TASKS_PER_AGENT, tasksFor, teamOf } from "./load.ts"
import { secondsOf } from "./runs.ts"

const SESSIONS = 100
const SECONDS = secondsOf(20)
const FUNCTIONS = 15

/** The used parts of V8's .cpuprofile; times are in microseconds. */
type Profile = {
  readonly nodes: ReadonlyArray<{
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }>
  readonly samples: ReadonlyArray<number>
  readonly timeDeltas: ReadonlyArray<number>
}

type Frame = Profile["nodes"][number]["callFrame"]

/** V8's names for time without JavaScript, including waits for input: `(program)` is the kernel's and libuv's part. */
const isRest = ({ functionName }: Frame): boolean => functionName === "(idle)"

const packageOf = ({ functionName, url }: Frame): string => {
  if (functionName === "(garbage collector)") return "garbage collection"
  const dependency = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1]
  if (dependency !== undefined) return dependency
  if (url.includes("/src/")) return "the runtime itself (src)"
  if (url.startsWith("node:")) return "Node.js, its JavaScript"
  return functionName === "(program)" ? "system calls and the event loop" : "Node.js and V8, native"
}

const placeOf = (frame: Frame): string => {
  const place = frame.url.replace(/^.*\/node_modules\//, "").replace(/^.*\/src\//, "src/")
  const name = frame.functionName === "" ? "(anonymous)" : frame.functionName
  return place === "" ? `\`${name}\`` : `\`${name}\`, ${place}:${frame.lineNumber + 1}`
}

/** Own milliseconds of each frame's key, between two times since the process's start. */
const selfTimes = (
  profile: Profile,
  from: number,
  to: number,
  keyOf: (frame: Frame) => string
): ReadonlyArray<readonly [key: string, millis: number]> => {
  const frames = new Map(profile.nodes.map(({ callFrame, id }) => [id, callFrame]))
  const times = new Map<string, number>()
  let at = 0
  for (const [index, id] of profile.samples.entries()) {
    const micros = profile.timeDeltas[index] ?? 0
    at += micros / 1_000
    const frame = frames.get(id)
    if (frame === undefined || at < from || at > to || isRest(frame)) continue
    const key = keyOf(frame)
    times.set(key, (times.get(key) ?? 0) + micros / 1_000)
  }
  return [...times].toSorted(([, a], [, b]) => b - a)
}

/** Runs the measurement; about a minute. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder("profile-bench-")
    const setup = yield* makeSetup({ team: teamOf(SESSIONS), gatewayArgs: ["--max-concurrent", "200"] })
    yield* setup.script({ fallback: { text: "Noted." } })
    const started = now()
    const runtime = yield* setup.startRuntime({
      LOG_LEVEL: "error",
      DELIVERY_MAX_CONCURRENT_SESSIONS: String(SESSIONS),
      NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${folder}`
    })
    yield* pushed(setup, runtime)
    const tasks = yield* tasksFor(setup, SESSIONS, TASKS_PER_AGENT)
    const begin = now()
    const held = yield* hold(setup, [runtime], { tasks, sessions: SESSIONS, seconds: SECONDS })
    const end = now()
    yield* runtime.signal("SIGTERM")
    yield* runtime.exit
    const file = readdirSync(folder).find((name) => name.endsWith(".cpuprofile"))
    if (file === undefined) throw new Error("the runtime wrote no profile")
    const profile = JSON.parse(readFileSync(join(folder, file), "utf8")) as Profile
    const timesBy = (keyOf: (frame: Frame) => string) => selfTimes(profile, begin - started, end - started, keyOf)
    const packages = timesBy(packageOf)
    const all = packages.reduce((sum, [, millis]) => sum + millis, 0)
    const share = (millis: number): ReadonlyArray<number> => [(100 * millis) / all]
    return [
      figureOf("deliveries while the profile is taken", "1/s", [held.rate]),
      ...packages
        .filter(([, millis]) => millis > all / 200)
        .map(([name, millis]) => figureOf(name, "%", share(millis))),
      ...timesBy((frame) => `${packageOf(frame)}: ${placeOf(frame)}`)
        .slice(0, FUNCTIONS)
        .map(([name, millis]) => figureOf(`own time, ${name}`, "%", share(millis)))
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
