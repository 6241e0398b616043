/** People's messages that join a running turn. */
import type { RunSettings } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { QueueEnds } from "./queueEnds.ts"
import { isPersonsMessage, MAX_EVENTS, Refusal } from "./queueState.ts"
import type { Event, Fence, Notification } from "./queueState.ts"

/** As many messages join with one call, from as many notifications. */
const MOST = 20
const WAITING = 5

/** The ends of runs, and the messages that join before. */
export class QueueJoins extends QueueEnds {
  /** Moves people's messages that wait behind the run into it. Answers its events, and how many of the last ones joined. */
  join(
    now: number,
    fence: Fence,
    settings: RunSettings
  ): { readonly events: ReadonlyArray<Event>; readonly joined: number } {
    return this.transact(now, () => {
      const { lease, session } = this.held(fence, this.mistakes.has("a join without a fence"))
      if (lease.kind === "heartbeat") throw new Refusal("invalid")
      const row = this.row(lease.run)
      const { epoch } = fence
      const taken = this.takeWaiting(row, settings, Math.min(MOST, MAX_EVENTS - row.events.length))
      row.events.push(...taken.map((event) => ({ ...event, joined: epoch })))
      session.news = null
      this.history.push({ entry: "join", at: now, session: session.id, epoch, run: row.id, count: taken.length })
      if (taken.length > 0) {
        const isRenewed = !this.mistakes.has("a join that renews no attempts")
        if (isRenewed) Object.assign(row, { attempts: 1, failures: 0, silences: 0, sharedSince: null })
        for (const memory of this.counted.keys()) if (memory.endsWith(` ${row.id}`)) this.counted.set(memory, 1)
      }
      return { events: row.events, joined: row.events.filter(({ joined }) => joined === epoch).length }
    })
  }

  /** Takes people's messages out of the notifications behind this one, oldest first. Deletes those left empty. */
  private takeWaiting(
    { agent, session, task }: Notification,
    settings: RunSettings,
    most: number
  ): ReadonlyArray<Event> {
    const taken: Array<Event> = []
    const waiting = [...this.notifications.values()].filter(
      (row) => row.agent === agent && row.task === task && row.state === "ready" && row.claims === 0
    )
    for (const row of waiting.slice(0, WAITING)) {
      if (row.session !== session) continue
      const mine = row.events.filter(isPersonsMessage).slice(0, most - taken.length)
      taken.push(...mine)
      if (mine.length === 0 || this.mistakes.has("a join that leaves the message where it waited")) continue
      const left = row.events.filter((event) => !mine.includes(event))
      const isDropped = left.length === 0 || this.mistakes.has("a join that drops the other events")
      if (isDropped) this.notifications.delete(row.id)
      else this.keepOnly(row, left, settings)
    }
    return taken
  }

  /** Leaves these events, as if there had never been others. */
  private keepOnly(row: Notification, left: ReadonlyArray<Event>, settings: RunSettings): void {
    const { at, readyAt } = row
    row.readyAt = Infinity
    for (const [index, event] of left.entries()) {
      row.events = left.slice(0, index + 1)
      this.putOff(event.at, row, settings)
    }
    // A notification that a budget holds keeps its time.
    if (row.heldUntil !== null) Object.assign(row, { heldSince: row.readyAt, at, readyAt })
  }
}
