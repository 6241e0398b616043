/** An operator's file about an account, from which the account is provisioned. */
import { Result, Schema, SchemaIssue } from "effect"
import type { AgentFlags } from "../shared/AgentFlags.ts"
import { policedTools, policyEffects } from "../shared/ToolPolicy.ts"

const Text = Schema.String.check(Schema.isMinLength(1, { expected: "a text that is not empty" }))
const optional = Schema.optionalKey

const flag = optional(Schema.Boolean)
const Flags = Schema.Struct({
  canCreateTasks: flag,
  canModifyTaskStatus: flag,
  canCreateDocuments: flag,
  canMentionAgents: flag,
  canReviewTasks: flag,
  canMarkDone: flag
} satisfies Record<keyof AgentFlags, typeof flag>)

const Price = Schema.Struct({
  input: Schema.Finite,
  output: Schema.Finite,
  cacheRead: Schema.Finite,
  cacheWrite: Schema.Finite
})

/** What the file says. Anything that it leaves out stays as it is, or gets the default in a new account. */
export const AccountFile = Schema.Struct({
  key: Text,
  accountId: optional(Text),
  name: Text,
  timeZone: optional(Text),
  sessionScope: optional(Schema.Literals(["agent", "task"])),
  briefing: optional(Schema.NullOr(Schema.String)),
  agentFlags: optional(Flags),
  prices: optional(Schema.mutable(Schema.Array(Schema.Struct({ model: Text, price: Price })))),
  members: optional(
    Schema.Array(
      Schema.Struct({ tokenIdentifier: Text, name: Text, role: Schema.Literals(["owner", "admin", "member"]) })
    )
  ),
  agents: optional(
    Schema.Array(
      Schema.Struct({
        slug: Text,
        name: Text,
        role: optional(Schema.String),
        isOrchestrator: optional(Schema.Boolean),
        flags: optional(Flags),
        heartbeat: optional(Schema.Union([Schema.Finite, Schema.String])),
        model: optional(Schema.NullOr(Schema.String)),
        soul: optional(Schema.String),
        identity: optional(Schema.String),
        userText: optional(Schema.String)
      })
    )
  ),
  budgets: optional(
    Schema.Array(
      Schema.Struct({
        agent: optional(Text),
        period: Schema.Literals(["day", "month", "lifetime"]),
        unit: Schema.Literals(["usd", "tokens"]),
        limit: Schema.Finite
      })
    )
  ),
  policies: optional(
    Schema.Array(
      Schema.Struct({
        tool: Schema.Literals(policedTools),
        effect: Schema.Literals(policyEffects),
        agent: optional(Text),
        role: optional(Text),
        when: optional(Text)
      })
    )
  ),
  serviceToken: optional(Schema.Struct({ label: Text }))
})
export type AccountFile = typeof AccountFile.Type

/** What a provisioning would change. */
export const ProvisioningPlan = Schema.Struct({ changes: Schema.Array(Schema.String), createsToken: Schema.Boolean })

/** What a provisioning has changed, and the text of the service token that it created. */
export const Provisioned = Schema.Struct({
  accountId: Schema.String,
  changes: Schema.Array(Schema.String),
  serviceToken: Schema.NullOr(Schema.RedactedFromValue(Schema.String))
})

const decode = Schema.decodeUnknownResult(AccountFile, { errors: "all", onExcessProperty: "error" })

const issuesOf = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => {
    if (issue._tag === "MissingKey") return "is missing: add it"
    if (issue._tag === "UnexpectedKey") return "is not a field here: remove it, or correct its name"
    return SchemaIssue.defaultLeafHook(issue)
  }
})

/** `agents[0].heartbeat` */
const pathText = (path: ReadonlyArray<unknown>): string =>
  path.reduce<string>(
    (text, part) => (typeof part === "number" ? `${text}[${part}]` : text === "" ? String(part) : `${text}.${part}`),
    ""
  )

const typeNames: Readonly<Record<string, string>> = {
  number: "a number",
  string: "a text",
  boolean: "true or false",
  object: "an object",
  array: "a list"
}

/** `must be "day", "month" or "lifetime"` for what a schema expects, e.g. `Expected "day" | "month" | "lifetime"`. */
const messageText = (message: string): string => {
  if (!message.startsWith("Expected ")) return message
  const options = message
    .slice("Expected ".length)
    .split(" | ")
    .map((option) => typeNames[option] ?? option)
  return `must be ${[options.slice(0, -1).join(", "), ...options.slice(-1)].filter((part) => part !== "").join(" or ")}`
}

/** The value as an account's file, or each problem with its field and the fix. */
export const readAccountFile = (value: unknown): Result.Result<AccountFile, ReadonlyArray<string>> =>
  Result.mapError(decode(value), ({ issue }) =>
    issuesOf(issue).issues.map(({ message, path = [] }) => {
      const field = pathText(path.map((part) => (typeof part === "object" ? part.key : part)))
      return `${field === "" ? "the file" : field} ${messageText(message)}`
    })
  )
