import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Option, Ref } from "effect"
import { TestClock } from "effect/testing"
import { ControlPlaneUnavailable } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { Profiles } from "../../../src/domain/gateway/ProfilePlan.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { ProfileSync } from "../../../src/programs/agents/ProfileSync.ts"
import { DeliveryLoop } from "../../../src/programs/delivery/DeliveryLoop.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"
import { GatewayGuard } from "../../../src/services/GatewayGuard.ts"
import { Lifecycle } from "../../../src/services/Lifecycle.ts"
import { Permits } from "../../../src/services/Permits.ts"
import { Roster } from "../../../src/services/Roster.ts"
import { Supervisor } from "../../../src/services/Supervisor.ts"

const away = new ControlPlaneUnavailable({ function: "service/agents:profiles", detail: "ECONNREFUSED" })

const profiles: Profiles = {
  revision: 1,
  agents: [
    {
      id: "e1",
      slug: "engineer",
      name: "Engineer",
      role: "Builds",
      model: null,
      soul: "Tidy.",
      identity: "",
      userText: "",
      skillSlugs: []
    }
  ],
  skills: []
}

/** Profile sync over a folder of its own and a control plane that answers as the test says. */
const setUp = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "profile-sync-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const answer = yield* Ref.make<Effect.Effect<Profiles, ControlPlaneFailure>>(Effect.succeed(profiles))
  const lines: Array<string> = []
  const logger = Logger.map(Logger.formatStructured, ({ level, message }) => {
    lines.push(`${level} ${String(message)}`)
  })
  const services = yield* Layer.build(
    ProfileSync.layer.pipe(
      Layer.provideMerge(Layer.mergeAll(Metrics.layer, Permits.layer, Roster.layer)),
      Layer.provide([
        Layer.mock(ControlPlane, { bootId: "boot", profiles: Effect.flatten(Ref.get(answer)) }),
        Layer.mock(GatewayGuard, { recheck: Effect.succeed(false) }),
        Layer.mock(DeliveryLoop, {}),
        Supervisor.layer,
        NodeServices.layer
      ]),
      Layer.provideMerge(Lifecycle.layerTest),
      Layer.provide(
        RuntimeConfig.layerTest({
          profileSync: true,
          gatewayUrl: Option.some("http://127.0.0.1:1"),
          workspaceRoot: join(folder, "workspaces"),
          gatewayConfigPath: join(folder, "openclaw.json")
        })
      ),
      Layer.provideMerge(Logger.layer([logger]))
    )
  )
  const { lifecycle, metrics, permits, roster, sync } = yield* Effect.provideContext(
    Effect.all({ lifecycle: Lifecycle, metrics: Metrics, permits: Permits, roster: Roster, sync: ProfileSync }),
    services
  )
  return {
    answer,
    folder,
    lines,
    permits,
    /** Tells of a new revision of the roster, which says no more than that there is something to read. */
    revised: (revision: number) => roster.accept({ revision, agents: [] }),
    start: Effect.provideContext(sync.start, services),
    once: Effect.provideContext(sync.boot, services),
    reason: Effect.map(lifecycle.state, ({ reasons }) => reasons["profile-sync"]),
    counted: Effect.map(metrics.prometheus, (text) =>
      ["success", "failure"].map((outcome) =>
        Number(
          text
            .split("\n")
            .find((line) =>
              ["mission_control_syncs_total{", 'kind="profiles"', `outcome="${outcome}"`].every((part) =>
                line.includes(part)
              )
            )
            ?.split(" ")
            .at(-1)
        )
      )
    )
  }
})

/** Waits for what the real files bring about, while the test clock stands still. */
const until = (isSo: () => boolean) =>
  Effect.promise<void>(() => new Promise((resolve) => setImmediate(resolve))).pipe(Effect.repeat({ until: isSo }))

