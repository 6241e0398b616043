import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, Option, Redacted, Schema, Scope } from "effect"
import { vi } from "vitest"
import type { TelemetrySettings } from "../../../src/domain/observability/TelemetryTarget.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { Telemetry } from "../../../src/layers/telemetry/Telemetry.ts"
import { receiveOtlp } from "../../otlpReceiver.ts"
import { eventually } from "../../process/setup.ts"

afterEach(() => vi.unstubAllEnvs())

const off: TelemetrySettings = {
  isDisabled: false,
  endpoint: Option.none(),
  tracesEndpoint: Option.none(),
  logsEndpoint: Option.none(),
  headers: Option.none(),
  tracesHeaders: Option.none(),
  logsHeaders: Option.none(),
  logsExporter: "otlp",
  serviceName: "test",
  resourceAttributes: Option.none(),
  sampler: "always_on",
  samplerArgument: Option.none(),
  honeycombApiKey: Option.none(),
  hasContent: false
}

class Broken extends Schema.TaggedError<Broken>()("Broken", { detail: Schema.String }) {}

/** The service with these settings until its scope is closed, and the lines that it wrote. */
const telemetryWith = (settings: Partial<TelemetrySettings>, lines: Array<string> = []) =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const own = yield* Scope.fork(scope)
    const layer = Telemetry.layer.pipe(
      Layer.provide(Redactor.layer),
      Layer.provide(RuntimeConfig.layerTest({ telemetry: { ...off, ...settings } })),
      Layer.provideMerge(Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))]))
    )
    const context = yield* Layer.buildWithScope(layer, own)
    const within = <A, E>(effect: Effect.Effect<A, E>) => Effect.provideContext(effect, context)
    const telemetry = yield* Effect.provideContext(Telemetry, context)
    return { telemetry, within, runSync: Effect.runSyncWith(context), close: Scope.close(own, Exit.void) }
  })

/** Refuses everything for good until told otherwise. */
const refusing = (state: { status: number; count: number; text?: string }) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(
        () =>
          new Promise<ReturnType<typeof createServer>>((resolve) => {
            const server = createServer((request, response) => {
              request.setEncoding("latin1").on("data", (chunk: string) => {
                state.text = (state.text ?? "") + chunk
              })
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
      const { telemetry } = yield* telemetryWith({ endpoint: Option.some(url), logsExporter: "none" }, lines)
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
      const receiver = yield* receiveOtlp
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

  it.live("sends log lines as JSON lines have them, with the ids of the active span and without a secret", () =>
    Effect.gen(function* () {
      const key = "canary-key-0123456789"
      const receiver = yield* receiveOtlp
      const lines: Array<string> = []
      const { close, telemetry, within } = yield* telemetryWith(
        { endpoint: Option.some(receiver.url), honeycombApiKey: Option.some(Redacted.make(key)) },
        lines
      )
      yield* Effect.logWarning("tool call refused", { by: key }).pipe(
        Effect.annotateLogs({ attempt: 2, tool: "task_load", session: null, url: `https://${key}@host/` }),
        telemetry.span("execute_tool task_load"),
        telemetry.root("RunExecution.execute"),
        within
      )
      yield* Effect.die(new Error(`a bug near ${key}`)).pipe(
        Effect.tapCause((cause) => Effect.logError("died", cause)),
        Effect.exit,
        within
      )
      yield* Effect.logDebug("below the level").pipe(within)
      yield* close
      const [refused, died, ...others] = receiver.lines()
      assert.isEmpty(others)
      assert.includeMembers(lines, ["died"])
      const tool = receiver.spans().find(({ name }) => name.startsWith("execute_tool"))
      assert.deepInclude(refused, {
        body: 'tool call refused {"by":"<redacted>"}',
        severity: "WARN",
        severityNumber: 13,
        traceId: tool?.traceId,
        spanId: tool?.spanId
      })
      assert.deepStrictEqual(refused?.attributes, {
        attempt: 2,
        tool: "task_load",
        session: "null",
        url: "https://<redacted>@host/"
      })
      assert.isTrue((refused?.nanos ?? 0n) >= (tool?.startNanos ?? 0n))
      assert.deepInclude(died, { body: "died", severityNumber: 17, traceId: undefined })
      assert.match(String(died?.attributes["exception.stacktrace"]), /a bug near <redacted>[^]* at /)
      for (const { resource } of [...receiver.lines(), ...receiver.spans()]) {
        assert.deepInclude(resource, {
          "service.name": "test",
          "mission_control.account.id": "testaccount1",
          "mission_control.runtime.id": "test-runtime"
        })
      }
      assert.notInclude(receiver.text(), key)
    }).pipe(Effect.scoped)
  )

  it.live("does not send the log line about a failed export, and logs only the first one", () =>
    Effect.gen(function* () {
      const state = { status: 400, count: 0, text: "" }
      const lines: Array<string> = []
      const url = yield* refusing(state)
      const { close, within } = yield* telemetryWith({ logsEndpoint: Option.some(`${url}/v1/logs`) }, lines)
      /** A full batch, which is sent at once. */
      const batch = Effect.gen(function* () {
        const before = state.count
        yield* Effect.logInfo("one of many").pipe(Effect.repeat({ times: 511 }), within)
        yield* eventually(
          Effect.sync(() => state.count),
          (count) => count > before
        )
      })
      yield* batch
      yield* eventually(
        Effect.sync(() => lines.some((line) => line.startsWith("log export to"))),
        (isLogged) => isLogged
      )
      yield* batch
      state.status = 200
      yield* eventually(
        Effect.andThen(
          batch,
          Effect.sync(() => lines.includes("log export recovered"))
        ),
        (isLogged) => isLogged
      )
      yield* close
      assert.lengthOf(
        lines.filter((line) => line.startsWith("log export to")),
        1
      )
      assert.include(state.text, "one of many")
      assert.notInclude(state.text, "log export")
    }).pipe(Effect.scoped)
  )

  it.live("drops log lines beyond 2,048 while the receiver does not answer, and sends the others at the end", () =>
    Effect.gen(function* () {
      const receiver = yield* receiveOtlp
      const { close, runSync } = yield* telemetryWith({ logsEndpoint: Option.some(`${receiver.url}/v1/logs`) })
      // No batch is answered before the end of this loop, which does not yield.
      yield* Effect.sync(() => {
        for (let count = 0; count < 5_000; count++) runSync(Effect.logInfo(`line ${count}`))
      })
      yield* close
      assert.strictEqual(receiver.lines().at(0)?.body, "line 0")
      assert.lengthOf(receiver.lines(), 512 + 2_048)
    }).pipe(Effect.scoped)
  )

  it.live("sends traces or logs alone", () =>
    Effect.gen(function* () {
      const receiver = yield* receiveOtlp
      const endpoint = Option.some(receiver.url)
      for (const [settings, sent] of [
        [{ endpoint, logsExporter: "none" }, "spans"],
        [{ logsEndpoint: Option.some(`${receiver.url}/v1/logs`) }, "lines"],
        [{ endpoint, isDisabled: true }, "nothing"]
      ] as const) {
        const before = { spans: receiver.spans().length, lines: receiver.lines().length }
        const { close, telemetry, within } = yield* telemetryWith(settings)
        yield* Effect.logInfo("within").pipe(telemetry.root("ProfileSync.sync"), within)
        yield* close
        assert.strictEqual(telemetry.isOn, sent === "spans")
        assert.strictEqual(receiver.spans().length - before.spans, sent === "spans" ? 1 : 0)
        assert.strictEqual(receiver.lines().length - before.lines, sent === "lines" ? 1 : 0)
      }
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
