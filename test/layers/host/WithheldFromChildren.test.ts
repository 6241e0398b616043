import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Option, Redacted, Schedule } from "effect"
import { allVariables } from "../../../src/domain/settings/Variables.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { Gateway, unseenGateway } from "../../../src/layers/Gateway.ts"
import { checkGatewayConfig } from "../../../src/layers/gateway/GatewayConfigCheck.ts"
import { GatewayProcess } from "../../../src/layers/gateway/GatewayProcess.ts"
import { Systemd } from "../../../src/layers/host/Systemd.ts"
import { Upgrader } from "../../../src/layers/host/Upgrader.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "mission-control-children-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Sets variables of this process until the test ends. */
const withVariables = (values: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = Object.fromEntries(Object.keys(values).map((name) => [name, process.env[name]]))
      Object.assign(process.env, values)
      return before
    }),
    (before) =>
      Effect.sync(() => {
        for (const [name, value] of Object.entries(before)) {
          if (value === undefined) delete process.env[name]
          else process.env[name] = value
        }
      })
  )

const secretNames = allVariables.flatMap(([name, { kind }]) => (kind === "secret" ? [name, `${name}_FILE`] : []))
const gatewayToken = "the-token-of-the-gateway"
const change = { id: "c1", kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: null, requestedAt: 5 } as const

/** Starts whatever the runtime starts, as a program that writes its environment; answers those by the first argument. */
const startAll = Effect.gen(function* () {
  const at = yield* folder
  const command = join(at, "systemd-notify")
  // Renamed when it is whole, so that what is there can be read.
  writeFileSync(command, '#!/bin/sh\nenv > "$0.$1.draft"\nmv "$0.$1.draft" "$0.$1"\n', { mode: 0o755 })
  yield* withVariables({
    PATH: `${at}:${process.env["PATH"] ?? ""}`,
    NOTIFY_SOCKET: join(at, "socket"),
    ...Object.fromEntries(secretNames.map((name) => [name, `hidden-${name}`]))
  })
  const services = yield* Layer.build(
    Layer.mergeAll(GatewayProcess.layer, Systemd.layer, Upgrader.layer).pipe(
      Layer.provide(Redactor.layer),
      Layer.provide(
        Layer.mock(Gateway, {
          ready: Effect.succeed(false),
          state: Effect.succeed({
            ...unseenGateway,
            state: "unreachable" as const
          })
        })
      ),
      Layer.provideMerge(
        RuntimeConfig.layerTest({
          gatewayUrl: Option.none(),
          gatewayToken: Option.some(Redacted.make(gatewayToken)),
          gatewayPath: command,
          gatewayPort: 1,
          stateDir: at,
          upgradeCommand: Option.some([command, "upgrade"])
        })
      ),
      Layer.provideMerge(NodeServices.layer)
    )
  )
  const environments = new Map<string, Record<string, string>>()
  yield* Effect.gen(function* () {
    const gateway = yield* GatewayProcess
    const systemd = yield* Systemd
    const upgrader = yield* Upgrader
    yield* checkGatewayConfig
    yield* upgrader.handOver(change, { bootId: "b1", runtime: "1.0.0", openclaw: null })
    yield* systemd.notify(["READY=1"])
    yield* Effect.forkScoped(gateway.supervise)
    for (const argument of ["config", "upgrade", "READY=1", "--version", "gateway"]) {
      const path = `${command}.${argument}`
      yield* Effect.sync(() => existsSync(path)).pipe(
        Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: (isThere) => isThere })
      )
      const lines = readFileSync(path, "utf8").split("\n")
      environments.set(
        argument,
        Object.fromEntries(lines.filter((line) => line.includes("=")).map((line) => line.split(/=(.*)/s, 2)))
      )
    }
  }).pipe(Effect.provideContext(services))
  return environments
}).pipe(Effect.provide(Logger.layer([])))

describe("a program that the runtime starts", () => {
  it.live("has no secret in its environment and no path of one; the gateway has only its own token", () =>
    Effect.gen(function* () {
      const environments = yield* startAll
      assert.isAbove(secretNames.length, 8)
      for (const [started, environment] of environments) {
        assert.property(environment, "PATH", started)
        const found = secretNames.filter((name) => name in environment)
        assert.deepStrictEqual(found, started === "gateway" ? ["OPENCLAW_GATEWAY_TOKEN"] : [], started)
        assert.notInclude(JSON.stringify(environment), "hidden-", started)
      }
      assert.strictEqual(environments.get("gateway")?.["OPENCLAW_GATEWAY_TOKEN"], gatewayToken)
      // The way to systemd is for the one program that tells it something.
      const tellers = [...environments].filter(([, environment]) => "NOTIFY_SOCKET" in environment)
      assert.deepStrictEqual(
        tellers.map(([started]) => started),
        ["READY=1"]
      )
    }).pipe(Effect.scoped)
  )
})
