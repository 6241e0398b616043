/**
 * The gateway's events of running turns, over its WebSocket: live progress, and the exact causes of ends that HTTP
 * reports as "internal error". Optional: turns go over HTTP only, and without the channel they run and end as before.
 */
import { Clock, Context, Deferred, Effect, Layer, Option, PubSub, Ref, Schedule, Schema, Stream, Struct } from "effect"
import type { Scope } from "effect"
import { readRunEvent } from "../../domain/gateway/GatewayEvent.ts"
import type { ModelCall, RunCause, RunEvent } from "../../domain/gateway/GatewayEvent.ts"
import { afterEvent, lastLineOf, turnStarted } from "../../domain/observability/LiveTurn.ts"
import type { LiveTurn, SpeakingTurn } from "../../domain/observability/LiveTurn.ts"
import { parseSessionKey } from "../../domain/shared/SessionKey.ts"
import { RuntimeConfig } from "../Config.ts"
import { Redactor } from "../secrets/Redactor.ts"
import { Secrets } from "../secrets/Secrets.ts"
import { gatewayAddress } from "./GatewayConnection.ts"
import { openGatewaySocket } from "./GatewaySocket.ts"
import type { GatewaySocket, SocketLost, SocketRefused } from "./GatewaySocket.ts"
import { GatewayToken } from "./GatewayToken.ts"

/** How long an ambiguous failure waits for the event that says what happened. */
const CAUSE_TIMEOUT = "2 seconds"
const ANSWER_TIMEOUT = "10 seconds"
/** An operator may have changed the gateway in the meantime. */
const REFUSED_PAUSE = "10 minutes"
/** Sessions of one agent in a list of the active ones. */
const MAX_ACTIVE = 500
/** Ends of runs that a session remembers. A turn has one run at a time; the gateway's own runs can come between. */
const ENDS_KEPT = 8

/** Frames are read in batches of this time, because a read costs more than the frames in it. */
const BATCH = "50 millis"

const OFF = "the gateway's events are off, turns continue without them"

/** How a run ended, and the model that answered. */
export interface RunEnd {
  readonly cause: RunCause
  readonly model: string | null
}

/** Whether events arrive, and if not, why. */
export type ChannelState =
  | { readonly _tag: "On"; readonly version: string }
  | { readonly _tag: "Off"; readonly reason: string }

/** What a follower of a session learns with the events themselves. Its effects must not wait. */
export interface Listener {
  /** The running tool changed; null if none runs. */
  readonly onTool?: (tool: string | null) => Effect.Effect<void>
  /** A model call ended, of a run that started after the listener. Events of earlier runs can be late. */
  readonly onModelCall?: (runId: string, call: ModelCall) => Effect.Effect<void>
}

interface Service {
  /** Keeps the connection open, for ever; for a supervised fiber. Ends at once if the channel is switched off. */
  readonly run: Effect.Effect<void>
  /** Follows the events of a session until the scope closes. */
  follow(sessionKey: string, listener?: Listener): Effect.Effect<void, never, Scope.Scope>
  /** The end of a run of a followed session. Waits up to two seconds for it. Null if no events arrive. */
  endOf(sessionKey: string, runId: string): Effect.Effect<RunEnd | null>
  /** The model that answered last in a followed session. Null if no event has named it. */
  modelOf(sessionKey: string): Effect.Effect<string | null>
  /**
   * Whether the gateway has neither a running nor a queued turn in the session. Null if it cannot be asked or does not
   * answer; 2026.8.2 refuses the question.
   */
  isIdle(sessionKey: string): Effect.Effect<boolean | null>
  /** The followed turns by session key, without their texts; empty if the channel is switched off. */
  readonly current: Effect.Effect<ReadonlyMap<string, LiveTurn>>
  /** The last line of the text that the model is writing in a followed session, without secrets; else empty. */
  lastLine(sessionKey: string): Effect.Effect<string>
  readonly state: Effect.Effect<ChannelState>
  /**
   * Emits after each change of a followed turn's record and of the state. Changes at the same time can be one element.
   */
  readonly changes: Stream.Stream<void>
}

const offBecause = (reason: string): Service => ({
  run: Effect.void,
  follow: () => Effect.void,
  endOf: () => Effect.succeed(null),
  modelOf: () => Effect.succeed(null),
  isIdle: () => Effect.succeed(null),
  current: Effect.succeed(new Map()),
  lastLine: () => Effect.succeed(""),
  state: Effect.succeed({ _tag: "Off", reason }),
  changes: Stream.empty
})

