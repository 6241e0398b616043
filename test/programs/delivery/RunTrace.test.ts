import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import type { Run } from "../../../src/domain/delivery/Run.ts"
import { GatewayUnreachable, TurnSilent } from "../../../src/domain/delivery/TurnFailure.ts"
import type { Attributes } from "../../../src/domain/observability/TraceAttributes.ts"
import type { ActiveSpan, BeginSpan, RootOptions } from "../../../src/layers/telemetry/Spans.ts"
import { Telemetry } from "../../../src/layers/telemetry/Telemetry.ts"
import { brokenRun, sampleEvent, sampleRun } from "../../domain/delivery/sampleContext.ts"
import { sampleHeartbeatRun } from "../../domain/heartbeats/sampleHeartbeat.ts"
import { failsWith, runHouse } from "./runHouse.ts"
import type { Options } from "./runHouse.ts"

interface Span {
  readonly name: string
  readonly parent: ActiveSpan | undefined
  readonly options: RootOptions
  readonly attributes: Record<string, unknown>
  readonly errors: Array<string>
  endedAt?: number | undefined
}

/** Executes the run while traces are on, and answers its spans and log lines. */
const traced = Effect.fnUntraced(function* (run: Run, options: Options = {}) {
  const spans: Array<Span> = []
  const begin: BeginSpan = (name, parent, given) => {
    const span: Span = { name, parent, options: given, attributes: { ...given.attributes }, errors: [] }
    spans.push(span)
    const active: ActiveSpan = {
      traceId: "trace",
      spanId: `span-${spans.length}`,
      isSampled: true,
      get root() {
        return parent?.root ?? active
      },
      set: (attributes: Attributes) => void Object.assign(span.attributes, attributes),
      fail: ({ message, type }) => void span.errors.push(`${type}: ${message}`),
      end: (at) => void (span.endedAt = at)
    }
    return active
  }
  const fields: Array<Record<string, unknown>> = []
  const logger = Logger.map(Logger.formatStructured, ({ annotations }) => void fields.push(annotations))
  const times = { from: 5_000, claimed: 5_030, claimedThere: 7_000, runs: 3 }
  const { execute } = yield* runHouse({ ...options, telemetry: Telemetry.layerTest(begin) })
  yield* execute(run, times).pipe(Effect.provide(Logger.layer([logger])))
  return { spans, root: spans[0]!, fields }
})

describe("the trace of a run", () => {
  it.effect("begins with the claim, names run, events and hops, and ends with the outcome", () =>
    Effect.gen(function* () {
      const previous = { traceId: "t0", spanId: "s0" }
      const sample = sampleRun({ events: [sampleEvent(), sampleEvent({ index: 1, type: "mention" })] })
      const { context } = sample
      const run = {
        ...sample,
        attempt: 2,
        readyAt: 6_000,
        context: {
          ...context,
          notification: { ...context.notification, hops: 3 },
          earlier: { ...context.earlier, trace: previous }
        }
      }
      const { fields, root, spans } = yield* traced(run)
      assert.deepStrictEqual(
        spans.map(({ name }) => name),
        ["RunExecution.execute", "ControlPlane.claim"]
      )
      assert.isUndefined(root.parent)
      assert.deepInclude(root.options, { kind: "consumer", startedAt: 5_000, previous })
      assert.deepInclude(root.attributes, {
        "mission_control.run.id": "notification_1",
        "mission_control.run.kind": "notification",
        "mission_control.attempt": 2,
        "mission_control.event.count": 2,
        "mission_control.hops": 3,
        "mission_control.queue.wait_ms": 1_000,
        "mission_control.gateway.version": "2026.9.6",
        "mission_control.outcome": "replied",
        "gen_ai.agent.name": "Engineer"
      })
      assert.deepStrictEqual(spans[1]?.attributes, { "mission_control.claim.runs": 3 })
      assert.strictEqual(spans[1]?.endedAt, 5_030)
      assert.deepStrictEqual(root.errors, [])
      for (const line of fields) assert.strictEqual(line["traceId"], "trace")
    })
  )

  it.effect("has the failure's class, and shows if an owed answer is missing", () =>
    Effect.gen(function* () {
      const silent = yield* traced(sampleRun(), failsWith(new TurnSilent({ detail: "empty text" })))
      assert.deepStrictEqual(silent.root.errors, ["TurnSilent: TurnSilent: empty text"])
      assert.deepInclude(silent.root.attributes, {
        "mission_control.outcome": "retrying",
        "mission_control.is_silence": true
      })
      const down = yield* traced(sampleRun(), failsWith(new GatewayUnreachable({ detail: "refused" })))
      assert.deepStrictEqual(down.root.errors, ["GatewayUnreachable: GatewayUnreachable: refused"])
      assert.notProperty(down.root.attributes, "mission_control.is_silence")
    })
  )

  it.effect("of a heartbeat or a broken run has its known attributes", () =>
    Effect.gen(function* () {
      const heartbeat = yield* traced(sampleHeartbeatRun())
      assert.deepInclude(heartbeat.root.attributes, {
        "mission_control.run.kind": "heartbeat",
        "mission_control.queue.wait_ms": 6_000,
        "mission_control.outcome": "posted"
      })
      assert.isUndefined(heartbeat.root.attributes["mission_control.notification.id"])
      const broken = yield* traced(brokenRun("damaged: events"))
      assert.deepInclude(broken.root.attributes, {
        "mission_control.notification.id": "notification_1",
        "mission_control.outcome": "retrying"
      })
      assert.isUndefined(broken.root.attributes["gen_ai.agent.id"])
    })
  )
})
