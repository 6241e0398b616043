/** A plane, an account, a scripted model and a folder in which the runtime starts its own real gateway. */
import { Effect } from "effect"
import type { Scope } from "effect"
import { makeAccount, runtimeEnv } from "../../local/account.ts"
import type { Account, NewAgent } from "../../local/account.ts"
import { launchPlane, launchRuntime } from "../../local/launcher.ts"
import type { Launched, LaunchFailed, RuntimeOptions } from "../../local/launcher.ts"
import type { Script } from "../../local/model/script.ts"
import type { ModelRequest } from "../../local/model/scriptedModel.ts"
import { startModel } from "../../local/model/server.ts"
import { personAt } from "../../local/person.ts"
import type { Person } from "../../local/person.ts"
import { eventually } from "../process/setup.ts"
import type { Message, NotificationRow } from "../process/setup.ts"
import { makeGatewayHome } from "../process/supervisedGateway.ts"
import type { GatewayHome } from "../process/supervisedGateway.ts"
import { gatewayConfig } from "./gatewayConfig.ts"
import { setting } from "./sharedGateway.ts"

/** The command line that starts the installed release. */
export const realCommand = (): Record<string, string> => ({
  OPENCLAW_GATEWAY_PATH: process.execPath,
  OPENCLAW_GATEWAY_ARGS: `${setting("OPENCLAW_TEST_COMMAND")} gateway run`
})

export interface SupervisedSetup {
  readonly account: Account
  readonly home: GatewayHome
  readonly planeUrl: string
  readonly person: Person
  readonly taskId: string
  readonly post: (content: string) => Effect.Effect<void>
  readonly replies: (agent: string) => Effect.Effect<ReadonlyArray<string>>
  readonly answer: (agent: string) => Effect.Effect<string>
  readonly mentions: Effect.Effect<ReadonlyArray<NotificationRow>>
  readonly script: (script: Script) => Effect.Effect<void>
  readonly modelRequests: Effect.Effect<ReadonlyArray<ModelRequest>>
  readonly startRuntime: (
    env?: Record<string, string>,
    options?: Omit<RuntimeOptions, "env">
  ) => Effect.Effect<Launched, LaunchFailed, Scope.Scope>
  readonly health: (runtime: Launched) => Effect.Effect<Record<string, any>>
}

/** `agents` are in the configuration from the start; profile sync adds the account's. */
export const makeSupervisedSetup = (options: {
  readonly team: ReadonlyArray<NewAgent>
  readonly agents: ReadonlyArray<string>
  readonly builtIns?: ReadonlyArray<string>
}): Effect.Effect<SupervisedSetup, LaunchFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const plane = yield* launchPlane({})
    const model = yield* Effect.acquireRelease(
      Effect.promise(() => startModel()),
      (model) => Effect.promise(() => model.stop())
    )
    const home = yield* makeGatewayHome({})
    const settings: any = gatewayConfig({
      version: setting("OPENCLAW_TEST_VERSION"),
      port: home.port,
      token: "",
      modelUrl: model.url,
      root: home.folder,
      agents: options.agents,
      ...(options.builtIns === undefined ? {} : { builtIns: options.builtIns })
    })
    // Port and token come from the runtime, in the gateway's environment.
    delete settings.gateway.port
    settings.gateway.auth = { mode: "token" }
    home.writeConfig(settings)
    const person = personAt(plane.url, plane.adminKey)
    const account = yield* Effect.promise(() => makeAccount(person, options.team))
    const { accountId } = account
    const { taskId } = yield* Effect.promise(() =>
      person.mutation("app/tasks:create", { accountId, title: "Fix the login button" })
    )
    const fetched = (url: string, body?: unknown): Effect.Effect<any> =>
      Effect.promise(async () => {
        const post = { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } }
        const response = await fetch(url, body === undefined ? {} : post)
        return response.json()
      })
    const messages: Effect.Effect<ReadonlyArray<Message>> = Effect.promise(() =>
      person.query("app/messages:list", { accountId, taskId })
    )
    const replies = (agent: string) =>
      Effect.map(messages, (thread) =>
        thread.filter(({ author }) => author.name === agent).map(({ content }) => content)
      )
    return {
      account,
      home,
      planeUrl: plane.url,
      person,
      taskId,
      post: (content) =>
        Effect.asVoid(Effect.promise(() => person.mutation("app/messages:post", { accountId, taskId, content }))),
      replies,
      answer: (agent) =>
        Effect.map(
          eventually(replies(agent), (all) => all.length > 0),
          ([first]) => first ?? ""
        ),
      mentions: Effect.promise(() => person.query("app/notifications:list", { accountId, limit: 500 })).pipe(
        Effect.map((rows: ReadonlyArray<NotificationRow>) =>
          rows.filter(({ recipientType, type }) => recipientType === "agent" && type === "mention")
        )
      ),
      script: (script) => Effect.asVoid(fetched(`${model.url}/__local/script`, script)),
      modelRequests: Effect.map(fetched(`${model.url}/__local/requests`), ({ requests }) => requests),
      startRuntime: (env = {}, more = {}) =>
        launchRuntime({
          readyTimeout: 150_000,
          ...more,
          env: runtimeEnv(
            account,
            plane.url,
            { url: "" },
            {
              ...home.env,
              ...realCommand(),
              RUNTIME_ID: "test",
              // The release logs nothing if it detects this test runner.
              VITEST: "",
              HOME: home.folder,
              OPENCLAW_OFFLINE: "1",
              OPENCLAW_NO_AUTO_UPDATE: "1",
              OPENCLAW_DISABLE_BONJOUR: "1",
              DELIVERY_BACKOFF_BASE_MS: "1000",
              DELIVERY_BACKOFF_MAX_MS: "2000",
              ...env
            }
          )
        }),
      health: (runtime) => fetched(`${runtime.url}/health`)
    }
  })
