/** One account of a fleet in detail, and the text that shows it. */
import { Schema } from "effect"
import { DeadLetter, deadLetterTable } from "../delivery/DeadLetter.ts"
import { showSpan } from "../observability/StatusScreen.ts"
import { minute } from "../people/PersonViews.ts"
import { singleLine } from "../text/Text.ts"
import { textTable } from "../text/TextTable.ts"
import { Budget, budgetTables, costText, Held, whole } from "../usage/UsageReport.ts"
import { deadLettersText, FleetAccount, stateOf } from "./FleetAccount.ts"

const LastCommand = Schema.Struct({
  kind: Schema.String,
  state: Schema.String,
  runtimeVersion: Schema.NullOr(Schema.String),
  openclawVersion: Schema.NullOr(Schema.String),
  message: Schema.NullOr(Schema.String),
  requestedAt: Schema.Finite
})

export const AccountDetails = Schema.Struct({
  account: FleetAccount,
  settings: Schema.Struct({
    timeZone: Schema.String,
    sessionScope: Schema.String,
    agentFlags: Schema.Record(Schema.String, Schema.UndefinedOr(Schema.Boolean)),
    policies: Schema.Finite
  }),
  commands: Schema.Array(Schema.Struct({ runtimeId: Schema.String, lastCommand: Schema.NullOr(LastCommand) })),
  agents: Schema.Array(
    Schema.Struct({
      slug: Schema.String,
      name: Schema.String,
      role: Schema.String,
      model: Schema.NullOr(Schema.String),
      heartbeat: Schema.Union([Schema.Finite, Schema.String]),
      isPaused: Schema.Boolean
    })
  ),
  members: Schema.Array(Schema.Struct({ name: Schema.String, role: Schema.String, tokenIdentifier: Schema.String })),
  tokens: Schema.Array(Schema.Struct({ label: Schema.String, createdAt: Schema.Finite })),
  webhooks: Schema.Struct({ count: Schema.Finite, disabled: Schema.Finite, failing: Schema.Finite }),
  budgets: Schema.Array(Budget),
  held: Schema.Array(Held),
  deadLetters: Schema.Array(DeadLetter),
  activities: Schema.Array(
    Schema.Struct({ at: Schema.Finite, by: Schema.String, type: Schema.String, summary: Schema.String })
  )
})
export type AccountDetails = typeof AccountDetails.Type

const on = (flags: Readonly<Record<string, boolean | undefined>>): string =>
  Object.entries(flags)
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(" ") || "defaults"

const commandText = (command: typeof LastCommand.Type | null | undefined): string => {
  if (command === null || command === undefined) return "-"
  const versions = [command.runtimeVersion, command.openclawVersion].filter((version) => version !== null).join(" ")
  return `${command.kind}${versions === "" ? "" : ` to ${versions}`}: ${command.state}, ${minute(command.requestedAt)}`
}

/** A title and a table; nothing for an empty table. */
const section = (title: string, table: string): ReadonlyArray<string> => (table === "" ? [] : ["", title, table])

/** Everything about one account. `now` is in epoch milliseconds. */
export const describeAccount = (details: AccountDetails, now: number): string => {
  const { account, activities, agents, budgets, commands, deadLetters, held, members, settings, tokens } = details
  const { disabled, failing } = details.webhooks
  const ago = (at: number) => `${showSpan((now - at) / 1_000)} ago`
  const { cost, weightedTokens } = account.usageToday
  const lastCommandOf = (id: string) => commands.find(({ runtimeId }) => runtimeId === id)?.lastCommand
  return [
    `id          ${account.id}`,
    `key         ${account.key ?? "-"}`,
    `name        ${account.name}`,
    `state       ${stateOf(account)}`,
    `created     ${minute(account.createdAt)} UTC`,
    `due         ${account.oldestDueAt === null ? "nothing" : `since ${ago(account.oldestDueAt)}`}`,
    `dead        ${deadLettersText(account.deadLetters)} dead letters`,
    `today       ${whole(weightedTokens)} price-weighted tokens, ${costText({ cost, unpricedTokens: weightedTokens })}`,
    `time zone   ${settings.timeZone}`,
    `sessions    one per ${settings.sessionScope}`,
    `flags       ${on(settings.agentFlags)}`,
    `policies    ${settings.policies}`,
    `tokens      ${tokens.map(({ createdAt, label }) => `${label} (${minute(createdAt)})`).join(", ") || "none"}`,
    `webhooks    ${details.webhooks.count}, ${failing} failing, ${disabled} disabled`,
    ...section(
      "Runtimes",
      textTable(
        ["RUNTIME", "STATUS", "VERSION", "OPENCLAW", "SEEN", "FAIL", "LAST COMMAND"],
        account.runtimes.map(({ failuresInARow, lastPulseAt, runtimeId, status, versions }) => [
          runtimeId,
          status,
          versions.runtime,
          versions.openclaw ?? "-",
          ago(lastPulseAt),
          failuresInARow === null ? "-" : String(failuresInARow),
          commandText(lastCommandOf(runtimeId))
        ])
      )
    ),
    ...account.runtimes.flatMap(({ reasons, runtimeId, status }) =>
      reasons.map((reason) => `${runtimeId} is ${status}: ${singleLine(reason)}`)
    ),
    ...section(
      "Agents",
      textTable(
        ["AGENT", "NAME", "STATE", "HEARTBEAT", "MODEL", "ROLE"],
        agents.map(({ heartbeat, isPaused, model, name, role, slug }) => [
          `@${slug}`,
          name,
          isPaused ? "paused" : "active",
          typeof heartbeat === "number" ? `every ${heartbeat} min` : heartbeat,
          model ?? "-",
          role
        ])
      )
    ),
    ...section(
      "Members",
      textTable(
        ["NAME", "ROLE", "IDENTITY"],
        members.map(({ name, role, tokenIdentifier }) => [name, role, tokenIdentifier])
      )
    ),
    ...section("Budgets", budgetTables({ budgets, held })),
    ...section("Dead letters, the latest", deadLetterTable(deadLetters)),
    ...section(
      "Activities, the latest",
      textTable(
        ["TIME (UTC)", "BY", "WHAT"],
        activities.map(({ at, by, summary }) => [minute(at), by, summary])
      )
    )
  ].join("\n")
}
