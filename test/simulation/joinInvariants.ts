/** I18: a person's message joins the running turn in time, and each event is answered by one notification that showed it. */
import type { Event } from "./queueState.ts"
import type { Turn, World } from "./world.ts"

/** The runtime knows of a new message after this. */
const NEWS_MILLIS = 1_000
/** How long faults last. */
const RECOVERY = 150_000

/** Words of a request that asks for the last answer. */
const LAST = /^The (?:tools of this turn are|budget is) used up/

/** At a later request of a turn: every message that arrived before is in it, unless it asks for the last answer. */
export const judgeNews = (world: World, turn: Turn, text: string): void => {
  const { account, now, processes } = world
  const session = account.queue.sessions.get(turn.session)
  const isLive = session?.lease?.epoch === turn.epoch && session.recalled === null
  if (LAST.test(text) && text.includes("new messages")) {
    world.violate("I18", `a message joined the last round of ${turn.run}`)
  }
  if (!isLive || session.news === null || LAST.test(text) || account.isTokenRevoked) return
  const sentAt = account.messages.find(({ id }) => id === session.news)?.at ?? now
  const isUndisturbed = processes.every(({ isRunning, lastFaultAt }) => !isRunning || now - lastFaultAt > RECOVERY)
  if (isUndisturbed && now - sentAt > NEWS_MILLIS) {
    world.violate("I18", `${session.news} of ${sentAt} is not in a later request of ${turn.run}`)
  }
}

/** Each event is in exactly one notification. */
export const judgeEvents = (world: World): void => {
  const { queue } = world.account
  const seen = new Set<number>()
  for (const { events, id } of queue.notifications.values()) {
    for (const { seq } of events) {
      if (seen.has(seq)) world.violate("I18", `event ${seq} of ${id} is in two notifications`)
      seen.add(seq)
    }
  }
  if (seen.size < queue.events) world.violate("I18", `${queue.events - seen.size} events are in no notification`)
}

/** The events that joined a notification by its end are those that its turn showed. */
export const judgeJoined = (world: World, run: string, joined: ReadonlyArray<Event>, turn: Turn | undefined): void => {
  const shown = turn?.joined ?? []
  const ended = joined.map(({ message }) => message)
  if (JSON.stringify(ended) !== JSON.stringify(shown)) {
    world.violate("I18", `${run} ends with ${ended.join(", ") || "nothing"} joined, shown was ${shown.join(", ")}`)
  }
}
