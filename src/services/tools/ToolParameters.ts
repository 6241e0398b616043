/** The parameters that several tools share, each with its description for agents. */
import { DateTime, Effect, Option, Schema } from "effect"
import { ToolRejected } from "./AgentTool.ts"

export const taskId = Schema.NonEmptyString.annotate({ description: "The task's id, as the request shows it." })

export const ownTaskId = Schema.optionalKey(
  Schema.NonEmptyString.annotate({ description: "The task's id. Without it, the task of this run." })
)

export const title = Schema.NonEmptyString.check(Schema.isMaxLength(300)).annotate({
  description: "A short title, at most 300 characters."
})

export const description = Schema.optionalKey(
  Schema.String.check(Schema.isMaxLength(20_000)).annotate({ description: "What is to be done, in full." })
)

export const priority = Schema.optionalKey(
  Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 })).annotate({ description: "1 (highest) to 5 (lowest)." })
)

export const labels = Schema.optionalKey(
  Schema.Array(Schema.String.check(Schema.isMaxLength(64)))
    .check(Schema.isMaxLength(20))
    .annotate({ description: "All labels of the task; other labels are removed." })
)

const slug = Schema.NonEmptyString.check(Schema.isMaxLength(65))

/** Slugs of agents, with or without the `@`, at most 20. */
export const slugs = (words: string) =>
  Schema.Array(slug).check(Schema.isMinLength(0), Schema.isMaxLength(20)).annotate({ description: words })

export const agentSlug = (words: string) => Schema.optionalKey(slug.annotate({ description: words }))

export const blockedReason = Schema.optionalKey(
  Schema.String.check(Schema.isMaxLength(2_000)).annotate({
    description: "Required for blocked: what is missing, and who can provide it."
  })
)

const moment = Schema.String.check(
  Schema.isPattern(/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/)
)

export const dueDate = Schema.optionalKey(
  moment.annotate({ description: "The due date, as 2026-12-31 or 2026-12-31T17:00:00Z." })
)

export const since = Schema.optionalKey(
  moment.annotate({ description: "Only messages created after this moment, in the form of their createdAt." })
)

/** A maximum number, with its default. */
export const limit = (what: string, usual: number, most: number) =>
  Schema.optionalKey(
    Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: most })).annotate({
      description: `How many ${what}, 1 to ${most}; default ${usual}.`
    })
  )

/** The parameter's time as epoch milliseconds; refuses a date that does not exist. */
export const momentOf = Effect.fnUntraced(function* (parameter: "dueDate" | "since", text: string) {
  const moment = DateTime.make(text)
  // Parsing turns 31 February into a date in March.
  const isReal =
    Option.isSome(moment) && DateTime.formatIsoDate(DateTime.makeUnsafe(text.slice(0, 10))) === text.slice(0, 10)
  if (Option.isNone(moment) || !isReal) {
    return yield* new ToolRejected({ code: "invalid", detail: `${parameter}: there is no such date` })
  }
  return DateTime.toEpochMillis(moment.value)
})

/** The parameters with `since` as epoch milliseconds. */
export const withMoment = Effect.fnUntraced(function* <A extends { readonly since?: string }>({ since, ...rest }: A) {
  return { ...rest, ...(since === undefined ? {} : { since: yield* momentOf("since", since) }) }
})
