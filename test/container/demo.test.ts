/** The demonstration of docker-compose.runtime.yml: the runtime's image beside a stage, each in a container. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { freePort } from "../../local/launcher.ts"
import { eventually } from "../process/setup.ts"
import { docker, inspect } from "./docker.ts"

const project = `mission-control-test-${process.pid}`

describe("the demonstration in containers", () => {
  it.live("plays the scenario without an account, shows its page, survives a kill and ends in order", () =>
    Effect.gen(function* () {
      const port = String(yield* freePort)
      const env = { RUNTIME_TAG: "test", HEALTH_PORT: port }
      const compose = (...args: ReadonlyArray<string>) => docker(["compose", "--project-name", project, ...args], env)
      yield* Effect.addFinalizer(() => compose("--profile", "demo", "down", "--volumes", "--timeout", "1"))
      const up = yield* compose("up", "--no-build", "--detach", "--wait", "demo-runtime")
      assert.strictEqual(up.code, 0, up.err)
      const logs = yield* eventually(compose("logs", "demo"), ({ out }) => out.includes("The scenario has ended"))
      assert.match(logs.out, /QA: /)

      const page = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/`))
      assert.strictEqual(page.status, 200)
      assert.include(yield* Effect.promise(() => page.text()), "<title>")

      const { out } = yield* compose("ps", "--all", "--quiet", "demo-runtime")
      const runtime = out.trim()
      // From outside, as the kernel does it: Docker takes its own kill for a wish, and would not start it again.
      process.kill(Number(yield* inspect(runtime, ".State.Pid")), "SIGKILL")
      yield* eventually(inspect(runtime, ".RestartCount"), (count) => Number(count) > 0)
      yield* eventually(inspect(runtime, ".State.Health.Status"), (status) => status === "healthy")

      const stopped = yield* compose("stop", "demo-runtime")
      assert.strictEqual(stopped.code, 0, stopped.err)
      assert.strictEqual(yield* inspect(runtime, ".State.ExitCode"), "0")
    })
  )
})

describe("docker-compose.runtime.yml", () => {
  it.live("keeps the gateway inside, with secrets as files, and gives the runtime time to end", () =>
    Effect.gen(function* () {
      const { code, err, out } = yield* docker(["compose", "--profile", "*", "config", "--format", "json"])
      assert.strictEqual(code, 0, err)
      const { networks, services } = JSON.parse(out)
      for (const service of Object.values<any>(services)) {
        assert.strictEqual(service.stop_grace_period, "50s")
        assert.strictEqual(service.restart, "unless-stopped")
        assert.isTrue(service.read_only)
        assert.deepStrictEqual(service.cap_drop, ["ALL"])
      }
      const { openclaw, runtime } = services
      assert.notProperty(openclaw, "ports")
      assert.deepStrictEqual(
        runtime.secrets.map(({ source }: { source: string }) => source),
        ["service_token", "gateway_token"]
      )
      assert.strictEqual(runtime.depends_on.openclaw.required, false, "a gateway elsewhere")
      assert.notProperty(openclaw, "depends_on", "it stops after the runtime")
      assert.strictEqual(services["demo-runtime"].depends_on.demo.condition, "service_healthy")
      assert.strictEqual(new URL(runtime.environment.TASK_STATUS_BASE_URL).hostname, runtime.hostname)
      assert.include(runtime.environment.AGENT_HTTP_ALLOW.split(","), networks.agents.ipam.config[0].subnet)
      assert.isFalse(Object.keys(runtime.environment).some((name) => name.endsWith("TOKEN")))
    })
  )
})
