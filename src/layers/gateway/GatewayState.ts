import { Effect, Option, Ref } from "effect"
import { RuntimeConfig } from "../Config.ts"

/** The gateway's state at its last contact; times are epoch milliseconds. */
export interface GatewayState {
  readonly state: "unknown" | "ready" | "draining" | "unreachable" | "misconfigured"
  readonly version: string | null
  /** Why it accepts no turns, with the fix; null while it is ready and before the first contact. */
  readonly problem: string | null
  /** Whether a tool call of an agent has reached this process. */
  readonly hasSentToolCalls: boolean
  readonly lastSendAt: number | null
  readonly lastSendError: string | null
}

/** The state before the first contact. */
export const unseenGateway: GatewayState = {
  state: "unknown",
  version: null,
  problem: null,
  hasSentToolCalls: false,
  lastSendAt: null,
  lastSendError: null
}

/** The state, shared by requests and probes. */
export interface GatewayStateRef {
  readonly get: Effect.Effect<GatewayState>
  readonly update: (step: (before: GatewayState) => GatewayState) => Effect.Effect<void>
  readonly note: (change: Partial<GatewayState>) => Effect.Effect<void>
}

/** A state that starts with OPENCLAW_VERSION as its version. */
export const makeGatewayState = Effect.gen(function* () {
  const { openclawVersion } = yield* RuntimeConfig
  const ref = yield* Ref.make<GatewayState>({ ...unseenGateway, version: Option.getOrNull(openclawVersion) })
  const state: GatewayStateRef = {
    get: Ref.get(ref),
    update: (step) => Ref.update(ref, step),
    note: (change) => Ref.update(ref, (before) => ({ ...before, ...change }))
  }
  return state
})
