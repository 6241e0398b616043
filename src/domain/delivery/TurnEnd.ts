import type { BudgetRefusal, RequestTokens } from "./Run.ts"
import type { SpokenText } from "./Silence.ts"

/** How a turn ended: with a text, with "nothing to add", or without a text after effects. */
export interface TurnEnd {
  readonly spoken: SpokenText
  readonly isTruncated: boolean
  /** Absent if the gateway counted no tokens. */
  readonly requestTokens?: RequestTokens
  /** The session's history is longer than SESSION_TOKEN_LIMIT. */
  readonly isHistoryLong?: boolean
  /** The budget that stopped the turn. */
  readonly stoppedBy?: BudgetRefusal
  /** The tools that changed data in this turn. */
  readonly effects: ReadonlyArray<string>
}
