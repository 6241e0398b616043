import { type Infer, v } from "convex/values"
import { role } from "../../tables/accounts.ts"
import { policedTool, policyEffect } from "../../tables/approvals.ts"
import { budgetPeriod, budgetUnit } from "../../tables/budgets.ts"
import { refusal } from "../access/refusal.ts"
import { accountSettings } from "../accounts/accounts.ts"
import { agentSettings } from "../agents/roster.ts"

/**
 * What an operator's file says about an account. It is complete for what it names: anything that it leaves out stays as
 * it is, or gets the default in a new account.
 */
export const accountFile = v.object({
  /** The operator's own name for the account, by which a repeated provisioning finds it. */
  key: v.string(),
  /** The id of an account that people created, which gets the key. */
  accountId: v.optional(v.string()),
  ...accountSettings.fields,
  name: v.string(),
  members: v.optional(v.array(v.object({ tokenIdentifier: v.string(), name: v.string(), role }))),
  agents: v.optional(v.array(v.object({ slug: v.string(), name: v.string(), ...agentSettings.fields }))),
  /** Without `agent`, which is a slug, the account's own. */
  budgets: v.optional(
    v.array(v.object({ agent: v.optional(v.string()), period: budgetPeriod, unit: budgetUnit, limit: v.number() }))
  ),
  policies: v.optional(
    v.array(
      v.object({
        tool: policedTool,
        effect: policyEffect,
        agent: v.optional(v.string()),
        role: v.optional(v.string()),
        when: v.optional(v.string())
      })
    )
  ),
  /** A token with this label exists. */
  serviceToken: v.optional(v.object({ label: v.string() }))
})
export type AccountFile = Infer<typeof accountFile>

/** The maximum number of entries of a list, so that one transaction can apply the file. */
const maxEntries = 100

/** Fails with `invalid` if two entries of a list are about the same: each run would undo what the run before did. */
const mustDiffer = (name: string, subjects: ReadonlyArray<ReadonlyArray<string | undefined>>): void => {
  const texts = subjects.map((subject) => JSON.stringify(subject))
  for (const [index, text] of texts.entries()) {
    const first = texts.indexOf(text)
    if (first === index) continue
    throw refusal("invalid", `${name}[${index}] is about the same as ${name}[${first}]. Remove one of them.`)
  }
}

/** Fails with `invalid` or `limit` for a key, a list or two entries that no account can have. */
export const checkFile = ({ agents = [], budgets = [], key, members = [], policies = [] }: AccountFile): void => {
  if (!/^[a-z0-9][a-z0-9._-]{0,63}$/.test(key)) {
    throw refusal(
      "invalid",
      "key has 1 to 64 of a-z, 0-9, dots, underscores and hyphens, and starts with a letter or digit."
    )
  }
  for (const [name, list] of Object.entries({ agents, budgets, members, policies })) {
    if (list.length > maxEntries) {
      throw refusal("limit", `${name} has more than ${maxEntries} entries. Provision the rest with a second file.`)
    }
  }
  const subjects = {
    members: members.map(({ tokenIdentifier }) => [tokenIdentifier]),
    agents: agents.map(({ slug }) => [slug]),
    budgets: budgets.map(({ agent, period }) => [agent, period]),
    policies: policies.map(({ agent, role, tool, when }) => [tool, agent, role, when])
  }
  for (const [name, list] of Object.entries(subjects)) mustDiffer(name, list)
}
