import type { BudgetRefusal, RequestTokens } from "./Run.ts"
import type { SpokenText } from "./Silence.ts"

/** How a turn ended: with words, with "nothing to add", or silent after effects. */
export interface TurnEnd {
  readonly spoken: SpokenText
  readonly isTruncated: boolean
  /** Absent if the gateway counted no tokens. */
  readonly requestTokens?: RequestTokens
  /** The session's history is longer than SESSION_TOKEN_LIMIT. */
  readonly isHistoryLong?: boolean
  /** The budget that ended it before the agent was done. */
  readonly stoppedBy?: BudgetRefusal
  /** The tools that changed something in this turn. */
  readonly effects: ReadonlyArray<string>
}
