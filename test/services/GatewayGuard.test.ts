import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Layer, Logger, Ref } from "effect"
import { TestClock } from "effect/testing"
import {
  GatewayMisconfigured,
  GatewayRestarted,
  GatewayUnreachable,
  ProviderFailed,
  TurnAmbiguous,
  UnknownAgent
} from "../../src/domain/delivery/TurnFailure.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import type { Settings } from "../../src/layers/Config.ts"
import { Gateway } from "../../src/layers/Gateway.ts"
import { GatewayProcess } from "../../src/layers/gateway/GatewayProcess.ts"
import { Admission, GatewayGuard } from "../../src/services/GatewayGuard.ts"
import { canClaim, Lifecycle } from "../../src/services/Lifecycle.ts"
import { Roster } from "../../src/services/Roster.ts"
import { defaultFlags } from "../domain/delivery/sampleContext.ts"

const unreachable = new GatewayUnreachable({ detail: "ECONNREFUSED" })
const providerFailed = new ProviderFailed({ detail: "502", status: 502 })
const misconfigured = new GatewayMisconfigured({ detail: "HTTP 404", fix: "enable the endpoint" })
const unknownAgent = new UnknownAgent({ detail: "HTTP 400", agentSlug: "engineer" })

const setUpWith = Effect.fnUntraced(function* (settings: Partial<Settings>) {
  const agents = yield* Ref.make<ReadonlyArray<string> | GatewayUnreachable>(unreachable)
  const probes = yield* Ref.make(0)
  const lines: Array<string> = []
  const gateway = Layer.mock(Gateway, {
    agents: Effect.gen(function* () {
      yield* Ref.update(probes, (count) => count + 1)
      const answer = yield* Ref.get(agents)
      return Array.isArray(answer) ? answer : yield* answer as GatewayUnreachable
    })
  })
  const logger = Logger.map(Logger.formatStructured, ({ level, message }) => {
    if (level !== "DEBUG") lines.push(`${level} ${String(message)}`)
  })
  const services = yield* Layer.build(
    GatewayGuard.layer.pipe(
      Layer.provideMerge(Layer.mergeAll(Lifecycle.layerTest, Roster.layer)),
      Layer.provide([gateway, GatewayProcess.layerTest, RuntimeConfig.layerTest(settings)])
    )
  )
  const { guard, lifecycle, roster } = yield* Effect.provideContext(
    Effect.all({ guard: GatewayGuard, lifecycle: Lifecycle, roster: Roster }),
    services
  )
  yield* lifecycle.enter("ready")
  return { agents, guard, lifecycle, lines, log: Effect.provide(Logger.layer([logger])), probes, roster }
})

const setUp = setUpWith({ profileSync: false })

/** Something is claimed, and its run tells this of its end. */
const claimedAndEnded = (guard: GatewayGuard["Service"], end: Effect.Effect<void>) =>
  Effect.flatMap(guard.claimed, (admission) => Effect.provideService(end, Admission, admission))

