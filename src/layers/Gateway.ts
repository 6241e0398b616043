/** The OpenClaw gateway over HTTP. With its parts in `gateway` it is the only importer of undici besides ConvexClient. */
import { Context, Effect, Layer } from "effect"
import type { GatewayMisconfigured, GatewayUnreachable, TurnFailure } from "../domain/delivery/TurnFailure.ts"
import type { FunctionCall } from "../domain/gateway/GatewayResponse.ts"
import { makeGatewayConnection } from "./gateway/GatewayConnection.ts"
import { makeGatewayProbes } from "./gateway/GatewayProbes.ts"
import { makeGatewayState, unseenGateway } from "./gateway/GatewayState.ts"
import type { GatewayState } from "./gateway/GatewayState.ts"
import { makeTurnRequests } from "./gateway/TurnRequest.ts"
import type { FunctionTool, GatewayRequest, InputItem, RoundAnswer } from "./gateway/TurnRequest.ts"
import { Secrets } from "./secrets/Secrets.ts"

export { unseenGateway }
export type { FunctionCall, FunctionTool, GatewayRequest, GatewayState, InputItem, RoundAnswer }

/** The gateway at OPENCLAW_GATEWAY_URL, otherwise the one that this process starts. */
export class Gateway extends Context.Service<
  Gateway,
  {
    /** Runs one round and returns calls or text; any other end is a typed failure. Interruption aborts the run. */
    sendToOpenClaw(request: GatewayRequest): Effect.Effect<RoundAnswer, TurnFailure>
    /** Whether the gateway accepts turns now, according to its JSON field and not to the HTTP status. */
    readonly ready: Effect.Effect<boolean>
    /** The slugs of the agents that the gateway serves. */
    readonly agents: Effect.Effect<ReadonlyArray<string>, GatewayUnreachable | GatewayMisconfigured>
    /** How many tokens the session's last model call read; null if the gateway does not report it. */
    historyTokens(sessionKey: string): Effect.Effect<number | null>
    readonly state: Effect.Effect<GatewayState>
  }
>()("runtime-service/layers/Gateway") {
  static readonly layer = Layer.effect(
    Gateway,
    Effect.suspend(() => make)
  ).pipe(Layer.provide(Secrets.layer))
}

const make = Effect.gen(function* () {
  const connection = yield* makeGatewayConnection
  const state = yield* makeGatewayState
  const probes = yield* makeGatewayProbes(connection, state)
  const sendToOpenClaw = yield* makeTurnRequests(connection, state, probes)
  const { agents, historyTokens, ready } = probes
  return Gateway.of({ sendToOpenClaw, ready, agents, historyTokens, state: state.get })
})
