/** Lists with what agents are doing. */
import { Clock, Console, Effect, Stream } from "effect"
import { Flag } from "effect/cli"
import { turnTable } from "../../domain/people/RunningTurns.ts"
import type { RunningTurn } from "../../domain/people/RunningTurns.ts"
import { cutToWidth } from "../../domain/text/TerminalWidth.ts"
import type { PersonFailure } from "../../layers/people/PersonClient.ts"
import { Redactor } from "../../layers/secrets/Redactor.ts"
import { People } from "../../services/People.ts"
import type { Working } from "../../services/People.ts"
import { asScreen, print, printJson } from "../Print.ts"
import { untilStopped } from "../UntilStopped.ts"

/** How often a terminal shows the time that has passed since the last change. */
const TICK = "5 seconds"

/** `--watch`: the list again with each change. */
export const watchFlag = Flag.Boolean("watch").pipe(
  Flag.withAlias("w"),
  Flag.withDescription("Show it again with each change until Ctrl-C"),
  Flag.withDefault(false)
)

/** A list of agents or tasks. */
interface List<A> {
  readonly rows: Effect.Effect<ReadonlyArray<A>, PersonFailure>
  /** The rows, again with each change. */
  readonly changes: Stream.Stream<ReadonlyArray<A>, PersonFailure>
  readonly table: (rows: ReadonlyArray<A>) => string
  /** Whether the turn is one of the row's. */
  readonly has: (row: A, turn: RunningTurn) => boolean
  /** The text without rows. */
  readonly none: string
}

/** What agents are doing; null, with a message, if the deployment does not return it. */
export const knownTurns = Effect.gen(function* () {
  const { working } = yield* People
  return yield* working.pipe(
    Effect.catch(({ detail }) => Effect.as(Console.error(`It is not known what agents are doing: ${detail}`), null))
  )
})

const withTurns = <A>({ has }: List<A>, rows: ReadonlyArray<A>, working: Working | null) =>
  rows.map((row) => (working === null ? row : { ...row, turns: working.turns.filter((turn) => has(row, turn)) }))

const textOf = <A>({ has, table }: List<A>, rows: ReadonlyArray<A>, working: Working | null) =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    if (working === null) return table(rows)
    const turns = working.turns.filter((turn) => rows.some((row) => has(row, turn)))
    return `${table(rows)}\n\n${turnTable(turns, now + working.aheadMillis)}`
  })

const once = Effect.fnUntraced(function* <A>(list: List<A>, isJson: boolean) {
  const rows = yield* list.rows
  if (rows.length === 0) return isJson ? yield* printJson(rows) : yield* Console.error(list.none)
  const working = yield* knownTurns
  yield* isJson ? printJson(withTurns(list, rows, working)) : Effect.flatMap(textOf(list, rows, working), print)
})

const continually = Effect.fnUntraced(function* <A>(list: List<A>, isJson: boolean) {
  const { watching } = yield* People
  const { redact } = yield* Redactor
  const changes = Stream.zipLatest(list.changes, watching)
  if (isJson) {
    return yield* Stream.runForEach(changes, ([rows, working]) => printJson(withTurns(list, rows, working)))
  }
  const isTerminal = process.stdout.isTTY === true
  const seen = isTerminal ? Stream.map(Stream.zipLatest(changes, Stream.tick(TICK)), ([both]) => both) : changes
  yield* Stream.runForEach(seen, ([rows, working]) =>
    Effect.flatMap(rows.length === 0 ? Effect.succeed(list.none) : textOf(list, rows, working), (text) =>
      Console.log(asScreen(isTerminal ? cutToWidth(redact(text), process.stdout.columns) : redact(text)))
    )
  )
})

/** Prints the list with the running turns of its rows, once or with each change. */
export const listWithTurns = <A>(
  list: List<A>,
  { json, watch }: { readonly json: boolean; readonly watch: boolean }
): Effect.Effect<void, PersonFailure, People | Redactor> =>
  watch ? untilStopped(continually(list, json)) : once(list, json)