describe("the breaker", () => {
  it.effect("opens after five shared failures in a row, logs it once, and lets one probe through after 30 s", () =>
    Effect.gen(function* () {
      const { guard, lifecycle, lines, log } = yield* setUp
      yield* Effect.repeat(guard.sharedFailure(unreachable, "agent"), { times: 3 }).pipe(log)
      assert.strictEqual(yield* guard.allowance, Number.POSITIVE_INFINITY)
      assert.isNull(yield* guard.opensIn)
      yield* guard.sharedFailure(providerFailed, "agent").pipe(log)
      yield* guard.sharedFailure(unreachable, "agent").pipe(log)
      assert.strictEqual(yield* guard.allowance, 0)
      assert.strictEqual(yield* guard.opensIn, 30_000)
      assert.property((yield* lifecycle.state).reasons, "breaker")
      assert.lengthOf(lines, 1)
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual(yield* guard.allowance, 0)
      assert.strictEqual(yield* guard.opensIn, 1_000)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* guard.allowance, 1)
      assert.isNull(yield* guard.opensIn)
      yield* guard.claimed
      assert.strictEqual(yield* guard.allowance, 0)
    })
  )

  it.effect("closes with the first answer and is ready again", () =>
    Effect.gen(function* () {
      const { guard, lifecycle, lines, log } = yield* setUp
      yield* Effect.repeat(guard.sharedFailure(unreachable, "agent"), { times: 4 }).pipe(log)
      yield* TestClock.adjust("30 seconds")
      yield* claimedAndEnded(guard, guard.completed("agent")).pipe(log)
      yield* claimedAndEnded(guard, guard.completed("agent")).pipe(log)
      assert.strictEqual(yield* guard.allowance, Number.POSITIVE_INFINITY)
      assert.deepStrictEqual((yield* lifecycle.state).reasons, {})
      assert.deepStrictEqual(
        lines.map((line) => line.split(" ")[0]),
        ["WARN", "INFO"]
      )
    })
  )

  it.effect("doubles its wait with each failed probe up to five minutes", () =>
    Effect.gen(function* () {
      const { guard, log } = yield* setUp
      yield* Effect.repeat(guard.sharedFailure(unreachable, "agent"), { times: 4 }).pipe(log)
      for (const wait of [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]) {
        assert.strictEqual(yield* guard.opensIn, wait)
        yield* TestClock.adjust(wait)
        assert.strictEqual(yield* guard.allowance, 1)
        yield* claimedAndEnded(guard, guard.sharedFailure(unreachable, "agent")).pipe(log)
      }
    })
  )

  it.effect("waits for the probe's own outcome, and ignores turns that started before it opened", () =>
    Effect.gen(function* () {
      const { guard, log } = yield* setUp
      const early = yield* guard.claimed
      yield* Effect.repeat(guard.sharedFailure(unreachable, "agent"), { times: 4 }).pipe(log)
      assert.strictEqual(yield* guard.admitted(early), 0)
      yield* TestClock.adjust("30 seconds")
      const probe = yield* guard.claimed
      const late = yield* guard.claimed
      assert.deepStrictEqual(
        yield* Effect.forEach([early, probe, late], (admission) => guard.admitted(admission)),
        [0, 1, 0]
      )
      for (const end of [guard.inconclusive, guard.completed("agent"), guard.sharedFailure(unreachable, "agent")]) {
        for (const admission of [early, late]) yield* end.pipe(Effect.provideService(Admission, admission), log)
        assert.strictEqual(yield* guard.allowance, 0)
      }
      yield* guard.inconclusive.pipe(Effect.provideService(Admission, probe))
      assert.strictEqual(yield* guard.allowance, 1)
    })
  )

  it.effect("waits neither longer nor shorter when the machine's clock jumps", () =>
    Effect.gen(function* () {
      for (const jump of [-3_600_000, 3_600_000]) {
        yield* TestClock.setTime(10_000_000)
        const { guard, log } = yield* setUp
        const jumped = Effect.updateService(Clock.Clock, (clock) => ({
          ...clock,
          currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + jump,
          currentTimeMillis: Effect.map(clock.currentTimeMillis, (millis) => millis + jump)
        }))
        yield* guard.sharedFailure(providerFailed, "agent").pipe(log)
        yield* Effect.repeat(guard.sharedFailure(unreachable, "agent"), { times: 3 }).pipe(log)
        assert.strictEqual(yield* guard.opensIn.pipe(jumped), 30_000)
        assert.isTrue((yield* guard.provider.pipe(jumped)).hasFailedRecently)
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual(yield* guard.allowance.pipe(jumped), 1)
        yield* TestClock.adjust("90 seconds")
        assert.isFalse((yield* guard.provider.pipe(jumped)).hasFailedRecently)
      }
    })
  )

  it.effect("is not fed by an unknown agent or by wrong settings", () =>
    Effect.gen(function* () {
      const { guard, log } = yield* setUp
      yield* Effect.repeat(guard.sharedFailure(unknownAgent, "agent"), { times: 9 }).pipe(log)
      yield* Effect.repeat(guard.sharedFailure(misconfigured, "agent"), { times: 9 }).pipe(log)
      assert.strictEqual(yield* guard.allowance, Number.POSITIVE_INFINITY)
    })
  )
})

describe("a provider's failure", () => {
  it.effect("is remembered for its cooldown of 120 s", () =>
    Effect.gen(function* () {
      const { guard } = yield* setUp
      assert.isFalse((yield* guard.provider).hasFailedRecently)
      yield* guard.sharedFailure(unreachable, "agent")
      yield* guard.sharedFailure(new TurnAmbiguous({ detail: "internal error" }), "agent")
      assert.isFalse((yield* guard.provider).hasFailedRecently)
      yield* guard.sharedFailure(providerFailed, "agent")
      yield* TestClock.adjust("119999 millis")
      assert.isTrue((yield* guard.provider).hasFailedRecently)
      yield* TestClock.adjust("1 millis")
      assert.isFalse((yield* guard.provider).hasFailedRecently)
    })
  )
})

