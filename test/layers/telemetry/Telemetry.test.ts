import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, Option, Redacted, Schema, Scope } from "effect"
import { vi } from "vitest"
import type { TracingSettings } from "../../../src/domain/observability/TraceTarget.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { Telemetry } from "../../../src/layers/telemetry/Telemetry.ts"
import { eventually } from "../../process/setup.ts"
import { receiveTraces } from "../../traceReceiver.ts"

afterEach(() => vi.unstubAllEnvs())

const off: TracingSettings = {
  isDisabled: false,
  endpoint: Option.none(),
  tracesEndpoint: Option.none(),
  headers: Option.none(),
  tracesHeaders: Option.none(),
  serviceName: "test",
  resourceAttributes: Option.none(),
  sampler: "always_on",
  samplerArgument: Option.none(),
  honeycombApiKey: Option.none(),
  hasContent: false
}

class Broken extends Schema.TaggedError<Broken>()("Broken", { detail: Schema.String }) {}

/** The service with these settings until its scope is closed, and the lines that it wrote. */
const telemetryWith = (settings: Partial<TracingSettings>, lines: Array<string> = []) =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const own = yield* Scope.fork(scope)
    const layer = Telemetry.layer.pipe(
      Layer.provide(Redactor.layer),
      Layer.provide(RuntimeConfig.layerTest({ tracing: { ...off, ...settings } })),
      Layer.provide(Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))]))
    )
    const telemetry = yield* Telemetry.pipe(Effect.provide(yield* Layer.buildWithScope(layer, own)))
    return { telemetry, close: Scope.close(own, Exit.void) }
  })

/** Refuses everything for good until told otherwise. */
const refusing = (state: { status: number; count: number }) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(
        () =>
          new Promise<ReturnType<typeof createServer>>((resolve) => {
            const server = createServer((request, response) => {
              request.resume()
              request.on("end", () => {
                state.count += 1
                response.writeHead(state.status).end()
              })
            })
            server.listen(0, "127.0.0.1", () => resolve(server))
          })
      ),
      (server) => Effect.sync(() => void server.close())
    ),
    (server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  )

describe("telemetry", () => {
  it.live("logs only the first of failing exports, and the recovery", () =>
    Effect.gen(function* () {
      vi.stubEnv("OTEL_BSP_SCHEDULE_DELAY", "5")
      const state = { status: 400, count: 0 }
      const lines: Array<string> = []
      const url = yield* refusing(state)
      const { telemetry } = yield* telemetryWith({ endpoint: Option.some(url) }, lines)
      const one = Effect.void.pipe(telemetry.root("Runtime.boot"))
      const sent = Effect.gen(function* () {
        const before = state.count
        yield* one
        yield* eventually(
          Effect.sync(() => state.count),
          (count) => count > before
        )
      })
      yield* sent
      yield* sent
      yield* sent
      state.status = 200
      yield* eventually(
        Effect.andThen(
          sent,
          Effect.sync(() => lines.at(-1))
        ),
        (line) => line === "trace export recovered"
      )
      assert.strictEqual(lines.filter((line) => line.startsWith("trace export to")).length, 1)
      assert.strictEqual(lines.filter((line) => line.startsWith("traces go to")).length, 1)
    }).pipe(Effect.scoped)
  )

  it.live("sends failures with their class and without a secret, in attributes, events and status", () =>
    Effect.gen(function* () {
      const key = "canary-key-0123456789"
      const receiver = yield* receiveTraces
      const { close, telemetry } = yield* telemetryWith({
        endpoint: Option.some(receiver.url),
        honeycombApiKey: Option.some(Redacted.make(key)),
        hasContent: true
      })
      const base64 = Buffer.from(key).toString("base64").replace(/=+$/, "")
      yield* telemetry
        .note({ "gen_ai.tool.call.result": telemetry.content(() => `${key} ${base64}`) })
        .pipe(
          Effect.andThen(Effect.fail(new Broken({ detail: `refused ${key}` }))),
          telemetry.span(`execute_tool ${key}`),
          telemetry.root("RunExecution.execute"),
          Effect.ignore
        )
      const cause = new Error(`deeper: ${key} ${base64}`)
      yield* Effect.die(new Error(`a bug near ${key}`, { cause })).pipe(telemetry.root("ProfileSync.sync"), Effect.exit)
      yield* close
      const spans = receiver.spans()
      assert.sameMembers(
        spans.map(({ attributes, name }) => `${name}: ${attributes["error.type"]}`),
        ["execute_tool <redacted>: Broken", "RunExecution.execute: Broken", "ProfileSync.sync: Defect"]
      )
      for (const { events, status } of spans) {
        assert.strictEqual(status.code, "2")
        assert.deepStrictEqual(
          events.map(({ name }) => name),
          ["exception"]
        )
      }
      const stacks = spans.flatMap(({ events }) => events.map(({ attributes }) => attributes["exception.stacktrace"]))
      assert.isTrue(stacks.some((stack) => String(stack).includes("deeper: <redacted> <redacted>")))
      for (const form of [key, base64]) assert.notInclude(receiver.text(), form)
    }).pipe(Effect.scoped)
  )

  it.effect("is off without an endpoint and a key, and if it is disabled: effects are unchanged", () =>
    Effect.gen(function* () {
      const key = Option.some(Redacted.make("canary-key-0123456789"))
      for (const settings of [{}, { honeycombApiKey: key, isDisabled: true }]) {
        const { telemetry } = yield* telemetryWith(settings)
        assert.isFalse(telemetry.isOn)
        const work = Effect.succeed(1)
        assert.strictEqual(telemetry.root("ProfileSync.sync")(work), work)
        assert.isUndefined(yield* telemetry.attempt)
      }
    })
  )
})
