import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Metrics } from "../../src/layers/Metrics.ts"

const read = (path: string) => readFileSync(new URL(`../../deploy/${path}`, import.meta.url), "utf8")

/** The names of metrics in an expression; functions and labels are none of these. */
const namesIn = (expression: string): ReadonlyArray<string> => [
  ...new Set(expression.match(/\b(?:mission_control|process|nodejs)_[a-z0-9_]+/g) ?? [])
]

/** Every `expr` below a value of the dashboard. */
const expressionsOf = (value: unknown): ReadonlyArray<string> =>
  Array.isArray(value)
    ? value.flatMap(expressionsOf)
    : typeof value === "object" && value !== null
      ? Object.entries(value).flatMap(([key, inner]) =>
          key === "expr" && typeof inner === "string" ? [inner] : expressionsOf(inner)
        )
      : []

/** The sample names that a scrape has before anything happened. */
const sampleNames = Effect.gen(function* () {
  const metrics = yield* Metrics
  yield* metrics.observe({
    isReady: true,
    isHealthy: true,
    failingAgents: 0,
    isPushConnected: true,
    oldestWaitingSeconds: 0,
    heartbeatOverdueSeconds: 0,
    breaker: "Closed",
    isGatewayUp: true,
    gatewayRestarts: 0,
    runtimeVersion: "1.0.0",
    gatewayVersion: null
  })
  // Its labels are the functions that were called: the only family that begins with its first call.
  yield* metrics.controlPlaneCalled("service/notifications:claim", "success", 1)
  const text = yield* metrics.prometheus
  return new Set(text.split("\n").flatMap((line) => /^[a-z_0-9]+/.exec(line)?.[0] ?? []))
}).pipe(Effect.provide(Metrics.layer))

describe("what is deployed beside the runtime", () => {
  it.effect("alerts only on families that /metrics has", () =>
    Effect.gen(function* () {
      const known = yield* sampleNames
      const expressions = [
        ...read("prometheus/mission-control.rules.yml").matchAll(/^ +expr: (?:\|\n((?: {10,}.*\n)+)|(.*))/gm)
      ].map(([, block, line]) => block ?? line ?? "")
      assert.isAtLeast(expressions.length, 13)
      const named = expressions.flatMap(namesIn)
      assert.isAtLeast(named.length, 12)
      assert.deepStrictEqual(
        named.filter((name) => !known.has(name)),
        []
      )
    })
  )

  it.effect("draws only families that /metrics has, and each panel draws some", () =>
    Effect.gen(function* () {
      const known = yield* sampleNames
      const dashboard = JSON.parse(read("grafana/mission-control-runtime.json"))
      const expressions = expressionsOf(dashboard)
      assert.isAtLeast(expressions.length, 30)
      assert.deepStrictEqual(
        expressions.flatMap(namesIn).filter((name) => !known.has(name)),
        []
      )
      assert.deepStrictEqual(
        expressions.filter((expression) => namesIn(expression).length === 0),
        []
      )
    })
  )

  it.effect("has every family of our own on the dashboard or in an alert", () =>
    Effect.gen(function* () {
      const shown = new Set(
        namesIn(read("prometheus/mission-control.rules.yml") + read("grafana/mission-control-runtime.json")).map(
          (name) => name.replace(/_bucket$/, "")
        )
      )
      const families = [...(yield* sampleNames)]
        .map((name) => name.replace(/_(bucket|sum|count)$/, ""))
        .filter((name) => name.startsWith("mission_control_"))
      assert.deepStrictEqual(
        [...new Set(families)].filter((family) => !shown.has(family)),
        []
      )
    })
  )

  it.effect("is described in the documents, each family", () =>
    Effect.gen(function* () {
      const page = readFileSync(new URL("../../docs/observability.md", import.meta.url), "utf8")
      const families = [...(yield* sampleNames)].map((name) =>
        name.startsWith("mission_control_") ? name.replace(/_(bucket|sum|count)$/, "") : name
      )
      assert.deepStrictEqual(
        [...new Set(families)].filter((family) => !page.includes(`\`${family}\``)),
        []
      )
      const alerts = [...read("prometheus/mission-control.rules.yml").matchAll(/- alert: (\w+)/g)].map(
        ([, name]) => name
      )
      assert.deepStrictEqual(
        alerts.filter((name) => !page.includes(`| ${name} `)),
        []
      )
    })
  )
})