describe("a provider that fails", () => {
  it.effect("is failing until a round of any turn is completed, and no longer than a turn and the cooldown", () =>
    Effect.gen(function* () {
      const { guard } = yield* setUp
      const isFailing = Effect.map(guard.provider, (seen) => seen.isFailing)
      assert.isFalse(yield* isFailing)
      yield* guard.sharedFailure(providerFailed, "agent")
      yield* TestClock.adjust("10 minutes")
      assert.isTrue(yield* isFailing)
      yield* guard.completed("another agent")
      assert.isFalse(yield* isFailing)
      yield* TestClock.adjust("1 second")
      yield* guard.sharedFailure(providerFailed, "agent")
      yield* TestClock.adjust("17 minutes")
      assert.isFalse(yield* isFailing)
    })
  )
})

describe("a gateway that has just restarted", () => {
  it.effect("does not feed the breaker", () =>
    Effect.gen(function* () {
      const { guard } = yield* setUp
      const restarted = new GatewayRestarted({ detail: "internal error" })
      yield* Effect.repeat(guard.sharedFailure(restarted, "agent"), { times: 9 })
      assert.deepStrictEqual(yield* guard.breaker, { _tag: "Closed", failures: 0 })
    })
  )
})

describe("an unknown agent", () => {
  const { agentSlug } = unknownAgent
  const id = "agent_engineer"

  it.effect("has a delay, logged once, until GET /v1/models lists it", () =>
    Effect.gen(function* () {
      const { agents, guard, lifecycle, lines, log, probes } = yield* setUp
      const recovered = yield* Ref.make(0)
      yield* Effect.forkScoped(guard.probing(Ref.update(recovered, (count) => count + 1))).pipe(log)
      yield* TestClock.adjust(0)
      assert.isNull(yield* guard.unknownAgentDelay(id))
      yield* guard.sharedFailure(unknownAgent, id).pipe(log)
      yield* guard.sharedFailure(unknownAgent, id).pipe(log)
      assert.strictEqual(yield* guard.unknownAgentDelay(id), 30_000)
      assert.isNull(yield* guard.unknownAgentDelay("agent_qa"))
      assert.lengthOf(lines, 1)
      assert.include(lines[0] ?? "", agentSlug)
      assert.isTrue(canClaim(yield* lifecycle.state))
      yield* Ref.set(agents, ["squad-lead"])
      yield* TestClock.adjust("30 seconds")
      assert.isNotNull(yield* guard.unknownAgentDelay(id))
      assert.strictEqual(yield* Ref.get(recovered), 0)
      yield* Ref.set(agents, ["squad-lead", agentSlug])
      yield* TestClock.adjust("30 seconds")
      assert.isNull(yield* guard.unknownAgentDelay(id))
      assert.strictEqual(yield* Ref.get(recovered), 1)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Ref.get(probes), 2)
    })
  )

  it.effect("has the same retry time for all its work, and a longer wait after each", () =>
    Effect.gen(function* () {
      const { guard, log } = yield* setUp
      yield* guard.sharedFailure(unknownAgent, id).pipe(log)
      for (const wait of [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]) {
        assert.strictEqual(yield* guard.unknownAgentDelay(id), wait)
        yield* TestClock.adjust(10_000)
        assert.strictEqual(yield* guard.unknownAgentDelay(id), wait - 10_000)
        yield* TestClock.adjust(wait - 10_000)
      }
    })
  )

  it.effect("is retried after 2 s with profile sync, which is about to write it, and then as any other", () =>
    Effect.gen(function* () {
      const { guard, log } = yield* setUpWith({ profileSync: true })
      yield* guard.sharedFailure(unknownAgent, id).pipe(log)
      for (const wait of [2_000, 30_000, 60_000]) {
        assert.strictEqual(yield* guard.unknownAgentDelay(id), wait)
        yield* TestClock.adjust(wait)
      }
    })
  )

  it.effect("is known again when one of its turns is completed", () =>
    Effect.gen(function* () {
      const { guard, log } = yield* setUp
      yield* guard.sharedFailure(unknownAgent, id).pipe(log)
      yield* guard.completed("agent_qa").pipe(log)
      assert.isNotNull(yield* guard.unknownAgentDelay(id))
      yield* guard.completed(id).pipe(log)
      assert.isNull(yield* guard.unknownAgentDelay(id))
    })
  )
})

