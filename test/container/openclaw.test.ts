/** The real gateway of docker-compose.runtime.yml beside the runtime, each in a container, with a scripted model. */
import { randomBytes } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { startModel } from "../../local/model/server.ts"
import { eventually, makeSetup } from "../process/setup.ts"
import { accountFolder, openTo } from "./account.ts"
import { ask, docker, inspect } from "./docker.ts"

const project = `mission-control-openclaw-${process.pid}`
const BRIDGE = "172.30.94.1"

describe("the gateway beside the runtime", () => {
  it.live("is configured by it, reached by it, and runs a turn for it", () =>
    Effect.gen(function* () {
      const house = yield* makeSetup({ team: [{ slug: "engineer", name: "Engineer", role: "builds and fixes" }] })
      const model = yield* Effect.acquireRelease(
        Effect.promise(() => startModel()),
        (running) => Effect.promise(() => running.stop())
      )
      const files = yield* accountFolder({
        "service-token": house.account.serviceToken,
        "gateway-token": randomBytes(16).toString("hex")
      })
      const env: Record<string, string> = {
        RUNTIME_TAG: "test",
        HEALTH_PORT: "0",
        FILES: files,
        ACCOUNT_ID: house.account.accountId,
        COMPOSE_PROFILES: "openclaw"
      }
      const compose = (...args: ReadonlyArray<string>) => docker(["compose", "--project-name", project, ...args], env)
      yield* Effect.addFinalizer(() => compose("down", "--volumes", "--timeout", "5"))
      const made = yield* compose("create", "--no-build")
      assert.strictEqual(made.code, 0, made.err)
      // The network is there now, and with it the address by which it reaches this machine.
      env["CONVEX_URL"] = yield* openTo(house.plane.url, BRIDGE)
      const modelUrl = yield* openTo(model.url, BRIDGE)
      const settings = {
        gateway: { http: { endpoints: { responses: { enabled: true } } }, controlUi: { enabled: false } },
        models: {
          mode: "replace",
          providers: {
            scripted: {
              baseUrl: `${modelUrl}/v1`,
              apiKey: "no-key",
              api: "openai-completions",
              request: { allowPrivateNetwork: true },
              models: [
                {
                  id: "scripted-1",
                  name: "Scripted",
                  reasoning: false,
                  input: ["text"],
                  cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
                  contextWindow: 128_000,
                  maxTokens: 4_096
                }
              ]
            }
          }
        },
        agents: { defaults: { model: { primary: "scripted/scripted-1" }, utilityModel: "", skipBootstrap: true } },
        plugins: { enabled: false },
        browser: { enabled: false },
        cron: { enabled: false },
        update: { checkOnStart: false, auto: { enabled: false } },
        discovery: { mdns: { mode: "off" } },
        telemetry: { enabled: false },
        memory: { search: { enabled: false } }
      }
      // As docs/operations.md has it.
      const write = ["run", "--rm", "--no-deps", "-T", "--entrypoint", "/bin/sh", "runtime", "-c"]
      const wrote = yield* docker(
        ["compose", "--project-name", project, ...write, "umask 077; cat > /openclaw/openclaw.json"],
        env,
        JSON.stringify(settings)
      )
      assert.strictEqual(wrote.code, 0, wrote.err)
      const up = yield* compose("up", "--no-build", "--detach", "--wait")
      const logs = yield* compose("logs")
      assert.strictEqual(up.code, 0, up.err + logs.out)

      const gateway = (yield* compose("ps", "--quiet", "openclaw")).out.trim()
      assert.strictEqual(yield* inspect(gateway, ".RestartCount"), "0", "it waits for what the runtime writes")

      const task = yield* house.newTask()
      yield* house.post(task, "@engineer are you there?")
      yield* eventually(house.messages(task), (messages) => messages.some(({ author }) => author.type === "agent"))
      const runtime = (yield* compose("ps", "--quiet", "runtime")).out.trim()
      const reached = yield* ask(
        "exec",
        runtime,
        "node",
        "-e",
        "fetch('http://127.0.0.1:3000/health').then((r) => r.json()).then((h) => console.log(h.versions.openclaw))"
      )
      assert.strictEqual(reached, "2026.9.6")

      // The way back, which an agent's tools take over HTTP: the address is allowed, the name is known, a capability is missing.
      const inGateway = (...command: ReadonlyArray<string>) => compose("exec", "-T", "openclaw", ...command)
      const curl = ["curl", "--silent", "--max-time", "30", "--write-out", "\n%{http_code}"]
      const body = ["--header", "content-type: application/json", "--data", JSON.stringify({ taskId: task })]
      const called = yield* inGateway(...curl, ...body, "http://runtime:3000/agent/task-load")
      assert.strictEqual(called.out.trim().split("\n").at(-1), "401", called.out + called.err)
      // Agents keep their code apart by worktrees, for which the gateway has to have git.
      const worktrees = yield* inGateway("sh", "/openclaw/workspaces/engineer/worktree.sh", "list")
      assert.notInclude(worktrees.err, "git is not installed")
      assert.match((yield* inGateway("git", "--version")).out, /^git version/)

      // Made anew it is the same runtime: one row, under its own identity.
      const again = yield* compose("up", "--no-build", "--detach", "--wait", "--no-deps", "--force-recreate", "runtime")
      assert.strictEqual(again.code, 0, again.err)
      const other = (yield* compose("ps", "--quiet", "runtime")).out.trim()
      assert.notStrictEqual(other, runtime)
      yield* eventually(house.runtimeStatus, (status) => status === "online")
      const runtimes: ReadonlyArray<{ readonly runtimeId?: string }> = yield* Effect.promise(() =>
        house.person.query("app/runtimes:list", { accountId: house.account.accountId })
      )
      assert.lengthOf(runtimes, 1)
      const stopped = yield* compose("stop")
      assert.strictEqual(stopped.code, 0, stopped.err)
      assert.strictEqual(yield* inspect(other, ".State.ExitCode"), "0")
      const [runtimeEnded, gatewayEnded] = [
        Date.parse(yield* inspect(other, ".State.FinishedAt")),
        Date.parse(yield* inspect(gateway, ".State.FinishedAt"))
      ]
      assert.isBelow(runtimeEnded, gatewayEnded, "the runtime ends its turns before the gateway stops")
    })
  )
})
