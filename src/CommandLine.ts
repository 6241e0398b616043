/** The commands, and the only place that builds the whole Layer and runs it. */
// Imported one by one: the package's index also loads database clients.
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Config, Deferred, Effect, Exit, Layer, Option, Queue, References, Runtime, Stream } from "effect"
import { Command } from "effect/cli"
import { FetchHttpClient, HttpRouter } from "effect/http"
import packageJson from "../package.json" with { type: "json" }
import { config } from "./commands/ConfigPrint.ts"
import { deadLetters } from "./commands/DeadLetters.ts"
import { deliverWith } from "./commands/Deliver.ts"
import { doctorWith } from "./commands/Doctor.ts"
import { logDefects, EndedWith, endWith, explained } from "./commands/EndedWith.ts"
import { fleet } from "./commands/fleet/Fleet.ts"
import { healthcheck } from "./commands/Healthcheck.ts"
import { helpLayer } from "./commands/HelpLayer.ts"
import { pause } from "./commands/Pause.ts"
import { accounts } from "./commands/people/Accounts.ts"
import { agents } from "./commands/people/Agents.ts"
import { approvals } from "./commands/people/Approvals.ts"
import { inbox } from "./commands/people/Inbox.ts"
import { policies } from "./commands/people/Policies.ts"
import { post } from "./commands/people/Post.ts"
import { tasks } from "./commands/people/Tasks.ts"
import { thread } from "./commands/people/Thread.ts"
import { tokens } from "./commands/people/Tokens.ts"
import { webhooks } from "./commands/people/Webhooks.ts"
import { profile } from "./commands/Profile.ts"
import { resume } from "./commands/Resume.ts"
import { runs } from "./commands/Runs.ts"
import { sessions } from "./commands/Sessions.ts"
import { status } from "./commands/Status.ts"
import { token } from "./commands/Token.ts"
import { usage } from "./commands/Usage.ts"
import { makeRedactor } from "./domain/observability/Redaction.ts"
import { ConfigInvalid, RuntimeConfig } from "./layers/Config.ts"
import { ConvexClient } from "./layers/ConvexClient.ts"
import { FleetClient } from "./layers/fleet/FleetClient.ts"
import { FleetConfig } from "./layers/fleet/FleetConfig.ts"
import { Gateway } from "./layers/Gateway.ts"
import { GatewayEvents } from "./layers/gateway/GatewayEvents.ts"
import { GatewayProcess } from "./layers/gateway/GatewayProcess.ts"
import { GatewayToken } from "./layers/gateway/GatewayToken.ts"
import { ModelPrices } from "./layers/gateway/ModelPrices.ts"
import * as HttpServer from "./layers/host/HttpServer.ts"
import { Systemd } from "./layers/host/Systemd.ts"
import { Upgrader } from "./layers/host/Upgrader.ts"
import { Metrics } from "./layers/Metrics.ts"
import { PersonClient } from "./layers/people/PersonClient.ts"
import { namesPerson, PersonConfig } from "./layers/people/PersonConfig.ts"
import { Redactor } from "./layers/secrets/Redactor.ts"
import { ReloadSignal } from "./layers/secrets/Secrets.ts"
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
import { AccountWork } from "./services/AccountWork.ts"
import { AgentTools } from "./services/AgentTools.ts"
import { ControlPlane } from "./services/ControlPlane.ts"
import { Fleet } from "./services/Fleet.ts"
import { GatewayGuard } from "./services/GatewayGuard.ts"
import { Leases } from "./services/Leases.ts"
import { Lifecycle, StopSignal } from "./services/Lifecycle.ts"
import { LiveRuns } from "./services/LiveRuns.ts"
import { Operator } from "./services/Operator.ts"
import { People } from "./services/People.ts"
import { Permits } from "./services/Permits.ts"
import { Roster } from "./services/Roster.ts"
import { RuntimeHealth } from "./services/RuntimeHealth.ts"
import { Supervisor } from "./services/Supervisor.ts"
import { Turns } from "./services/Turns.ts"
import { listenToHangups, listenToSignals } from "./Signals.ts"

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

const foundation = Logging.layer.pipe(
  Layer.provideMerge(Redactor.layer),
  Layer.provideMerge(RuntimeConfig.layer),
  Layer.provideMerge(NodeCrypto.layerMac),
  Layer.provideMerge(NodeCrypto.layerSecureRandom)
)

/** The services of short commands: no server and no loop. A socket opens only for a subscription. */
const commandServices = Layer.empty.pipe(
  Layer.provideMerge(AgentTools.layer),
  Layer.provideMerge(Layer.mergeAll(AccountWork.layerForOperator, ControlPlane.layer, Operator.layer)),
  Layer.provideMerge(ConvexClient.layer),
  Layer.provideMerge(Metrics.layer),
  Layer.provideMerge(foundation)
)

/** The services of commands for people, which need the person's identity instead of the account's token. */
const asPerson = People.layer.pipe(
  Layer.provideMerge(PersonClient.layer),
  Layer.provideMerge(Redactor.layerForPeople),
  Layer.provideMerge(PersonConfig.layer)
)

/** The services of the commands for a fleet, which need the deploy key. */
const asFleetOperator = Fleet.layer.pipe(
  Layer.provideMerge(FleetClient.layer),
  Layer.provideMerge(Redactor.layerForFleet),
  Layer.provideMerge(FleetConfig.layer)
)

/** A missing token may mean that a person has not said who they are. */
const orAsPerson = ({ hints = [], problems }: ConfigInvalid): ConfigInvalid => {
  const or = "; as a person set CONVEX_DEPLOY_KEY and MISSION_CONTROL_IDENTITY, or MISSION_CONTROL_TOKEN"
  const isTokenMissing = (problem: string) => problem.startsWith("SERVICE_TOKEN is missing")
  return new ConfigInvalid({ hints, problems: problems.map((each) => (isTokenMissing(each) ? each + or : each)) })
}

