/** The processes of a soak; each can be killed and is started again in its place. */
import { join } from "node:path"
import { Effect } from "effect"
import { makeAccount, runtimeEnv } from "../../local/account.ts"
import type { NewAgent } from "../../local/account.ts"
import { freePort, launchGateway, launchPlane, launchRuntime } from "../../local/launcher.ts"
import { personAt } from "../../local/person.ts"
import { temporaryFolder } from "../../local/temporaryFolder.ts"
import { restartable } from "../../test/process/restartable.ts"
import { serveSoakModel } from "./model.ts"

const WORKERS = 6
const GUESTS = 60

/** Workers have a heartbeat once a minute; the lead follows up, one worker reviews. */
const team: ReadonlyArray<NewAgent> = [
  { slug: "lead", name: "Lead", role: "plans", isOrchestrator: true, heartbeat: 1 },
  ...Array.from({ length: WORKERS }, (_, index) => ({
    slug: `agent-${index}`,
    name: `Agent ${index}`,
    role: "answers",
    heartbeat: 1,
    flags: { canCreateTasks: true, canReviewTasks: index === 0 }
  }))
]

/** The slugs of the agents that get requests, and of those that join and leave. */
export const workers: ReadonlyArray<string> = Array.from({ length: WORKERS }, (_, index) => `agent-${index}`)
export const guests: ReadonlyArray<string> = Array.from({ length: GUESTS }, (_, index) => `guest-${index}`)

/** Seconds of a lease: short, so that the runs of a killed runtime are soon rescued. */
export const LEASE_SECONDS = 10

/**
 * Starts everything: plane, gateway and model, two runtimes that keep running, and one that is killed from time to
 * time.
 */
export const makeWorld = (random: () => number) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder("mission-control-soak-")
    const [planePort, gatewayPort] = [yield* freePort, yield* freePort]
    const adminKey = "local|soak"
    const planeUrl = `http://127.0.0.1:${planePort}`
    const gatewayUrl = `http://127.0.0.1:${gatewayPort}`
    const data = join(folder, "plane.db")
    const model = yield* serveSoakModel(workers, random)
    const plane = yield* restartable(
      launchPlane({ args: ["--port", String(planePort), "--data", data, "--admin-key", adminKey] })
    )
    const gateway = yield* restartable(
      launchGateway({
        args: Object.entries({
          port: gatewayPort,
          "model-url": model.url,
          "time-scale": 0.001,
          "max-concurrent": 64,
          agents: [...team.map(({ slug }) => slug), ...guests].join(",")
        }).flatMap(([name, value]) => [`--${name}`, String(value)])
      })
    )
    const person = personAt(planeUrl, adminKey)
    const account = yield* Effect.promise(() => makeAccount(person, team))
    yield* Effect.promise(() =>
      person.mutation("app/accounts:configure", { accountId: account.accountId, sessionScope: "task" })
    )
    const runtime = (id: string, env: Record<string, string>) =>
      launchRuntime({
        name: id,
        env: runtimeEnv(
          account,
          planeUrl,
          { url: gatewayUrl },
          {
            RUNTIME_ID: id,
            LOG_LEVEL: "warn",
            DELIVERY_LEASE_MS: String(LEASE_SECONDS * 1_000),
            DELIVERY_INTERVAL: "5000",
            DELIVERY_MAX_ATTEMPTS: "40",
            DELIVERY_BACKOFF_BASE_MS: "1000",
            DELIVERY_BACKOFF_MAX_MS: "5000",
            OPENCLAW_REQUEST_TIMEOUT_MS: "8000",
            TURN_TIMEOUT_MS: "20000",
            HEALTH_CHECK_INTERVAL: "10000",
            ...env
          }
        )
      })
    const probed = Effect.fnUntraced(function* (id: string, env: Record<string, string>) {
      const socket = join(folder, `${id}.sock`)
      const preload = new URL("probe.ts", import.meta.url).href
      const launched = yield* runtime(id, { ...env, NODE_OPTIONS: `--import ${preload}`, SOAK_PROBE: socket })
      return { id, socket, launched }
    })
    return {
      plane,
      gateway,
      model,
      person,
      account,
      data,
      adminKey,
      planeUrl,
      gatewayUrl,
      // The watched runtimes cover both ways of calling tools.
      watched: [yield* probed("tools", {}), yield* probed("endpoints", { OPENCLAW_CLIENT_TOOLS_ENABLED: "false" })],
      mortal: yield* restartable(runtime("mortal", {}))
    }
  })

export type World = Effect.Success<ReturnType<typeof makeWorld>>
