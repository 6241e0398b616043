import { Context, Effect, Layer, Scope, Stream } from "effect"
import type { Duration } from "effect"
import { GatewayEvents } from "../../layers/gateway/GatewayEvents.ts"
import { GatewayProcess } from "../../layers/gateway/GatewayProcess.ts"
import type { GatewayHealth } from "../../layers/gateway/GatewayProcess.ts"
import { Lifecycle } from "../../services/Lifecycle.ts"
import type { LifecycleState } from "../../services/Lifecycle.ts"
import { Supervisor } from "../../services/Supervisor.ts"

/** Keeps the gateway running while the loops run, and reports its state to the lifecycle. */
export class GatewayWatch extends Context.Service<
  GatewayWatch,
  {
    /** Starts the gateway, or the watch of an external one, and follows its events. It stops after the loops that use it. */
    readonly start: Effect.Effect<void>
    /** Waits until the gateway is ready. */
    readonly ready: Effect.Effect<void>
    /** Stops a supervised gateway before the process ends, so that turns of others can finish within this time. */
    drain(within: Duration.Duration): Effect.Effect<void>
  }
>()("runtime-service/programs/GatewayWatch") {
  static readonly layer = Layer.effect(
    GatewayWatch,
    Effect.gen(function* () {
      const events = yield* GatewayEvents
      const gatewayProcess = yield* GatewayProcess
      const lifecycle = yield* Lifecycle
      const supervisor = yield* Supervisor
      const scope = yield* Effect.scope

      const follow = Effect.fnUntraced(function* ({ detail, status }: GatewayHealth) {
        if (status === "spent") return yield* lifecycle.abort({ exitCode: 70, message: detail })
        // An external gateway may answer turns although its probe fails, so turns are tried under the breaker.
        const isBlocking = gatewayProcess.isSupervised || status === "faulty"
        yield* lifecycle.setReason("gateway-process", status !== "ready" && isBlocking ? detail : null)
        yield* lifecycle.setReason("gateway", detail !== "" && (status === "ready" || !isBlocking) ? detail : null)
      })

      const isTold = (reasons: LifecycleState["reasons"]) =>
        reasons.gateway === undefined && reasons["gateway-process"] === undefined

      return GatewayWatch.of({
        start: Effect.gen(function* () {
          yield* supervisor.run("gateway", gatewayProcess.supervise)
          yield* supervisor.run("gateway-events", Effect.andThen(events.run, Effect.never))
          yield* supervisor.run(
            "gateway-health",
            Stream.runForEach(gatewayProcess.changes, follow).pipe(Effect.andThen(Effect.never))
          )
        }).pipe(Effect.provideService(Scope.Scope, scope)),
        ready: gatewayProcess.changes.pipe(
          Stream.filter(({ status }) => status === "ready"),
          Stream.runHead,
          // Waits until the state is reported too. Otherwise the process would be ready and still have a reason against
          // it.
          Effect.andThen(Stream.runHead(Stream.filter(lifecycle.changes, ({ reasons }) => isTold(reasons)))),
          Effect.asVoid
        ),
        drain: gatewayProcess.drain
      })
    })
  )
}
