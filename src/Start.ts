/** The runtime, and the only place that builds its whole Layer. */
// Imported one by one: the package's index also loads database clients.
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import { Config, Effect, Layer, Option } from "effect"
import { HttpRouter } from "effect/http"
import { logDefects, EndedWith, endWith } from "./commands/EndedWith.ts"
import { RuntimeConfig } from "./layers/Config.ts"
import { ConvexClient } from "./layers/ConvexClient.ts"
import { Gateway } from "./layers/Gateway.ts"
import { GatewayEvents } from "./layers/gateway/GatewayEvents.ts"
import { GatewayProcess } from "./layers/gateway/GatewayProcess.ts"
import { GatewayToken } from "./layers/gateway/GatewayToken.ts"
import { ModelPrices } from "./layers/gateway/ModelPrices.ts"
import * as HttpServer from "./layers/host/HttpServer.ts"
import { Systemd } from "./layers/host/Systemd.ts"
import { Upgrader } from "./layers/host/Upgrader.ts"
import { Metrics } from "./layers/Metrics.ts"
import { Redactor } from "./layers/secrets/Redactor.ts"
import * as Logging from "./layers/telemetry/Logging.ts"
import { Telemetry } from "./layers/telemetry/Telemetry.ts"
import { AgentSync } from "./programs/agents/AgentSync.ts"
import { Heartbeats } from "./programs/agents/Heartbeats.ts"
import { ProfileSync } from "./programs/agents/ProfileSync.ts"
import { DeliveryLoop } from "./programs/delivery/DeliveryLoop.ts"
import { RunExecution } from "./programs/delivery/RunExecution.ts"
import * as AgentEndpoints from "./programs/http/AgentEndpoints.ts"
import * as Probes from "./programs/http/Probes.ts"
import * as StatusPage from "./programs/http/StatusPage.ts"
import { exitCodeOf, run } from "./programs/Runtime.ts"
import { Commands } from "./programs/supervision/Commands.ts"
import { GatewayWatch } from "./programs/supervision/GatewayWatch.ts"
import { Presence } from "./programs/supervision/Presence.ts"
import { ProgressReports } from "./programs/supervision/ProgressReports.ts"
import { SystemdNotices } from "./programs/supervision/SystemdNotices.ts"
import { AgentTools } from "./services/AgentTools.ts"
import { ControlPlane } from "./services/ControlPlane.ts"
import { GatewayGuard } from "./services/GatewayGuard.ts"
import { Leases } from "./services/Leases.ts"
import { Lifecycle } from "./services/Lifecycle.ts"
import { LiveRuns } from "./services/LiveRuns.ts"
import { Permits } from "./services/Permits.ts"
import { Roster } from "./services/Roster.ts"
import { RuntimeHealth } from "./services/RuntimeHealth.ts"
import { Supervisor } from "./services/Supervisor.ts"
import { Turns } from "./services/Turns.ts"

/** Everything below the programs. A layer that is provided later is closed later. */
const services = Layer.empty.pipe(
  Layer.provideMerge(Turns.layer),
  Layer.provideMerge(AgentTools.layer),
  Layer.provideMerge(LiveRuns.layer),
  Layer.provideMerge(Layer.mergeAll(GatewayGuard.layer, RuntimeHealth.layer)),
  Layer.provideMerge(Layer.mergeAll(Leases.layer, Permits.layer, Roster.layer)),
  Layer.provideMerge(Layer.mergeAll(ControlPlane.layer, Supervisor.layer)),
  Layer.provideMerge(Lifecycle.layer),
  Layer.provideMerge(GatewayProcess.layer),
  Layer.provideMerge(Layer.mergeAll(ConvexClient.layer, Gateway.layer)),
  Layer.provideMerge(GatewayEvents.layer),
  Layer.provideMerge(GatewayToken.layer),
  Layer.provideMerge(Layer.mergeAll(Metrics.layer, ModelPrices.layer, Systemd.layer, Upgrader.layer))
)

const programs = HttpRouter.serve(Layer.mergeAll(Probes.layer, AgentEndpoints.layer, StatusPage.layer), {
  disableLogger: true,
  disableListenLog: true,
  middleware: HttpServer.strictly
}).pipe(
  Layer.provideMerge(Layer.mergeAll(Presence.layer, ProgressReports.layer)),
  Layer.provideMerge(Layer.mergeAll(Commands.layer, SystemdNotices.layer)),
  Layer.provideMerge(ProfileSync.layer),
  Layer.provideMerge(AgentSync.layer),
  Layer.provideMerge(Heartbeats.layer),
  Layer.provideMerge(DeliveryLoop.layer),
  Layer.provideMerge(RunExecution.layer),
  // Below the loops: the gateway is stopped after the turns that it runs.
  Layer.provideMerge(GatewayWatch.layer),
  Layer.provideMerge(services),
  // Opened once the port is bound, and closed after everything that sends telemetry.
  Layer.provideMerge(Telemetry.layer),
  Layer.provideMerge(HttpServer.layer)
)

/** Configuration, redactor, log and cryptography, which the commands with the runtime's variables share. */
export const foundation = Logging.layer.pipe(
  Layer.provideMerge(Redactor.layer),
  Layer.provideMerge(RuntimeConfig.layer),
  Layer.provideMerge(NodeCrypto.layerMac),
  Layer.provideMerge(NodeCrypto.layerSecureRandom)
)

/**
 * Warns of variable names that look misspelt: they do not prevent the start, but explain why a setting has no effect.
 */
const logHints = Effect.flatMap(RuntimeConfig, ({ hints }) =>
  Effect.forEach(hints, (hint) => Effect.logWarning(hint), { discard: true })
)

/** Refuses to start with a deploy key, because the gateway and its agents could get it and then do anything. */
const withoutDeployKey = Effect.gen(function* () {
  for (const name of ["CONVEX_DEPLOY_KEY", "CONVEX_DEPLOY_KEY_FILE"]) {
    const given = yield* Effect.orElseSucceed(Config.option(Config.String(name)), Option.none)
    if (Option.isSome(given) && given.value !== "") {
      return yield* endWith(
        78,
        `${name} is set: a runtime needs SERVICE_TOKEN only. Unset it, and keep the key for people.`
      )
    }
  }
})

/** Runs the runtime until a signal, a restart or an upgrade ends it. */
export const startRuntime = withoutDeployKey.pipe(
  Effect.andThen(logHints),
  Effect.andThen(Effect.provide(run, programs)),
  Effect.tapError((failure) => (failure._tag === "ListenFailed" ? Effect.logError(failure.detail) : Effect.void)),
  logDefects,
  Effect.provide(foundation),
  Effect.catchTags({
    ListenFailed: () => Effect.fail(new EndedWith({ exitCode: 78 }))
  }),
  Effect.flatMap((end) => {
    const exitCode = exitCodeOf(end)
    return exitCode === 0 ? Effect.void : Effect.fail(new EndedWith({ exitCode }))
  })
)
