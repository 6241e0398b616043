import { type WebSocket } from "ws"
import { anonymous, type Caller } from "./authorization.ts"
import { type Subscription } from "./liveQueries.ts"
import { initialVersion, type Modification, modificationOf, type Version, wireVersion } from "./syncProtocol.ts"

/** What a session wants to be sent, from the moment at which its queries run. */
export type Due = {
  readonly session: SyncSession
  readonly querySet: number
  readonly identity: number
  readonly owesTransition: boolean
  readonly removed: ReadonlyArray<number>
  readonly subscriptions: ReadonlyArray<readonly [number, Subscription]>
}

/** One client's socket: who it is, its subscriptions, and the version that it was sent. */
export class SyncSession {
  id = ""
  caller: Caller = anonymous
  /** The version that the client asked for; `sent` follows it. */
  querySet = 0
  identity = 0
  /** A mutation was answered, and the client waits for a transition after it. */
  owesTransition = false
  /** The socket is open but silent: nothing is read or sent. */
  isParked = false
  removed: Array<number> = []
  readonly subscriptions = new Map<number, Subscription>()
  /** Mutations of one session run one after another, in the order in which they were sent. */
  mutations: Promise<void> = Promise.resolve()
  readonly socket: WebSocket
  private sent: Version = initialVersion
  /** The messages so far have been handled. */
  private handled: Promise<void> = Promise.resolve()

  constructor(socket: WebSocket) {
    this.socket = socket
  }

  /** Handles a message after the earlier ones, of which some take time. */
  inOrder(receive: () => void | Promise<void>, onError: (error: unknown) => void): void {
    this.handled = this.handled.then(receive).catch(onError)
  }

  send(message: Readonly<Record<string, unknown>>): void {
    if (!this.isParked && this.socket.readyState === this.socket.OPEN) this.socket.send(JSON.stringify(message))
  }

  isDue(): boolean {
    return (
      this.owesTransition ||
      this.isBehind(this) ||
      [...this.subscriptions.values()].some(({ live, sent }) => live.isDirty || sent !== live.text)
    )
  }

  takeDue(): Due {
    const { querySet, identity, owesTransition, removed } = this
    this.owesTransition = false
    this.removed = []
    return { session: this, querySet, identity, owesTransition, removed, subscriptions: [...this.subscriptions] }
  }

  /** Sends what changed, in one transition. Returns false if nothing did. */
  sendTransition(due: Due, timestamp: bigint): boolean {
    const modifications: Array<Modification> = due.removed.map((queryId) => ({ type: "QueryRemoved", queryId }))
    for (const [queryId, subscription] of due.subscriptions) {
      const { live } = subscription
      if (live.result === undefined || subscription.sent === live.text) continue
      subscription.sent = live.text
      modifications.push(modificationOf(queryId, live.result))
    }
    if (!due.owesTransition && modifications.length === 0 && !this.isBehind(due)) return false
    const version: Version = { querySet: due.querySet, identity: due.identity, timestamp }
    this.send({
      type: "Transition",
      startVersion: wireVersion(this.sent),
      endVersion: wireVersion(version),
      modifications
    })
    this.sent = version
    return true
  }

  private isBehind({ querySet, identity }: Pick<Version, "querySet" | "identity">): boolean {
    return querySet !== this.sent.querySet || identity !== this.sent.identity
  }
}