/** No events. */
export const offEvents = offBecause("the runtime does not ask for them")

/** The events of running turns. Without the layer there are none. */
export class GatewayEvents extends Context.Reference<Service>("runtime-service/layers/gateway/GatewayEvents", {
  defaultValue: () => offEvents
}) {
  static readonly layer = Layer.effect(
    GatewayEvents,
    Effect.suspend(() => make)
  ).pipe(Layer.provide(Secrets.layer))
}

interface Followed {
  turn: SpeakingTurn
  readonly listener: Listener
  readonly started: Set<string>
  readonly ends: Map<string, RunEnd>
  readonly awaited: Map<string, Deferred.Deferred<RunEnd>>
}

const ActiveSessions = Schema.Struct({ sessions: Schema.Array(Schema.Struct({ key: Schema.String })) })
const asActiveSessions = Schema.decodeUnknownOption(ActiveSessions)

/** The tool that a page shows, with one line for each turn. */
const toolOf = ({ tools }: LiveTurn): string | null => tools.at(-1)?.name ?? null

/** One retry per second at first, later one every ten seconds. */
const reconnects = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("10 seconds")]).pipe(
  Schedule.jittered
)

const make = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  if (!config.gatewayEvents) return offBecause("OPENCLAW_GATEWAY_EVENTS is false")
  const redactor = yield* Redactor
  const secrets = yield* Secrets
  const ownToken = yield* GatewayToken
  const { url } = gatewayAddress(config)
  const followed = new Map<string, Followed>()
  const state = yield* Ref.make<ChannelState>({ _tag: "Off", reason: "it has not connected yet" })
  // One pending element is enough, because readers read the present records. It never waits for a slow reader.
  const changed = yield* PubSub.sliding<void>(1)
  const become = (next: ChannelState) => Effect.andThen(Ref.set(state, next), PubSub.publish(changed, undefined))
  let socket: GatewaySocket | null = null

  const note = Effect.fnUntraced(function* ({ event, runId, sessionKey }: RunEvent) {
    const session = followed.get(sessionKey)
    if (session === undefined) return
    const before = toolOf(session.turn)
    session.turn = afterEvent(session.turn, event, yield* Clock.currentTimeMillis)
    yield* PubSub.publish(changed, undefined)
    const tool = toolOf(session.turn)
    const { onModelCall, onTool } = session.listener
    if (tool !== before && onTool !== undefined) yield* onTool(tool === null ? null : redactor.redact(tool))
    if (event._tag === "RunStarted") session.started.add(runId)
    if (event._tag === "ModelCalled" && session.started.has(runId)) yield* onModelCall?.(runId, event) ?? Effect.void
    if (event._tag !== "RunEnded") return
    const { cause, model } = event
    session.ends.set(runId, { cause, model })
    for (const earlier of session.ends.keys()) if (session.ends.size > ENDS_KEPT) session.ends.delete(earlier)
    const waiting = session.awaited.get(runId)
    if (waiting !== undefined) Deferred.doneUnsafe(waiting, Effect.succeed({ cause, model }))
  })

  /** Asks for a session's events, or asks to end them. A lost connection is noticed by its reader. */
  const ask = (verb: "subscribe" | "unsubscribe", key: string) =>
    Effect.suspend(() =>
      socket === null ? Effect.void : Effect.ignore(socket.request(`sessions.messages.${verb}`, { key }))
    )

  /** Reads events until the connection is lost. */
  const read = (opened: GatewaySocket): Effect.Effect<never, SocketLost> =>
    opened.next.pipe(
      Effect.flatMap((frames) => {
        const events = frames.flatMap((frame) => (frame.type === "event" ? Option.toArray(readRunEvent(frame)) : []))
        return Effect.forEach(events, note, { discard: true })
      }),
      Effect.andThen(Effect.sleep(BATCH)),
      Effect.forever
    )

  const isOn = Effect.map(Ref.get(state), ({ _tag }) => _tag === "On")

  const noteLoss = Effect.fnUntraced(function* ({ detail }: SocketLost) {
    const reason = redactor.error(detail)
    const line = `${OFF}: ${reason}`
    yield* (yield* isOn) ? Effect.logInfo(line) : Effect.logDebug(line)
    yield* become({ _tag: "Off", reason })
  })

  /** Logged once as a warning, until the reason changes. */
  const noteRefusal = Effect.fnUntraced(function* ({ detail }: SocketRefused) {
    const reason = redactor.error(`the gateway refuses: ${detail}`)
    const before = yield* Ref.get(state)
    const line = `${OFF}: ${reason}`
    yield* before._tag === "Off" && before.reason === reason ? Effect.logDebug(line) : Effect.logWarning(line)
    yield* become({ _tag: "Off", reason })
  })

  /** Fails if no connection can be opened. Succeeds when an open one is lost. */
  const connection = Effect.gen(function* () {
    const token = Option.orElse(secrets.now().gatewayToken, () => ownToken)
    const opened = yield* openGatewaySocket(url, token, config.runtimeVersion)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        socket = null
      })
    )
    socket = opened
    yield* Effect.forEach(followed.keys(), (key) => ask("subscribe", key), { discard: true })
    yield* become({ _tag: "On", version: opened.version })
    yield* Effect.logInfo("the gateway's events are connected")
    yield* read(opened).pipe(Effect.catch(noteLoss))
  }).pipe(Effect.scoped)

  const run = connection.pipe(
    Effect.tapErrorTag("SocketLost", noteLoss),
    Effect.retry({ schedule: reconnects, while: ({ _tag }) => _tag === "SocketLost" }),
    Effect.catchTag("SocketRefused", (refusal) => Effect.andThen(noteRefusal(refusal), Effect.sleep(REFUSED_PAUSE))),
    Effect.repeat(Schedule.spaced("1 second")),
    Effect.asVoid,
    Effect.orDie
  )

  const follow = Effect.fnUntraced(function* (sessionKey: string, listener: Listener = {}) {
    const turn = turnStarted(sessionKey, yield* Clock.currentTimeMillis)
    const session: Followed = { turn, listener, started: new Set(), ends: new Map(), awaited: new Map() }
    yield* Effect.acquireRelease(
      Effect.suspend(() => {
        followed.set(sessionKey, session)
        return ask("subscribe", sessionKey)
      }),
      () =>
        Effect.suspend(() => {
          // The session may already have its next turn.
          if (followed.get(sessionKey) !== session) return Effect.void
          followed.delete(sessionKey)
          return ask("unsubscribe", sessionKey)
        })
    )
  })

  const endOf = Effect.fnUntraced(function* (sessionKey: string, runId: string) {
    const session = followed.get(sessionKey)
    if (session === undefined) return null
    const known = session.ends.get(runId)
    if (known !== undefined || socket === null) return known ?? null
    const awaited = session.awaited.get(runId) ?? Deferred.makeUnsafe<RunEnd>()
    session.awaited.set(runId, awaited)
    return yield* Deferred.await(awaited).pipe(
      Effect.timeoutOrElse({ duration: CAUSE_TIMEOUT, orElse: () => Effect.succeed(null) }),
      Effect.ensuring(Effect.sync(() => session.awaited.delete(runId)))
    )
  })

  const isIdle = Effect.fnUntraced(function* (sessionKey: string) {
    if (socket === null) return null
    const agentId = parseSessionKey(sessionKey)?.slug
    const answer = yield* socket
      .ask("sessions.list", { activeOnly: true, agentId, limit: MAX_ACTIVE })
      .pipe(Effect.timeoutOption(ANSWER_TIMEOUT), Effect.orElseSucceed(Option.none))
    return Option.match(
      Option.flatMap(answer, ({ payload }) => asActiveSessions(payload)),
      { onNone: () => null, onSome: ({ sessions }) => sessions.every(({ key }) => key !== sessionKey) }
    )
  })

  const shown = (turn: SpeakingTurn): LiveTurn => ({
    ...Struct.omit(turn, ["textEnd"]),
    tools: turn.tools.map((tool) => ({ ...tool, name: redactor.redact(tool.name) }))
  })

  const service: Service = {
    run,
    follow,
    endOf,
    modelOf: (sessionKey) => Effect.sync(() => followed.get(sessionKey)?.turn.model ?? null),
    isIdle,
    current: Effect.sync(() => new Map([...followed].map(([key, { turn }]) => [key, shown(turn)]))),
    lastLine: (sessionKey) =>
      Effect.sync(() => {
        const session = followed.get(sessionKey)
        return session === undefined ? "" : lastLineOf(session.turn, (text) => redactor.redact(text))
      }),
    state: Ref.get(state),
    changes: Stream.fromPubSub(changed)
  }
  return service
})
