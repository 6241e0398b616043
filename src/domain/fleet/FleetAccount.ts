/** An account in the list of a fleet, and the table that shows it. */
import { Result, Schema } from "effect"
import { showSpan } from "../observability/StatusScreen.ts"
import { shortIds } from "../text/ShortId.ts"
import { truncate } from "../text/Text.ts"
import { textTable } from "../text/TextTable.ts"

/** The accounts that need attention, by what is wrong. */
export const attentions = ["failing", "offline", "paused", "dead-letters"] as const

export const FleetRuntime = Schema.Struct({
  runtimeId: Schema.String,
  status: Schema.String,
  reasons: Schema.Array(Schema.String),
  versions: Schema.Struct({ runtime: Schema.String, openclaw: Schema.NullOr(Schema.String) }),
  lastPulseAt: Schema.Finite,
  failuresInARow: Schema.NullOr(Schema.Finite)
})

export const FleetAccount = Schema.Struct({
  id: Schema.String,
  key: Schema.NullOr(Schema.String),
  name: Schema.String,
  createdAt: Schema.Finite,
  isPaused: Schema.Boolean,
  isBeingDeleted: Schema.Boolean,
  /** Those that are not offline; if all are offline, those that were seen last. */
  runtimes: Schema.Array(FleetRuntime),
  oldestDueAt: Schema.NullOr(Schema.Finite),
  /** At most 100, which means 100 or more. */
  deadLetters: Schema.Finite,
  usageToday: Schema.Struct({ weightedTokens: Schema.Finite, cost: Schema.Finite }),
  /** The account's daily budget, in dollars or price-weighted tokens. */
  budget: Schema.NullOr(
    Schema.Struct({ unit: Schema.Literals(["usd", "tokens"]), limit: Schema.Finite, spent: Schema.Finite })
  )
})
export type FleetAccount = typeof FleetAccount.Type

/** A page of accounts; `next` continues after it. */
export const FleetPage = Schema.Struct({ accounts: Schema.Array(FleetAccount), next: Schema.NullOr(Schema.Finite) })

/** The states of running runtimes, the one that needs attention most first. */
const concerns = ["degraded", "draining", "booting", "online"]

/** The account's state in one word. */
export const stateOf = ({ isBeingDeleted, isPaused, runtimes }: FleetAccount): string => {
  if (isBeingDeleted) return "deleting"
  if (isPaused) return "paused"
  return concerns.find((state) => runtimes.some(({ status }) => status === state)) ?? "offline"
}

/** Dead letters are counted up to a limit, and the control plane reports the limit for more. */
export const deadLettersText = (count: number): string => (count >= 100 ? "99+" : String(count))

/** A number of tokens in at most four characters, e.g. 950, 12k, 3M. */
const compact = (count: number): string => {
  if (count < 1_000) return String(Math.round(count))
  return count < 1_000_000 ? `${Math.round(count / 1_000)}k` : `${Math.round(count / 1_000_000)}M`
}

/** Today's usage as a share of the daily budget, or in price-weighted tokens. */
const today = ({ budget, usageToday }: FleetAccount): string =>
  budget === null ? compact(usageToday.weightedTokens) : `${Math.floor((100 * budget.spent) / budget.limit)} %`

const MAX_NAME = 12

/** The accounts, one line each. `now` is in epoch milliseconds. */
export const fleetTable = (accounts: ReadonlyArray<FleetAccount>, now: number): string => {
  const short = shortIds(accounts.map(({ id }) => id))
  const age = (since: number | null) => (since === null ? "-" : showSpan((now - since) / 1_000))
  return textTable(
    ["ACCOUNT", "NAME", "STATE", "VERSIONS", "SEEN", "DUE", "DEAD", "FAIL", "TODAY"],
    accounts.map((account) => {
      const { deadLetters, id, name, oldestDueAt, runtimes } = account
      const [first] = runtimes
      const failures = runtimes.flatMap(({ failuresInARow }) => failuresInARow ?? [])
      return [
        short(id),
        truncate(name, MAX_NAME),
        stateOf(account),
        first === undefined ? "-" : `${first.versions.runtime} ${first.versions.openclaw ?? ""}`,
        first === undefined ? "-" : age(Math.max(...runtimes.map(({ lastPulseAt }) => lastPulseAt))),
        age(oldestDueAt),
        deadLettersText(deadLetters),
        failures.length === 0 ? "-" : String(Math.max(...failures)),
        today(account)
      ]
    })
  )
}

export const NamedAccount = Schema.Struct({
  id: Schema.String,
  key: Schema.NullOr(Schema.String),
  name: Schema.String
})
export type NamedAccount = typeof NamedAccount.Type

const MAX_CANDIDATES = 5

/**
 * The only one of the accounts that an operator can mean by this text: the one with this id, key or name, otherwise the
 * only one. Fails with a sentence that names the candidates.
 */
export const onlyNamed = (found: ReadonlyArray<NamedAccount>, text: string): Result.Result<NamedAccount, string> => {
  const exact = found.filter(({ id, key, name }) => id === text || key === text || name === text)
  const meant = exact.length > 0 ? exact : found
  const [first] = meant
  if (first === undefined) {
    return Result.fail(`No account's id, key or name begins with ${JSON.stringify(text)}. \`fleet list\` lists them.`)
  }
  if (meant.length === 1) return Result.succeed(first)
  const short = shortIds(meant.map(({ id }) => id))
  const named = meant.slice(0, MAX_CANDIDATES).map(({ id, name }) => `${short(id)} (${truncate(name, 40)})`)
  const more = meant.length > MAX_CANDIDATES ? ", and others" : ""
  return Result.fail(`${JSON.stringify(text)} can mean several accounts: ${named.join(", ")}${more}. Give an id.`)
}
