import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { vi } from "vitest"
import { REDACTED } from "../../../src/domain/observability/Redaction.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import type { Settings } from "../../../src/layers/Config.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import * as Logging from "../../../src/layers/telemetry/Logging.ts"

const secret = "0123456789abcdef".repeat(4)

/** What the program writes to standard error, line by line. */
const linesOf = <A, E>(program: Effect.Effect<A, E>, settings: Partial<Settings> = {}) =>
  Effect.acquireUseRelease(
    Effect.sync(() => vi.spyOn(process.stderr, "write").mockImplementation(() => true)),
    (spy) =>
      Effect.exit(program).pipe(
        Effect.provide(
          Logging.layer.pipe(
            Layer.provide(Redactor.layer),
            Layer.provide(
              RuntimeConfig.layerTest({
                serviceToken: Redacted.make(`mc_service_k57account_${secret}`),
                logFormat: "json",
                ...settings
              })
            )
          )
        ),
        Effect.map(() =>
          spy.mock.calls
            .map(([chunk]) => String(chunk))
            .join("")
            .split("\n")
            .slice(0, -1)
        )
      ),
    (spy) => Effect.sync(() => spy.mockRestore())
  )

const objectsOf = <A, E>(program: Effect.Effect<A, E>, settings?: Partial<Settings>) =>
  Effect.map(linesOf(program, settings), (lines) => lines.map((line) => JSON.parse(line) as Record<string, unknown>))

describe("a JSON line", () => {
  it.effect("has time, level, message and annotations", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 0, 2, 3, 4, 5))
      const [line] = yield* objectsOf(
        Effect.logInfo("delivery replied").pipe(Effect.annotateLogs({ notification: "n1", attempt: 2 }))
      )
      assert.deepStrictEqual(line, {
        time: "2026-01-02T03:04:05.000Z",
        level: "info",
        message: "delivery replied",
        notification: "n1",
        attempt: 2
      })
    })
  )

  it.effect("is one line for any message", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf(Effect.logInfo('first\nsecond\r\n{"level":"error"}'))
      assert.lengthOf(lines, 1)
    })
  )

  it.effect("joins several messages, and writes objects as JSON", () =>
    Effect.gen(function* () {
      const [line] = yield* objectsOf(Effect.logInfo("claimed", { count: 3 }, 7))
      assert.strictEqual(line?.["message"], 'claimed {"count":3} 7')
    })
  )

  it.effect("has the cause with the error's stack", () =>
    Effect.gen(function* () {
      const [line] = yield* objectsOf(
        Effect.die(new Error("a bug of ours")).pipe(Effect.tapCause((cause) => Effect.logError("died", cause)))
      )
      assert.strictEqual(line?.["level"], "error")
      assert.strictEqual(line?.["message"], "died")
      assert.include(String(line?.["cause"]), "a bug of ours")
      assert.include(String(line?.["cause"]), "Logging.test.ts")
    })
  )

  it.effect("keeps its time, level and message if an annotation has the same name", () =>
    Effect.gen(function* () {
      const [line] = yield* objectsOf(
        Effect.logInfo("truth").pipe(Effect.annotateLogs({ level: "error", message: "lie", time: "never" }))
      )
      assert.strictEqual(line?.["level"], "info")
      assert.strictEqual(line?.["message"], "truth")
      assert.notStrictEqual(line?.["time"], "never")
    })
  )

  it.effect("accepts values that JSON cannot represent", () =>
    Effect.gen(function* () {
      const circular: Record<string, unknown> = { name: "loop" }
      circular["self"] = circular
      const lines = yield* objectsOf(
        Effect.logInfo("odd", circular, 10n, undefined, Symbol("s")).pipe(Effect.annotateLogs({ circular, big: 10n }))
      )
      assert.lengthOf(lines, 1)
      assert.include(String(lines[0]?.["message"]), "loop")
    })
  )
})

describe("every line", () => {
  const token = `mc_service_k57account_${secret}`
  for (const logFormat of ["json", "pretty"] as const) {
    it.effect(`passes the redactor as ${logFormat}: message, annotation and cause`, () =>
      Effect.gen(function* () {
        const lines = yield* linesOf(
          Effect.die(new Error(`refused ${token}`)).pipe(
            Effect.tapCause((cause) => Effect.logError(`with ${secret}`, cause)),
            Effect.annotateLogs({ header: `Bearer ${token}`, nested: { token } })
          ),
          { logFormat }
        )
        const text = lines.join("\n")
        assert.notInclude(text, secret)
        assert.include(text, `with ${REDACTED}`)
        assert.include(text, `refused ${REDACTED}`)
      })
    )
  }

  it.effect("has no secret of an error's cause, in any form", () =>
    Effect.gen(function* () {
      const canary = 'canary/token+"quoted"&=4711'
      const forms = [
        canary,
        JSON.stringify(canary).slice(1, -1),
        encodeURIComponent(canary),
        Buffer.from(canary).toString("base64"),
        Buffer.from(canary).toString("base64url")
      ]
      const refused = new Error("refused", { cause: new Error(`deeper: ${forms.join(" ")}`) })
      for (const logFormat of ["json", "pretty"] as const) {
        const text = (yield* linesOf(
          Effect.die(refused).pipe(Effect.tapCause((cause) => Effect.logError("died", cause))),
          { logFormat, gatewayToken: Option.some(Redacted.make(canary)) }
        )).join("\n")
        assert.include(text, `deeper: ${REDACTED} ${REDACTED} ${REDACTED} ${REDACTED}`)
        for (const form of forms) {
          assert.notInclude(text, form)
          assert.notInclude(text, JSON.stringify(form).slice(1, -1))
        }
      }
    })
  )

  it.effect("is pretty for people: time of day, level, agent, message, key=value, and the cause below", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 0, 2, 3, 4, 5, 678))
      const lines = yield* linesOf(
        Effect.die(new Error("broken")).pipe(
          Effect.tapCause((cause) => Effect.logWarning("died", cause)),
          Effect.annotateLogs({ agent: "engineer", tool: "task_load" })
        ),
        { logFormat: "pretty" }
      )
      assert.strictEqual(lines[0], "03:04:05.678 WARN  engineer: died tool=task_load")
      assert.match(lines[1] ?? "", /^ {2}.*broken/)
    })
  )

  it.effect("is written only from LOG_LEVEL on", () =>
    Effect.gen(function* () {
      const all = Effect.all([
        Effect.logTrace("trace"),
        Effect.logDebug("debug"),
        Effect.logInfo("info"),
        Effect.logWarning("warn"),
        Effect.logError("error")
      ])
      const levels = ["trace", "debug", "info", "warn", "error"] as const
      for (const [index, logLevel] of levels.entries()) {
        const lines = yield* objectsOf(all, { logLevel })
        assert.deepStrictEqual(
          lines.map(({ level }) => level),
          levels.slice(index)
        )
      }
    })
  )
})
