import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Option, Queue, Redacted, SubscriptionRef } from "effect"
import type { PulseAnswer } from "../../../src/domain/controlPlane/RuntimeCommands.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { ConvexClient } from "../../../src/layers/ConvexClient.ts"
import { Gateway, unseenGateway } from "../../../src/layers/Gateway.ts"
import { GatewayProcess } from "../../../src/layers/gateway/GatewayProcess.ts"
import { Systemd } from "../../../src/layers/host/Systemd.ts"
import { Upgrader } from "../../../src/layers/host/Upgrader.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { AgentSync } from "../../../src/programs/agents/AgentSync.ts"
import { DeliveryLoop } from "../../../src/programs/delivery/DeliveryLoop.ts"
import { Commands } from "../../../src/programs/supervision/Commands.ts"
import { GatewayWatch } from "../../../src/programs/supervision/GatewayWatch.ts"
import { Presence } from "../../../src/programs/supervision/Presence.ts"
import { SystemdNotices } from "../../../src/programs/supervision/SystemdNotices.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"
import { Lifecycle } from "../../../src/services/Lifecycle.ts"
import { RuntimeHealth } from "../../../src/services/RuntimeHealth.ts"
import { Supervisor } from "../../../src/services/Supervisor.ts"

const secret = "a-password-of-the-gateway"
const answered: PulseAnswer = {
  commands: { paused: false, restart: null, upgrade: null, underway: null },
  oldest: null,
  nextDueAt: null,
  rosterRevision: 0,
  now: 0,
  releasedLeases: 0
}

const quiet = Effect.provide(Logger.layer([]))

/** A gateway that ends at once with this complaint, and what the control plane and systemd hear of it. */
const complain = (text: string) =>
  Effect.gen(function* () {
    const at = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "mission-control-watch-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
    )
    const command = join(at, "openclaw")
    writeFileSync(command, `#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "${text}"\nexit 1\n`, { mode: 0o755 })
    const reasons = yield* Queue.unbounded<string>()
    const push = yield* SubscriptionRef.make({ isConnected: true, lastMessageAt: null as number | null })
    const notices = yield* Queue.unbounded<string>()
    const services = yield* Layer.build(
      Layer.mergeAll(GatewayWatch.layer, Presence.layer, SystemdNotices.layer).pipe(
        Layer.provide([Commands.layer, RuntimeHealth.layer]),
        Layer.provide(Supervisor.layer),
        Layer.provide([Lifecycle.layer, GatewayProcess.layer, Metrics.layer]),
        Layer.provide([
          Layer.mock(ControlPlane, {
            bootId: "boot",
            pulse: (report) => Effect.as(Queue.offer(reasons, report.reasons.join("; ")), answered)
          }),
          Layer.mock(DeliveryLoop, { pulsed: () => Effect.void }),
          Layer.mock(AgentSync, { onRevision: () => Effect.void }),
          Layer.mock(Gateway, {
            ready: Effect.succeed(false),
            state: Effect.succeed({
              ...unseenGateway,
              state: "unreachable" as const
            })
          }),
          Layer.mock(ConvexClient, { push }),
          Upgrader.layerTest,
          Layer.succeed(Systemd, {
            isListening: true,
            watchdog: Option.none(),
            notify: (assignments) => Effect.asVoid(Queue.offer(notices, assignments.join(" ")))
          }),
          Redactor.layer
        ]),
        Layer.provide(
          RuntimeConfig.layerTest({
            gatewayUrl: Option.none(),
            gatewayToken: Option.some(Redacted.make(secret)),
            gatewayPath: command,
            // The port of nothing: no gateway of this machine is found there.
            gatewayPort: 1,
            stateDir: at
          })
        ),
        Layer.provide(NodeServices.layer)
      )
    )
    yield* Effect.gen(function* () {
      yield* (yield* Presence).start
      yield* (yield* SystemdNotices).start
      yield* (yield* GatewayWatch).start
    }).pipe(Effect.provideContext(services))
    const ofItsEnd = (queue: Queue.Queue<string>) =>
      Queue.take(queue).pipe(Effect.repeat({ until: (said) => said.includes("exit code 1") }))
    return { pulse: yield* ofItsEnd(reasons), notice: yield* ofItsEnd(notices) }
  })

describe("a gateway that ends with a secret in its last lines", () => {
  it.live("is reported to the control plane and to systemd without it", () =>
    Effect.gen(function* () {
      const said = yield* complain("cannot listen with the token $OPENCLAW_GATEWAY_TOKEN here")
      for (const text of Object.values(said)) {
        assert.include(text, "cannot listen with the token <redacted> here")
      }
    }).pipe(Effect.scoped, quiet)
  )

  it.live("leaves no part of it where its text is cut", () =>
    Effect.gen(function* () {
      const said = yield* complain(`failed ${"x".repeat(280)} $OPENCLAW_GATEWAY_TOKEN and so on`)
      for (const text of Object.values(said)) {
        assert.include(text, "failed xxx")
        assert.notInclude(text, secret.slice(0, 4))
      }
    }).pipe(Effect.scoped, quiet)
  )
})
