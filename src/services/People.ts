import { Context, Effect, Layer, Schema, Stream } from "effect"
import { ControlPlaneRefused } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { personFunctions } from "../domain/people/PersonFunctions.ts"
import type {
  PersonAnswer,
  PersonArguments,
  PersonMutation,
  PersonPath,
  PersonQuery
} from "../domain/people/PersonFunctions.ts"
import { Agent, byPrefix, Message, Task } from "../domain/people/PersonViews.ts"
import { PersonClient } from "../layers/people/PersonClient.ts"
import type { PersonArgs, PersonFailure } from "../layers/people/PersonClient.ts"
import { readAnswer } from "./ControlPlaneCalls.ts"

/** A schema that reads every answer of the function. */
type Reads<Path extends PersonPath, A, Encoded> = Schema.Codec<A, Encoded> &
  (PersonAnswer<Path> extends Encoded ? unknown : { readonly "cannot read the answer": PersonAnswer<Path> })

type Call<Paths extends PersonPath> = <Path extends Paths, A, Encoded>(
  path: Path,
  answer: Reads<Path, A, Encoded>,
  args: PersonArguments<Path>
) => Effect.Effect<A, PersonFailure>

/** The functions for people, as the command line calls them: typed, once each, with tasks and agents by short names. */
export class People extends Context.Service<
  People,
  {
    readonly query: Call<PersonQuery>
    readonly mutation: Call<PersonMutation>
    /** The task whose id is the text or begins with it, among the 200 that changed last. */
    task(text: string): Effect.Effect<Task, PersonFailure>
    /** The agent of this slug, with or without an @, or of this id. */
    agent(text: string): Effect.Effect<Agent, PersonFailure>
    /** The last 100 messages of a thread, again with each change. */
    thread(taskId: string): Stream.Stream<ReadonlyArray<Message>, PersonFailure>
  }
>()("runtime-service/services/People") {
  static readonly layer = Layer.effect(
    People,
    Effect.suspend(() => make)
  )
}

const decoded = <A>(path: PersonPath, answer: Schema.Codec<A, unknown>, value: unknown) =>
  Effect.fromResult(readAnswer(path, answer)(value))

const make = Effect.gen(function* () {
  const client = yield* PersonClient
  const call = (kind: "query" | "mutation") =>
    (<A>(path: PersonPath, answer: Schema.Codec<A, unknown>, args: PersonArgs) =>
      Effect.flatMap(client.call(kind, path, args), (value) => decoded(path, answer, value))) as unknown
  const query = call("query") as Call<PersonQuery>
  const mutation = call("mutation") as Call<PersonMutation>

  const task = Effect.fn("People.task")(function* (text: string) {
    const tasks = yield* query(personFunctions.tasks, Schema.Array(Task), { limit: 200 })
    const found = byPrefix(tasks, text)
    if (typeof found === "object") return found
    const detail =
      found === "none"
        ? `No task's id begins with ${JSON.stringify(text)}: see \`tasks list\`.`
        : `Several tasks' ids begin with ${JSON.stringify(text)}: give more characters.`
    return yield* new ControlPlaneRefused({ function: personFunctions.tasks, code: "not_found", detail })
  })

  const agent = Effect.fn("People.agent")(function* (text: string) {
    const agents = yield* query(personFunctions.agents, Schema.Array(Agent), {})
    const slug = text.replace(/^@/, "").toLowerCase()
    const found = agents.find((each) => each.slug === slug || each.id === text)
    if (found !== undefined) return found
    const known = agents.map((each) => `@${each.slug}`).join(", ")
    const detail = `No agent is called ${JSON.stringify(text)}: ${known === "" ? "add one with `agents add`" : `there are ${known}`}.`
    return yield* new ControlPlaneRefused({ function: personFunctions.agents, code: "not_found", detail })
  })

  return People.of({
    query,
    mutation,
    task,
    agent,
    thread: (taskId) =>
      client
        .follow(personFunctions.thread, { taskId, limit: 100 })
        .pipe(Stream.mapEffect((value) => decoded(personFunctions.thread, Schema.Array(Message), value)))
  })
})