describe("profile sync", () => {
  it.effect("describes worktrees to agents unless the gateway's configuration keeps them from running commands", () =>
    Effect.gen(function* () {
      const { folder, once } = yield* setUp
      const agentsMd = () => readFileSync(join(folder, "workspaces", "engineer", "AGENTS.md"), "utf8")
      const configPath = join(folder, "openclaw.json")
      yield* once
      assert.include(agentsMd(), "sh worktree.sh create")
      writeFileSync(configPath, '{ tools: { deny: ["exec"] } }')
      yield* once
      assert.notInclude(agentsMd(), "sh worktree.sh create")
      assert.include(agentsMd(), "## Tasks")
      writeFileSync(configPath, "{ tools: { deny")
      yield* once
      assert.include(agentsMd(), "sh worktree.sh create")
    })
  )

  it.effect("logs the first failure in a row and the recovery, and counts every run", () =>
    Effect.gen(function* () {
      const { answer, counted, lines, once, reason } = yield* setUp
      assert.deepStrictEqual(yield* counted, [0, 0])
      yield* Ref.set(answer, Effect.fail(away))
      for (let run = 0; run < 3; run += 1) yield* once
      assert.deepStrictEqual(yield* counted, [0, 3])
      assert.strictEqual(yield* reason, "ECONNREFUSED")
      yield* Ref.set(answer, Effect.succeed(profiles))
      for (let run = 0; run < 2; run += 1) yield* once
      assert.deepStrictEqual(yield* counted, [2, 3])
      assert.isUndefined(yield* reason)
      assert.deepStrictEqual(lines, [
        "ERROR profile sync failed, earlier files stay in use: ECONNREFUSED",
        "INFO profiles written",
        "INFO profile sync works again, after ControlPlaneUnavailable 3"
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("counts an incomplete run as failed, and logs the problem once until it is fixed", () =>
    Effect.gen(function* () {
      const { counted, folder, lines, once, reason } = yield* setUp
      yield* once
      const soul = join(folder, "workspaces", "engineer", "SOUL.md")
      unlinkSync(soul)
      symlinkSync("/dev/null", soul)
      for (let run = 0; run < 3; run += 1) yield* once
      assert.deepStrictEqual(yield* counted, [1, 3])
      assert.include((yield* reason) ?? "", "SOUL.md")
      unlinkSync(soul)
      yield* once
      assert.deepStrictEqual(yield* counted, [2, 3])
      const told = lines.filter((line) => !line.endsWith("profiles written"))
      assert.lengthOf(told, 2)
      assert.match(told[0]!, /^ERROR profile sync: .*SOUL\.md/)
      assert.match(told[1]!, /^INFO profile sync works again, after .*SOUL\.md.* 3$/)
    }).pipe(Effect.scoped)
  )

  it.effect("writes new agents at once, also while another problem waits for a person", () =>
    Effect.gen(function* () {
      const { answer, folder, lines, once, revised, start } = yield* setUp
      yield* once
      const soul = join(folder, "workspaces", "engineer", "SOUL.md")
      unlinkSync(soul)
      symlinkSync("/dev/null", soul)
      yield* start
      yield* revised(1)
      yield* until(() => lines.some((line) => line.startsWith("ERROR profile sync: ")))
      const [engineer] = profiles.agents
      yield* Ref.set(
        answer,
        Effect.succeed({ ...profiles, revision: 2, agents: [engineer!, { ...engineer!, slug: "newcomer" }] })
      )
      yield* revised(2)
      yield* until(() => existsSync(join(folder, "workspaces", "newcomer", "SOUL.md")))
    }).pipe(Effect.scoped)
  )

  it.effect("checks regularly whether a person has fixed a problem", () =>
    Effect.gen(function* () {
      const { folder, lines, once, reason, revised, start } = yield* setUp
      yield* once
      const soul = join(folder, "workspaces", "engineer", "SOUL.md")
      unlinkSync(soul)
      symlinkSync("/dev/null", soul)
      yield* start
      yield* revised(1)
      yield* until(() => lines.some((line) => line.startsWith("ERROR profile sync: ")))
      unlinkSync(soul)
      yield* TestClock.adjust("1 second").pipe(
        Effect.andThen(until(() => true)),
        Effect.andThen(reason),
        Effect.repeat({ until: (reason) => reason === undefined })
      )
      assert.strictEqual(readFileSync(soul, "utf8").includes("Tidy."), true)
    }).pipe(Effect.scoped)
  )

  it.effect("makes deferred changes also if a claim is in progress when the turns have ended", () =>
    Effect.gen(function* () {
      const { answer, folder, lines, permits, revised, start } = yield* setUp
      const deferrals = () => lines.filter((line) => line.endsWith("will be changed when no turn is running")).length
      const mode = () => JSON.parse(readFileSync(join(folder, "openclaw.json"), "utf8")).gateway?.mode
      yield* permits.take
      yield* start
      yield* revised(1)
      yield* until(() => deferrals() === 1)
      assert.isUndefined(mode())
      yield* Ref.set(answer, Effect.as(permits.take, profiles))
      yield* permits.release
      yield* until(() => deferrals() === 2)
      assert.isUndefined(mode())
      yield* Ref.set(answer, Effect.succeed(profiles))
      yield* permits.release
      yield* until(() => mode() === "local")
    }).pipe(Effect.scoped)
  )
})
