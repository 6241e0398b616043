/** The commands. */
import { Effect, Layer } from "effect"
import { Command } from "effect/cli"
import { FetchHttpClient } from "effect/http"
import packageJson from "../package.json" with { type: "json" }
import { config } from "./commands/ConfigPrint.ts"
import { deadLetters } from "./commands/DeadLetters.ts"
import { deliverWith } from "./commands/Deliver.ts"
import { doctorWith } from "./commands/Doctor.ts"
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
import { ConfigInvalid } from "./layers/Config.ts"
import { ConvexClient } from "./layers/ConvexClient.ts"
import { FleetClient } from "./layers/fleet/FleetClient.ts"
import { FleetConfig } from "./layers/fleet/FleetConfig.ts"
import { Gateway } from "./layers/Gateway.ts"
import { GatewayToken } from "./layers/gateway/GatewayToken.ts"
import { Metrics } from "./layers/Metrics.ts"
import { PersonClient } from "./layers/people/PersonClient.ts"
import { namesPerson, PersonConfig } from "./layers/people/PersonConfig.ts"
import { Redactor } from "./layers/secrets/Redactor.ts"
import { runMain } from "./MainProgram.ts"
import { AccountWork } from "./services/AccountWork.ts"
import { AgentTools } from "./services/AgentTools.ts"
import { ControlPlane } from "./services/ControlPlane.ts"
import { Fleet } from "./services/Fleet.ts"
import { Operator } from "./services/Operator.ts"
import { People } from "./services/People.ts"
import { foundation, startRuntime } from "./Start.ts"

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

const start = Command.make("start", {}, () => startRuntime).pipe(
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

/** Runs the command line with these arguments as the process's main program. */
export const main = (args: ReadonlyArray<string>): void =>
  runMain(Effect.provide(Command.runWith(commandLine, { version: packageJson.version })(args), helpLayer))
