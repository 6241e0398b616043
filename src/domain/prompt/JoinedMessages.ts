import { DateTime } from "effect"
import type { DeliveryContext, NotificationEvent } from "../delivery/DeliveryContext.ts"
import { counted } from "../text/Count.ts"
import { fenced, withoutFenceMark } from "./FenceMark.ts"
import { endOfTurn, requestOf, statement } from "./Prompt.ts"

const timedStatement = (event: NotificationEvent): string =>
  `${statement(event)} at ${DateTime.formatIso(DateTime.makeUnsafe(event.createdAt))}`

/**
 * The text for people's messages that join a running delivery: it follows the results of a round's calls. `earlier` are
 * the events that the turn answers without them.
 */
export const formatJoinedMessages = (
  { fenceMark, notification }: Pick<DeliveryContext, "fenceMark" | "notification">,
  earlier: ReadonlyArray<NotificationEvent>,
  joined: ReadonlyArray<NotificationEvent>
): string =>
  [
    `New for delivery ${notification.id}: ${counted(joined.length, "message")} arrived while you were working. Take them into account from now on, and give one answer to the whole request with them.`,
    fenced(fenceMark, "new messages", requestOf(withoutFenceMark(fenceMark, joined), timedStatement)),
    endOfTurn([...earlier, ...joined])
  ].join("\n")
