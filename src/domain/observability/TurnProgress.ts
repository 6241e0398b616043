import type { Lease } from "../delivery/Run.ts"
import { lastActivityOf } from "./Activity.ts"
import type { Progress } from "./Activity.ts"
import type { LiveTurn } from "./LiveTurn.ts"

/** How far a running turn is, for people. Times are epoch milliseconds of this process. */
export interface TurnProgress extends Lease, Pick<Progress, "tool" | "stepSince" | "isStuck"> {
  readonly lastActivityAt: number
}

/** The turn's steps together with the gateway's events; `live` is undefined without them. */
export const turnProgress = ({ epoch, session }: Lease, work: Progress, live: LiveTurn | undefined): TurnProgress => ({
  session,
  epoch,
  tool: work.tool,
  stepSince: work.stepSince,
  lastActivityAt: lastActivityOf(work, live),
  isStuck: work.isStuck
})