/** The services of commands that a person and an operator have in common: the person's if the environment names one. */
const asEither = Layer.unwrap(
  Effect.map(
    namesPerson,
    (isPerson): Layer.Layer<AccountWork | Redactor, ConfigInvalid, Layer.Services<typeof commandServices>> =>
      isPerson
        ? AccountWork.layerForPerson.pipe(Layer.provideMerge(asPerson))
        : Layer.catchTag(commandServices, "ConfigInvalid", (failure) =>
            Layer.effectContext(Effect.fail(orAsPerson(failure)))
          )
  )
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

const startProgram = withoutDeployKey.pipe(
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

const start = Command.make("start", {}, () => startProgram).pipe(
  Command.withDescription("Run the runtime until a signal, a restart or an upgrade ends it"),
  Command.withExamples([
    { command: "mission-control-runtime start", description: "Run with the variables of the environment" }
  ])
)

const commandLine = Command.make("mission-control-runtime").pipe(
  Command.withDescription("Delivers an account's notifications to its agents, each with exactly one visible result"),
  Command.withSubcommands([
    start,
    doctorWith(
      Layer.mergeAll(Gateway.layer, FetchHttpClient.layer).pipe(
        Layer.provideMerge(GatewayToken.layerOfRunning),
        Layer.provideMerge(commandServices)
      )
    ),
    status.pipe(Command.provide(FetchHttpClient.layer)),
    healthcheck.pipe(Command.provide(FetchHttpClient.layer)),
    pause.pipe(Command.provide(commandServices)),
    resume.pipe(Command.provide(commandServices)),
    deliverWith(commandServices),
    profile.pipe(Command.provide(Layer.merge(commandServices, FetchHttpClient.layer))),
    sessions.pipe(Command.provide(commandServices)),
    token.pipe(Command.provide(commandServices)),
    config,
    {
      group: "For operators and people (the runtime's variables, or a person's)",
      commands: [
        runs.pipe(Command.provide(asEither)),
        usage.pipe(Command.provide(asEither)),
        deadLetters.pipe(Command.provide(asEither))
      ]
    },
    {
      group: "For people (CONVEX_URL, and CONVEX_DEPLOY_KEY with MISSION_CONTROL_IDENTITY or MISSION_CONTROL_TOKEN)",
      commands: [
        accounts.pipe(Command.provide(asPerson)),
        agents.pipe(Command.provide(asPerson)),
        tasks.pipe(Command.provide(asPerson)),
        post.pipe(Command.provide(asPerson)),
        thread.pipe(Command.provide(asPerson)),
        inbox.pipe(Command.provide(asPerson)),
        approvals.pipe(Command.provide(asPerson)),
        policies.pipe(Command.provide(asPerson)),
        tokens.pipe(Command.provide(asPerson)),
        webhooks.pipe(Command.provide(asPerson))
      ]
    },
    {
      group: "For operators of many accounts (CONVEX_URL and CONVEX_DEPLOY_KEY)",
      commands: [fleet.pipe(Command.provide(asFleetOperator))]
    }
  ])
)

/** SIGHUP: the host has changed secrets. */
const hangups = Stream.callback<void>((queue) =>
  Effect.sync(() => listenToHangups(() => void Queue.offerUnsafe(queue, undefined)))
)

/** The exit code: the command's own, 0 after an interruption by signals, 64 for wrong arguments, 70 for a bug. */
const codeOf = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return 0
  const failure = Cause.squash(exit.cause)
  if (failure instanceof EndedWith) return failure.exitCode
  const isUsage = typeof failure === "object" && failure !== null && "_tag" in failure && failure._tag === "ShowHelp"
  return isUsage ? 64 : 70
}

/** Runs the command line with these arguments as the process's main program. */
export const main = (args: ReadonlyArray<string>): void => {
  const stopRequest = Deferred.makeUnsafe<void>()
  const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
    // The first signal starts the drain, the second aborts it, further ones have no effect.
    listenToSignals((count) => {
      if (count === 1) Deferred.doneUnsafe(stopRequest, Exit.void)
      if (count === 2) fiber.interruptUnsafe(fiber.id)
    })
    let isBroken = false
    // After an exception outside any fiber the process stops in order and releases its leases.
    process.on("uncaughtException", (error) => {
      process.stderr.write(`${makeRedactor([])(`uncaught: ${error.stack ?? String(error)}`)}\n`)
      if (isBroken) process.exit(70)
      isBroken = true
      fiber.interruptUnsafe(fiber.id)
    })
    fiber.addObserver((exit) => teardown(exit, (code) => process.exit(isBroken ? 70 : code)))
  })
  const program = explained(Command.runWith(commandLine, { version: packageJson.version })(args)).pipe(
    Effect.provideService(StopSignal, Deferred.await(stopRequest)),
    Effect.provideService(ReloadSignal, hangups),
    // Telemetry creates the exported spans; those of Effect.fn would have no reader.
    Effect.provideService(References.TracerEnabled, false),
    Effect.tapCause((cause) => {
      const isExpected = Cause.hasInterruptsOnly(cause) || codeOf(Exit.failCause(cause)) !== 70
      const isReported = Cause.squash(cause) instanceof EndedWith
      return isExpected || isReported
        ? Effect.void
        : Effect.logError("the runtime ended with an unexpected failure", cause)
    }),
    Effect.provide(Layer.merge(helpLayer, NodeServices.layer))
  )
  runMain(program, { disableErrorReporting: true, teardown: (exit, onExit) => onExit(codeOf(exit)) })
}