describe("an unknown agent that leaves the roster", () => {
  const engineer = {
    id: "agent_engineer",
    slug: "engineer",
    name: "Engineer",
    role: "Builds",
    isOrchestrator: false,
    isPaused: false,
    flags: defaultFlags,
    heartbeat: 15,
    model: null
  }

  it.effect("is no longer checked, even if its last turn ends later", () =>
    Effect.gen(function* () {
      const { agents, guard, log, probes, roster } = yield* setUp
      yield* Ref.set(agents, ["squad-lead"])
      yield* Effect.forkScoped(guard.probing(Effect.void)).pipe(log)
      yield* roster.accept({ revision: 1, agents: [engineer] }).pipe(log)
      yield* guard.sharedFailure(unknownAgent, engineer.id).pipe(log)
      yield* TestClock.adjust("30 seconds")
      const before = yield* Ref.get(probes)
      assert.isAtLeast(before, 1)
      yield* roster.accept({ revision: 2, agents: [] }).pipe(log)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Ref.get(probes), before)
      yield* guard.sharedFailure(unknownAgent, engineer.id).pipe(log)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Ref.get(probes), before)
      assert.isNull(yield* guard.unknownAgentDelay(engineer.id))
    })
  )

  it.effect("stays unknown until the roster lists it", () =>
    Effect.gen(function* () {
      const { agents, guard, log, probes, roster } = yield* setUp
      yield* Ref.set(agents, ["squad-lead"])
      yield* Effect.forkScoped(guard.probing(Effect.void)).pipe(log)
      yield* roster.accept({ revision: 1, agents: [] }).pipe(log)
      yield* guard.sharedFailure(unknownAgent, engineer.id).pipe(log)
      yield* roster.accept({ revision: 2, agents: [engineer] }).pipe(log)
      yield* TestClock.adjust("30 seconds")
      assert.isAtLeast(yield* Ref.get(probes), 1)
      assert.isNotNull(yield* guard.unknownAgentDelay(engineer.id))
    })
  )
})

describe("wrong settings of the gateway", () => {
  it.effect("pause delivery with the fix as the reason, until GET /v1/models answers", () =>
    Effect.gen(function* () {
      const { agents, guard, lifecycle, lines, log } = yield* setUp
      yield* Effect.forkScoped(guard.probing(Effect.void)).pipe(log)
      yield* TestClock.adjust(0)
      yield* guard.sharedFailure(misconfigured, "agent").pipe(log)
      yield* guard.sharedFailure(misconfigured, "agent").pipe(log)
      assert.isFalse(canClaim(yield* lifecycle.state))
      assert.strictEqual((yield* lifecycle.state).reasons["gateway-configuration"], "enable the endpoint")
      assert.lengthOf(lines, 1)
      assert.include(lines[0] ?? "", "enable the endpoint")
      yield* TestClock.adjust("10 minutes")
      assert.isFalse(canClaim(yield* lifecycle.state))
      yield* Ref.set(agents, [])
      yield* TestClock.adjust("30 seconds")
      assert.isTrue(canClaim(yield* lifecycle.state))
      assert.lengthOf(lines, 2)
    })
  )

  it.effect("that GET /v1/models does not show are tested by one delivery, at growing intervals, and logged once", () =>
    Effect.gen(function* () {
      const { agents, guard, lifecycle, lines, log } = yield* setUp
      yield* Ref.set(agents, ["engineer"])
      const resumed = yield* Ref.make(0)
      yield* Effect.forkScoped(guard.probing(Ref.update(resumed, (count) => count + 1))).pipe(log)
      yield* TestClock.adjust(0)
      let admission = yield* guard.claimed
      for (const wait of [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]) {
        yield* guard.sharedFailure(misconfigured, "agent").pipe(Effect.provideService(Admission, admission), log)
        const before = yield* Ref.get(resumed)
        yield* TestClock.adjust(wait - 1)
        assert.strictEqual(yield* Ref.get(resumed), before)
        assert.isFalse(canClaim(yield* lifecycle.state))
        assert.strictEqual((yield* lifecycle.state).reasons["gateway-configuration"], "enable the endpoint")
        // The next look falls somewhere into the next half minute.
        yield* TestClock.adjust(30_000)
        assert.strictEqual(yield* Ref.get(resumed), before + 1)
        assert.isTrue(canClaim(yield* lifecycle.state))
        assert.strictEqual(yield* guard.allowance, 1)
        admission = yield* guard.claimed
        assert.strictEqual(yield* guard.allowance, 0)
      }
      assert.lengthOf(
        lines.filter((line) => line.startsWith("ERROR")),
        1
      )
      yield* guard.completed("agent").pipe(Effect.provideService(Admission, admission), log)
      assert.strictEqual(yield* guard.allowance, Number.POSITIVE_INFINITY)
      // What was right once and is wrong again is new.
      yield* guard.sharedFailure(misconfigured, "agent").pipe(log)
      assert.lengthOf(
        lines.filter((line) => line.startsWith("ERROR")),
        2
      )
      yield* TestClock.adjust("1 minute")
      assert.isTrue(canClaim(yield* lifecycle.state))
    })
  )

  it.effect("are not probed while nothing is wrong", () =>
    Effect.gen(function* () {
      const { guard, probes } = yield* setUp
      yield* Effect.forkScoped(guard.probing(Effect.void))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Ref.get(probes), 0)
    })
  )
})
