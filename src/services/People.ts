import { Clock, Context, Effect, Layer, Option, Schedule, Schema, Stream } from "effect"
import { ControlPlaneRefused } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { personFunctions } from "../domain/people/PersonFunctions.ts"
import type { PersonMutation, PersonPath, PersonQuery } from "../domain/people/PersonFunctions.ts"
import { Agent, Message, Task } from "../domain/people/PersonViews.ts"
import { isReported, RunningTurn } from "../domain/people/RunningTurns.ts"
import { PersonClient } from "../layers/people/PersonClient.ts"
import type { PersonArgs, PersonFailure } from "../layers/people/PersonClient.ts"
import { decodedCalls, readAnswer } from "./ControlPlaneCalls.ts"
import type { Call } from "./ControlPlaneCalls.ts"
import { knownId } from "./KnownId.ts"

/** How long a list of running turns waits until their runtimes have reported them. */
const REPORT_TIMEOUT = "2 seconds"
/** A watch is valid for 60 s. */
const WATCH_INTERVAL = "30 seconds"

/** What agents are doing. */
export interface Working {
  readonly turns: ReadonlyArray<RunningTurn>
  /** How far the control plane's clock is ahead of this machine's, in milliseconds. */
  readonly aheadMillis: number
}

/** The functions for people, as the command line calls them: typed, once each, with tasks and agents by short names. */
export class People extends Context.Service<
  People,
  {
    readonly query: Call<PersonQuery, PersonFailure>
    readonly mutation: Call<PersonMutation, PersonFailure>
    /** The task with this id, or the only one among the 200 that changed last whose id begins with it. */
    task(text: string): Effect.Effect<Task, PersonFailure>
    /** The agent of this slug, with or without an @, or of this id. */
    agent(text: string): Effect.Effect<Agent, PersonFailure>
    /** The result of a query, again with each change. */
    follow<A>(path: PersonQuery, answer: Schema.Codec<A, unknown>, args: PersonArgs): Stream.Stream<A, PersonFailure>
    /** The last 100 messages of a thread, again with each change. */
    thread(taskId: string): Stream.Stream<ReadonlyArray<Message>, PersonFailure>
    /** What agents are doing. Makes runtimes report it, and waits up to 2 s for them. */
    readonly working: Effect.Effect<Working, PersonFailure>
    /** What agents are doing, again with each change. Makes runtimes report it until the stream ends. */
    readonly watching: Stream.Stream<Working, PersonFailure>
  }
>()("runtime-service/services/People") {
  static readonly layer = Layer.effect(
    People,
    Effect.suspend(() => make)
  )
}

const decoded = <A>(path: PersonPath, answer: Schema.Codec<A, unknown>, value: unknown) =>
  Effect.fromResult(readAnswer(path, answer)(value))

/** Calls of the functions for people, once each. */
export const personCalls = (client: PersonClient["Service"]) =>
  decodedCalls<PersonQuery, PersonMutation, PersonFailure>((kind, path, args) => client.call(kind, path, args))

const Watching = Schema.Struct({ now: Schema.Finite })
const RunningTurns = Schema.Array(RunningTurn)
const OneTask = Schema.Struct({ task: Task })

const make = Effect.gen(function* () {
  const client = yield* PersonClient
  const { mutation, query } = personCalls(client)

  const task = Effect.fn("People.task")(function* (text: string) {
    const tasks = yield* query(personFunctions.tasks, Schema.Array(Task), { limit: 200 })
    const kind = { noun: "task", listedBy: "tasks list", title: ({ title }: Task) => title } as const
    const taskId = yield* knownId(personFunctions.tasks, tasks, text, kind)
    const listed = Option.fromUndefinedOr(tasks.find(({ id }) => id === taskId))
    return yield* Option.match(listed, {
      onNone: () => Effect.map(query(personFunctions.task, OneTask, { taskId }), (found) => found.task),
      onSome: Effect.succeed
    })
  })

  const agent = Effect.fn("People.agent")(function* (text: string) {
    const agents = yield* query(personFunctions.agents, Schema.Array(Agent))
    const slug = text.replace(/^@/, "").toLowerCase()
    const found = agents.find((each) => each.slug === slug || each.id === text)
    if (found !== undefined) return found
    const known = agents.map((each) => `@${each.slug}`).join(", ")
    const detail = `No agent is called ${JSON.stringify(text)}: ${known === "" ? "add one with `agents add`" : `there are ${known}`}.`
    return yield* new ControlPlaneRefused({ function: personFunctions.agents, code: "not_found", detail })
  })

  const follow = <A>(path: PersonQuery, answer: Schema.Codec<A, unknown>, args: PersonArgs) =>
    client.follow(path, args).pipe(Stream.mapEffect((value) => decoded(path, answer, value)))

  const watch = Effect.gen(function* () {
    const { now } = yield* mutation(personFunctions.watch, Watching)
    return now - (yield* Clock.currentTimeMillis)
  })
  const runningTurns = follow(personFunctions.runningTurns, RunningTurns, {})

  const working = Effect.gen(function* () {
    const aheadMillis = yield* watch
    const turns = yield* query(personFunctions.runningTurns, RunningTurns)
    if (isReported(turns)) return { turns, aheadMillis }
    const reported = yield* runningTurns.pipe(
      Stream.takeUntil(isReported),
      Stream.interruptWhen(Effect.sleep(REPORT_TIMEOUT)),
      Stream.runLast
    )
    return { turns: Option.getOrElse(reported, () => turns), aheadMillis }
  })

  const watching = Stream.unwrap(
    Effect.map(watch, (aheadMillis) =>
      runningTurns.pipe(
        Stream.map((turns) => ({ turns, aheadMillis })),
        // A failed call leaves the turns without progress until the next one.
        Stream.mergeEffect(Effect.delay(Effect.ignore(watch), WATCH_INTERVAL).pipe(Effect.repeat(Schedule.forever)))
      )
    )
  )

  return People.of({
    query,
    mutation,
    task,
    agent,
    follow,
    thread: (taskId) => follow(personFunctions.thread, Schema.Array(Message), { taskId, limit: 100 }),
    working,
    watching
  })
})
