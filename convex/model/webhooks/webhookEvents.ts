import type { Infer } from "convex/values"
import type { Id } from "../../_generated/dataModel.js"
import type { budgetPeriod, budgetUnit } from "../../tables/budgets.ts"
import { cut } from "../database/cut.ts"

type AgentId = Id<"agents"> | null
type TaskId = Id<"tasks"> | null

interface BudgetData {
  readonly budgetId: Id<"budgets">
  /** Both null for the account's budget. */
  readonly agentId: AgentId
  readonly taskId: TaskId
  readonly period: Infer<typeof budgetPeriod>
  readonly unit: Infer<typeof budgetUnit>
  readonly limit: number
  readonly text: string
}

interface LimitData {
  readonly taskId: Id<"tasks">
  readonly limit: number
  readonly text: string
}

/** An event that webhooks send. `data` has ids, and a `text` of one or two sentences for people. */
export type WebhookEvent =
  | {
      readonly type: "question.asked"
      readonly data: {
        readonly notificationId: Id<"notifications">
        readonly taskId: Id<"tasks">
        readonly agentId: AgentId
        readonly memberId: Id<"members">
        readonly text: string
      }
    }
  | {
      readonly type: "approval.requested"
      readonly data: {
        readonly approvalId: string
        readonly taskId: TaskId
        readonly agentId: AgentId
        readonly tool: string
        readonly text: string
      }
    }
  | { readonly type: "budget.warned"; readonly data: BudgetData }
  | { readonly type: "budget.stopped"; readonly data: BudgetData }
  | { readonly type: "limit.hops"; readonly data: LimitData }
  | { readonly type: "limit.turns"; readonly data: LimitData }
  | {
      readonly type: "dead_letter.created"
      readonly data: {
        readonly notificationId: Id<"notifications">
        readonly taskId: Id<"tasks">
        readonly agentId: AgentId
        /** The class of the last failure. Its message is not sent. */
        readonly failure: string
        readonly text: string
      }
    }
  | {
      readonly type: "runtime.offline"
      readonly data: {
        readonly runtimeId: string
        /** Another runtime serves the account. */
        readonly isServed: boolean
        readonly text: string
      }
    }
  | {
      readonly type: "webhook.test"
      readonly data: { readonly webhookId: Id<"webhooks">; readonly text: string }
    }

/** Longer texts are cut, so that a body stays below 20 kB. */
const maxText = 500

/** The request's body for an event of the account. Texts are cut, because other people and agents may have written them. */
export const bodyOf = (accountId: Id<"accounts">, { data, type }: WebhookEvent, now: number): string => {
  const fields = Object.entries({ accountId, ...data }).map(([name, value]) => [
    name,
    typeof value === "string" ? cut(value, maxText) : value
  ])
  return JSON.stringify({ type, timestamp: new Date(now).toISOString(), data: Object.fromEntries(fields) })
}
