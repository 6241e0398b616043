/** An upgrade or restart of many accounts in waves, as operators see it. */
import { DateTime, Schema } from "effect"
import { describeRollout } from "../shared/Versions.ts"
import { shortIds } from "../text/ShortId.ts"
import { truncate } from "../text/Text.ts"
import { textTable } from "../text/TextTable.ts"

const accountStates = [
  "waiting",
  "retrying",
  "underway",
  "done",
  "failed",
  "left_out",
  "skipped",
  "rolling_back",
  "rolled_back",
  "rollback_failed"
] as const

const Counts = Schema.Record(Schema.Literals(accountStates), Schema.Finite)

export const Rollout = Schema.Struct({
  id: Schema.String,
  kind: Schema.Literals(["upgrade", "restart"]),
  runtimeVersion: Schema.NullOr(Schema.String),
  openclawVersion: Schema.NullOr(Schema.String),
  state: Schema.Literals(["running", "stopped", "rolling_back", "cancelling", "done", "rolled_back", "cancelled"]),
  /** The index of the current wave. */
  wave: Schema.Finite,
  waves: Schema.Array(Schema.Struct({ size: Schema.Finite, counts: Counts })),
  deadlineMs: Schema.Finite,
  observeMs: Schema.Finite,
  startedAt: Schema.Finite,
  steppedAt: Schema.Finite,
  endedAt: Schema.NullOr(Schema.Finite),
  log: Schema.Array(Schema.Struct({ at: Schema.Finite, text: Schema.String }))
})
export type Rollout = typeof Rollout.Type

export const RolloutAccount = Schema.Struct({
  accountId: Schema.String,
  name: Schema.NullOr(Schema.String),
  wave: Schema.Finite,
  position: Schema.Finite,
  state: Schema.Literals(accountStates),
  reason: Schema.NullOr(Schema.String),
  begunAt: Schema.NullOr(Schema.Finite),
  runtimes: Schema.Array(
    Schema.Struct({
      runtimeId: Schema.String,
      from: Schema.Struct({ runtime: Schema.String, openclaw: Schema.NullOr(Schema.String) })
    })
  )
})
export type RolloutAccount = typeof RolloutAccount.Type

/** Accounts of a rollout; `next` continues after the page. */
export const RolloutPage = Schema.Struct({
  accounts: Schema.Array(RolloutAccount),
  next: Schema.NullOr(Schema.Finite)
})

const words = (state: string): string => state.replaceAll("_", " ")

/** Whether the scheduler still has steps to run for it without an operator. */
export const isMoving = ({ state }: Rollout): boolean =>
  state === "running" || state === "rolling_back" || state === "cancelling"

/** What an operator can do about its state; null if nothing. */
export const nextCommand = ({ kind, state }: Rollout): string | null => {
  if (state !== "stopped") return null
  const undo = kind === "upgrade" ? "`fleet rollout rollback`, " : ""
  return `Decide: \`fleet rollout resume\` tries the failed accounts again (or leaves out those of --skip), ${undo}or \`fleet rollout cancel\`.`
}

/** A line of the log, with its time in UTC. */
export const logLine = ({ at, text }: Rollout["log"][number]): string =>
  `${DateTime.formatIso(DateTime.makeUnsafe(at)).slice(0, 19).replace("T", " ")}  ${text}`

/** The numbers of accounts in the current wave, e.g. "wave 2 of 4: 3 done, 7 underway". */
export const progressLine = ({ wave, waves }: Rollout): string => {
  const counts = waves[wave]?.counts
  const shown = accountStates.flatMap((state) => {
    const count = counts?.[state] ?? 0
    return count === 0 ? [] : [`${count} ${words(state)}`]
  })
  return `wave ${wave + 1} of ${waves.length}: ${shown.join(", ")}`
}

/** Accounts that need attention, and why. */
export const rolloutAccountTable = (accounts: ReadonlyArray<RolloutAccount>): string => {
  const short = shortIds(accounts.map(({ accountId }) => accountId))
  return textTable(
    ["ACCOUNT", "NAME", "WAVE", "STATE", "REASON"],
    accounts.map(({ accountId, name, reason, state, wave }) => [
      short(accountId),
      truncate(name ?? "(deleted)", 20),
      String(wave + 1),
      words(state),
      reason ?? ""
    ])
  )
}

/** The rollout, a line for each wave, and its log if that is wanted. */
export const describeProgress = (rollout: Rollout, hasLog: boolean): string => {
  const { log, state, waves } = rollout
  const used = accountStates.filter((each) => waves.some(({ counts }) => counts[each] > 0))
  const table = textTable(
    ["WAVE", "ACCOUNTS", ...used.map((each) => words(each).toUpperCase())],
    waves.map(({ counts, size }, index) => [
      String(index + 1),
      String(size),
      ...used.map((each) => (counts[each] === 0 ? "-" : String(counts[each])))
    ])
  )
  return [`${describeRollout(rollout)}: ${words(state)}`, table, ...(hasLog ? ["", ...log.map(logLine)] : [])].join(
    "\n"
  )
}
