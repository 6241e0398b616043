import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Metrics } from "../../src/layers/Metrics.ts"
import { sampleObservation } from "../layers/sampleObservation.ts"

const read = (path: string) => readFileSync(new URL(`../../deploy/${path}`, import.meta.url), "utf8")

const dashboards = ["mission-control-runtime", "mission-control-fleet"]
const rules = read("prometheus/mission-control.rules.yml")
const drawn = dashboards.map((name) => read(`grafana/${name}.json`))

/** The names of metrics in an expression; functions and labels are none of these. */
const namesIn = (expression: string): ReadonlyArray<string> => [
  ...new Set(expression.match(/\b(?:mission_control[_:]|process_|nodejs_)[a-z0-9_]+|\bup\b(?=[{ )])/g) ?? [])
]

/** What Prometheus itself adds to the runtimes' families: `up`, and the series that the rules record. */
const recorded = ["up", ...[...rules.matchAll(/- record: (\S+)/g)].map(([, name]) => name ?? "")]

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
  yield* metrics.observe(sampleObservation)
  // Its labels are the functions that were called: the only family that begins with its first call.
  yield* metrics.controlPlaneCalled("service/notifications:claim", "success", 1)
  const text = yield* metrics.prometheus
  return new Set(text.split("\n").flatMap((line) => /^[a-z_0-9]+/.exec(line)?.[0] ?? []))
}).pipe(Effect.provide(Metrics.layer))

describe("what is deployed beside the runtime", () => {
  it.effect("alerts only on families that /metrics has", () =>
    Effect.gen(function* () {
      const known = new Set([...(yield* sampleNames), ...recorded])
      const expressions = [...rules.matchAll(/^ +expr: (?:\|\n((?: {10,}.*\n)+)|(.*))/gm)].map(
        ([, block, line]) => block ?? line ?? ""
      )
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
      const known = new Set([...(yield* sampleNames), ...recorded])
      const expressions = drawn.flatMap((dashboard) => {
        const found = expressionsOf(JSON.parse(dashboard))
        assert.isAtLeast(found.length, 30)
        return found
      })
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

  it("alerts with the account", () => {
    const alerts = rules.split(/^ +- alert: /m).slice(1)
    const unnamed = alerts.filter(
      (alert) => !alert.includes("group_left (account_id, account_name, runtime_id) mission_control:runtime_info")
    )
    assert.isAtLeast(alerts.length, 16)
    assert.deepStrictEqual(
      unnamed.map((alert) => alert.split("\n")[0]),
      ["ManyRuntimesFail"]
    )
  })

  it("selects accounts on both dashboards, and links to each of them from the other", () => {
    for (const [index, dashboard] of drawn.entries()) {
      const { links, templating } = JSON.parse(dashboard) as any
      const account = templating.list.find(({ name }: { name: string }) => name === "account")
      assert.strictEqual(account.query.query, "label_values(mission_control_build_info, account_name)")
      assert.strictEqual(links[0].url, `/d/${dashboards[1 - index]}`)
      for (const expression of expressionsOf(JSON.parse(dashboard))) {
        assert.match(expression, index === 0 ? /instance=~"\$instance"/ : /account_name=~"\$account"/)
      }
    }
  })

  it.effect("has every family of our own on a dashboard or in an alert", () =>
    Effect.gen(function* () {
      const shown = new Set(namesIn([rules, ...drawn].join("\n")).map((name) => name.replace(/_bucket$/, "")))
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
    })
  )

  it("is on call, each alert once, with its severity", () => {
    const page = readFileSync(new URL("../../docs/fleet.md", import.meta.url), "utf8")
    const told = [...page.matchAll(/^\| ([A-Z]\w+) +\| (page|ticket) /gm)].map(([, ...row]) => row.join(" "))
    const alerts = [...rules.matchAll(/- alert: (\w+)\n[\s\S]*?severity: (\w+)/g)].map(([, ...row]) => row.join(" "))
    assert.sameMembers(told, alerts)
  })
})
