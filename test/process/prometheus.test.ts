import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { launch } from "../../local/launcher.ts"
import { debianProgram } from "./debianProgram.ts"
import { eventually, makeSetup } from "./setup.ts"

const deploy = fileURLToPath(new URL("../../deploy/prometheus/", import.meta.url))
const missing = (await debianProgram("promtool", "prometheus")) ?? (await debianProgram("prometheus", "prometheus"))
if (missing !== null) process.stderr.write(`skipped: ${missing}\n`)

/** The name of the account that the setup creates. */
const ACCOUNT = "Acme"

/** What the dashboards query, with all accounts and runtimes selected. */
const dashboardExpressions = ["runtime", "fleet"].flatMap((name) => {
  const text = readFileSync(join(deploy, `../grafana/mission-control-${name}.json`), "utf8")
  return [...text.matchAll(/"expr": (".*")/g)].map(([, expression = ""]) =>
    String(JSON.parse(expression))
      .replace(/\$(account|instance)/g, ".*")
      .replaceAll("$__rate_interval", "1m")
  )
})

const promtool = (args: ReadonlyArray<string>, input = "") =>
  Effect.promise(
    () =>
      new Promise<{ readonly code: number | null; readonly output: string }>((resolve, reject) => {
        const child = spawn("promtool", args)
        let output = ""
        for (const stream of [child.stdout, child.stderr]) {
          stream.setEncoding("utf8").on("data", (chunk: string) => {
            output += chunk
          })
        }
        child.once("error", reject)
        child.once("close", (code) => resolve({ code, output }))
        child.stdin.end(input)
      })
  )

const textOf = (url: string) => Effect.promise(async () => await (await fetch(url)).text())
const jsonOf = (url: string) => Effect.map(textOf(url), (text): any => JSON.parse(text))

const freePort = Effect.promise(
  () =>
    new Promise<number>((resolve) => {
      const server = createServer().listen(0, "127.0.0.1", () => {
        const address = server.address()
        server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
      })
    })
)

describe.skipIf(missing !== null)("the files for Prometheus", () => {
  it.live("pass promtool's checks and tests", () =>
    Effect.gen(function* () {
      for (const args of [
        ["check", "rules", join(deploy, "mission-control.rules.yml")],
        ["check", "config", join(deploy, "prometheus.yml")],
        ["test", "rules", join(deploy, "mission-control.test.yml")]
      ]) {
        const { code, output } = yield* promtool(args)
        assert.strictEqual(code, 0, output)
      }
    })
  )
})

describe.skipIf(missing !== null)("/metrics of the running process", () => {
  it.live("passes promtool's checks, before and after work", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({ rules: [{ match: "mentioned you", actions: [{ text: "Here I am." }] }] })
      const runtime = yield* setup.startRuntime()
      const before = yield* textOf(`${runtime.url}/metrics`)
      assert.deepStrictEqual(yield* promtool(["check", "metrics"], before), { code: 0, output: "" })
      assert.match(before, /^mission_control_deliveries_total\{outcome="replied",type="mention"\} 0$/m)
      yield* setup.post(yield* setup.newTask(), "@engineer are you there?")
      const after = yield* eventually(textOf(`${runtime.url}/metrics`), (text) =>
        /^mission_control_deliveries_total\{outcome="replied",type="mention"\} 1$/m.test(text)
      )
      assert.deepStrictEqual(yield* promtool(["check", "metrics"], after), { code: 0, output: "" })
      assert.match(after, /^mission_control_ready 1$/m)
      assert.match(after, /^mission_control_status\{status="online"\} 1$/m)
      const [build = ""] = /^mission_control_build_info.*$/m.exec(after) ?? []
      const identity = { account_id: setup.account.accountId, account_name: ACCOUNT, runtime_id: "test" }
      for (const [label, value] of Object.entries(identity)) assert.include(build, `${label}="${value}"`)
      assert.match(after, /^mission_control_push_connected 1$/m)
      assert.match(after, /^mission_control_created_to_post_seconds_count [1-9]/m)
      assert.match(after, /^mission_control_tokens_total\{agent="engineer",direction="input"\} \d+$/m)
      assert.match(after, /^process_open_fds [1-9]\d*$/m)
      const { metrics } = yield* setup.health(runtime)
      assert.isAtLeast(metrics.deliveries.replied, 1)
      assert.isAtLeast(metrics.turns, 1)
    }).pipe(Effect.scoped)
  )

  it.live("is scraped by a real Prometheus, whose alert fires when the gateway is down", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const runtime = yield* setup.startRuntime()
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "prometheus-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
      )
      // The same files, with waiting times that suit a test.
      const rules = readFileSync(join(deploy, "mission-control.rules.yml"), "utf8").replace(/for: \d+m/g, "for: 0s")
      const config = readFileSync(join(deploy, "prometheus.yml"), "utf8")
        .replaceAll("15s", "1s")
        .replace("127.0.0.1:3000", new URL(runtime.url).host)
      writeFileSync(join(directory, "mission-control.rules.yml"), rules)
      writeFileSync(join(directory, "prometheus.yml"), config)
      mkdirSync(join(directory, "runtimes"))
      writeFileSync(
        join(directory, "runtimes/acme.yml"),
        `- { targets: ["${new URL(runtime.url).host}"], labels: { runtime: acme-1 } }`
      )
      const port = yield* freePort
      const url = `http://127.0.0.1:${port}`
      yield* launch({
        name: "prometheus",
        command: "prometheus",
        args: [
          `--config.file=${join(directory, "prometheus.yml")}`,
          `--storage.tsdb.path=${join(directory, "data")}`,
          `--web.listen-address=127.0.0.1:${port}`
        ],
        readiness: { url, probe: `${url}/-/ready` }
      })
      const valueOf = (query: string) =>
        Effect.map(jsonOf(`${url}/api/v1/query?query=${encodeURIComponent(query)}`), ({ data }) =>
          data.result[0] === undefined ? null : Number(data.result[0].value[1])
        )
      yield* eventually(valueOf("mission_control_gateway_up"), (value) => value === 1)
      const { data } = yield* jsonOf(`${url}/api/v1/rules`)
      const health = data.groups.flatMap(({ rules }: { rules: ReadonlyArray<{ health: string }> }) =>
        rules.map((rule) => rule.health)
      )
      assert.isAtLeast(health.length, 17)
      assert.notInclude(health, "err")
      const named = 'mission_control:runtime_info{account_name="' + ACCOUNT + '", instance="acme-1", runtime_id="test"}'
      yield* eventually(valueOf(named), (value) => value === 1)
      for (const expression of dashboardExpressions) {
        const answer = yield* jsonOf(`${url}/api/v1/query?query=${encodeURIComponent(expression)}`)
        assert.strictEqual(answer.status, "success", `${expression}: ${answer.error}`)
      }
      const firing = Effect.map(jsonOf(`${url}/api/v1/alerts`), ({ data }): ReadonlyArray<string> =>
        data.alerts.map(({ labels }: any) => `${labels.alertname} of ${labels.account_name}`)
      )
      assert.deepStrictEqual(yield* firing, [])
      yield* setup.gateway.signal("SIGKILL")
      yield* setup.post(yield* setup.newTask(), "@engineer are you there?")
      yield* eventually(firing, (names) => names.includes(`GatewayDown of ${ACCOUNT}`))
    }).pipe(Effect.scoped)
  )
})
