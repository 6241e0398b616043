import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { runtimeEnv } from "../../local/account.ts"
import { answerWith, startServer } from "../layers/scriptedServer.ts"
import { runIn } from "./runIn.ts"
import { eventually, makeSetup } from "./setup.ts"
import type { Setup } from "./setup.ts"
import { gatewaySettings, makeGatewayHome } from "./supervisedGateway.ts"

const envOf = (setup: Setup, more: Record<string, string> = {}): Record<string, string> =>
  runtimeEnv(setup.account, setup.plane.url, { url: setup.gateway.url }, { RUNTIME_ID: "test", ...more })

/** The plane's statistics since its start. */
const callsOf = (setup: Setup) =>
  Effect.promise(async () => {
    const response = await fetch(`${setup.plane.url}/__local/stats`, {
      headers: { authorization: `Convex ${setup.plane.adminKey}` }
    })
    return (await response.json()) as Record<string, any>
  })

const checksOf = (out: string) =>
  new Map<string, { status: string; message: string; fix: string | null }>(
    JSON.parse(out).checks.map((check: { id: string }) => [check.id, check])
  )

const ansi = "\u001b["

describe("the command line", () => {
  it.live("prints help with an example for every command, in plain text when piped", () =>
    Effect.gen(function* () {
      const help = yield* runIn({}, "--help")
      assert.strictEqual(help.code, 0)
      assert.notInclude(help.out, ansi)
      const commands = [
        ["start"],
        ["doctor"],
        ["status"],
        ["healthcheck"],
        ["deliver"],
        ["dead-letters", "list"],
        ["dead-letters", "show"],
        ["dead-letters", "retry"],
        ["dead-letters", "discard"],
        ["runs", "list"],
        ["runs", "show"],
        ["runs", "stop"],
        ["runs", "again"],
        ["pause"],
        ["resume"],
        ["profile", "plan"],
        ["profile", "apply"],
        ["sessions", "rotate"],
        ["token", "check"],
        ["config", "print"]
      ]
      const texts = yield* Effect.forEach(commands, (command) => runIn({}, ...command, "--help"), { concurrency: 2 })
      for (const [index, { code, out }] of texts.entries()) {
        const [name = ""] = commands[index] ?? []
        assert.include(help.out, name)
        assert.strictEqual(code, 0, name)
        assert.include(out, "EXAMPLES", name)
        // Only the program's own help has its global flags.
        for (const flag of ["--wizard", "--log-level", "--completions", "--version"]) assert.notInclude(out, flag, name)
        assert.include(out, `mission-control-runtime ${commands[index]?.join(" ")}`, name)
      }
      const completions = yield* runIn({}, "--completions", "bash")
      assert.include(completions.out, "dead-letters")
    })
  )

  it.live("exits with 64 for wrong arguments and 78 for wrong settings, with an empty standard output", () =>
    Effect.gen(function* () {
      for (const args of [["no-such-command"], ["dead-letters", "retry"], ["status", "--no-such"]]) {
        const { code, err, out } = yield* runIn({}, ...args)
        assert.strictEqual(code, 64, args.join(" "))
        // The error and a pointer to the help, not the help itself.
        assert.match(err, /^.+\nSee mission-control-runtime.* --help\.\n$/, args.join(" "))
        assert.strictEqual(out, "", args.join(" "))
      }
      // Wrong with any variables: wrong arguments are reported before wrong settings.
      const undry = yield* runIn({}, "deliver", "some-id")
      assert.deepStrictEqual([undry.code, undry.out], [64, ""])
      assert.include(undry.err, "--dry-run")
      assert.strictEqual((yield* runIn({}, "deliver", "--dry-run", "some-id")).code, 78)
      const { code, err, out } = yield* runIn({ ACOUNT_ID: "k57account" }, "token", "check")
      assert.strictEqual(code, 78)
      assert.strictEqual(out, "")
      for (const words of ["ACCOUNT_ID is missing", "CONVEX_URL is missing", "SERVICE_TOKEN is missing"]) {
        assert.include(err, words)
      }
      assert.include(err, "ACOUNT_ID is set, but no such variable is read: did you mean ACCOUNT_ID?")
      // The number of problems is right; a name that looks misspelt is not one.
      const [, counted] = /The configuration has (\d+) problems:\n((?: {2}- .*\n)*)/.exec(err)?.slice(1) ?? []
      assert.lengthOf((counted ?? "").trimEnd().split("\n"), 3)
      const started = yield* runIn({ ACOUNT_ID: "k57account" }, "start")
      assert.strictEqual(started.code, 78)
      assert.include(started.err, "did you mean ACCOUNT_ID?")
    })
  )

  it.live("prints the settings with their origin and without secrets, even if they are invalid", () =>
    Effect.gen(function* () {
      const secret = "0123456789abcdef".repeat(4)
      const env = {
        ACCOUNT_ID: "k57account",
        CONVEX_URL: "http://127.0.0.1:1",
        SERVICE_TOKEN: `mc_service_k57account_${secret}`
      }
      const good = yield* runIn(env, "config", "print")
      assert.strictEqual(good.code, 0)
      assert.match(good.out, /^ACCOUNT_ID +k57account +environment$/m)
      assert.match(good.out, /^HEALTH_PORT +3000 +default$/m)
      assert.match(good.out, /^SERVICE_TOKEN +<redacted> +environment$/m)
      const bad = yield* runIn({ ...env, HEALTH_PORT: "x" }, "config", "print", "--json")
      assert.strictEqual(bad.code, 78)
      assert.include(bad.err, "HEALTH_PORT")
      assert.isAbove(JSON.parse(bad.out).length, 40)
      for (const { err, out } of [good, bad]) assert.notInclude(out + err, secret)
    })
  )

  it.live("shows the state of this machine's runtime, and reports if none answers", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const runtime = yield* setup.startRuntime({ DELIVERY_LEASE: "1" })
      assert.include(runtime.output(), "DELIVERY_LEASE is set, but no such variable is read")
      const env = { HEALTH_PORT: new URL(runtime.url).port }
      assert.deepStrictEqual(yield* runIn(env, "healthcheck"), { code: 0, out: "live\n", err: "" })
      const screen = yield* runIn(env, "status")
      assert.strictEqual(screen.code, 0)
      assert.match(screen.out, /^status +healthy, ready, up /m)
      assert.match(screen.out, /^control plane +push connected$/m)
      assert.match(screen.out, /^running turns +0 of 8$/m)
      assert.notInclude(screen.out, ansi)
      const json = yield* runIn({}, "status", "--json", "--url", runtime.url)
      assert.strictEqual(JSON.parse(json.out).lifecycle, "ready")
      yield* setup.gateway.signal("SIGKILL")
      const degraded = yield* eventually(runIn(env, "status"), ({ code }) => code !== 0)
      assert.strictEqual(degraded.code, 2)
      assert.match(degraded.out, /^status +degraded, not ready, up /m)
      assert.match(degraded.out, /^reason +gateway: /m)
      assert.deepInclude(yield* runIn(env, "healthcheck"), { code: 0 })
      yield* runtime.signal("SIGTERM")
      yield* runtime.exit
      for (const command of ["healthcheck", "status"]) {
        const { code, err, out } = yield* runIn(env, command)
        assert.strictEqual(code, 1, command)
        assert.strictEqual(out, "", command)
        assert.include(err, "No runtime answers", command)
      }
    }).pipe(Effect.scoped)
  )

  it.live("distinguishes an accepted token, a refused one, and a deployment that is down", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const accepted = yield* runIn(envOf(setup), "token", "check", "--json")
      assert.strictEqual(accepted.code, 0, accepted.err)
      assert.isTrue(JSON.parse(accepted.out).accepted)
      const unknown = `mc_service_${setup.account.accountId}_${"0".repeat(64)}`
      const refused = yield* runIn(envOf(setup, { SERVICE_TOKEN: unknown }), "token", "check")
      assert.strictEqual(refused.code, 77)
      assert.notInclude(refused.err, "0".repeat(64))
      const down = yield* runIn(envOf(setup, { CONVEX_URL: "http://127.0.0.1:1" }), "token", "check")
      assert.strictEqual(down.code, 69)
    }).pipe(Effect.scoped)
  )

  it.live("shows a delivery in advance, without a write to the control plane", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const taskId = yield* setup.newTask("Fix the login button")
      yield* setup.post(taskId, "@engineer are you there?")
      const [row] = yield* eventually(setup.notifications, (rows) => rows.some(({ type }) => type === "mention"))
      const id = row?.id ?? ""
      const before = yield* callsOf(setup)
      const rows = yield* setup.notifications
      const shown = yield* runIn(envOf(setup), "deliver", "--dry-run", id)
      assert.strictEqual(shown.code, 0, shown.err)
      assert.match(shown.out, /^session +agent:engineer:/m)
      assert.match(shown.out, /^endpoint +POST http:\/\/127\.0\.0\.1:\d+\/v1\/responses$/m)
      assert.match(shown.out, /^verdict +deliver mention /m)
      assert.match(shown.out, /^tools .*task_status/m)
      assert.include(shown.out, "are you there?")
      const json = JSON.parse((yield* runIn(envOf(setup), "deliver", "--dry-run", "--json", id)).out)
      assert.strictEqual(json.agent, "engineer")
      assert.include(json.prompt.input, "are you there?")
      assert.deepStrictEqual(yield* setup.notifications, rows)
      assert.strictEqual(yield* setup.posts, 0)
      // The plane's timestamp increases with every transaction that writes.
      const after = yield* callsOf(setup)
      assert.strictEqual(after["timestamp"], before["timestamp"])
      assert.match(shown.out, /^state +ready: waiting for delivery$/m)
      assert.strictEqual((yield* runIn(envOf(setup), "deliver", id)).code, 64)
      const unknown = yield* runIn(envOf(setup), "deliver", "--dry-run", "nothing")
      assert.strictEqual(unknown.code, 1)
      assert.include(unknown.err, "notification_missing")
      yield* setup.script({ rules: [{ match: "mentioned you", actions: [{ text: "Here." }] }] })
      yield* setup.startRuntime()
      yield* eventually(setup.notifications, (all) => all.some((each) => each.id === id && each.state === "delivered"))
      const finished = yield* runIn(envOf(setup), "deliver", "--dry-run", id)
      assert.match(finished.out, /^state +delivered \(replied\): finished, no runtime delivers it again/m)
    }).pipe(Effect.scoped)
  )

  it.live("lists, shows, retries and discards dead letters, as an operator or as a person", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const empty = yield* runIn(envOf(setup), "dead-letters", "list")
      assert.deepStrictEqual(empty, { code: 0, out: "", err: "No dead letters.\n" })
      const runtime = yield* setup.startRuntime({
        DELIVERY_MAX_ATTEMPTS: "1",
        DELIVERY_BACKOFF_BASE_MS: "1000",
        DELIVERY_BACKOFF_MAX_MS: "1000"
      })
      yield* setup.fault({ kind: "garbage", agent: "engineer" })
      yield* setup.fault({ kind: "garbage", agent: "qa" })
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer @qa hello")
      yield* eventually(setup.notifications, (rows) => rows.filter(({ state }) => state === "dead").length === 2)
      yield* runtime.signal("SIGTERM")
      yield* runtime.exit
      const letters = JSON.parse((yield* runIn(envOf(setup), "dead-letters", "list", "--json")).out)
      assert.lengthOf(letters, 2)
      const [{ id }, other] = letters
      const short = id.slice(0, 8)
      assert.include((yield* runIn(envOf(setup), "dead-letters", "list")).out, `${short} `)
      assert.match((yield* runIn(envOf(setup), "dead-letters", "show", short)).out, /^error +TurnUnreadable: /m)
      assert.strictEqual((yield* runIn(envOf(setup), "dead-letters", "retry", id)).code, 0)
      assert.strictEqual((yield* setup.notifications).find((row) => row.id === id)?.state, "ready")
      const again = yield* runIn(envOf(setup), "dead-letters", "discard", id)
      assert.strictEqual(again.code, 1)
      assert.include(again.err, "not a dead letter")
      const asPat = {
        CONVEX_URL: setup.plane.url,
        CONVEX_DEPLOY_KEY: setup.plane.adminKey,
        MISSION_CONTROL_IDENTITY: JSON.stringify({ issuer: "https://local.invalid", subject: "pat", name: "Pat" })
      }
      assert.include((yield* runIn(asPat, "dead-letters", "list")).out, other.id.slice(0, 8))
      assert.strictEqual((yield* runIn(asPat, "dead-letters", "discard", other.id)).code, 0)
      assert.strictEqual((yield* runIn(asPat, "dead-letters", "retry", other.id)).code, 1)
      assert.include((yield* runIn(envOf(setup), "runs", "show", other.id)).out, "discarded by Pat")
      assert.include((yield* runIn(envOf(setup), "runs", "show", id)).out, "retried by Operator")
    }).pipe(Effect.scoped)
  )

  it.live("starts new generations of an agent's sessions, and reports if the task has none", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@qa hello")
      const none = yield* runIn(envOf(setup), "sessions", "rotate", "qa", "--task", taskId)
      assert.strictEqual(none.code, 1)
      assert.include(none.err, "nothing to rotate")
      const rotated = yield* runIn(envOf(setup), "sessions", "rotate", "qa")
      assert.strictEqual(rotated.code, 0, rotated.err)
      // The sessions of deliveries and of heartbeats.
      assert.include(rotated.err, "2 sessions start over")
    }).pipe(Effect.scoped)
  )

  it.live("plans the agents' workspaces without a write, applies the plan, and then has an empty plan", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "profile-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true }))
      )
      const env = envOf(setup, { OPENCLAW_STATE_DIR: folder })
      const planned = yield* runIn(env, "profile", "plan")
      assert.strictEqual(planned.code, 0, planned.err)
      assert.include(planned.out, `write   ${folder}/workspaces/engineer/SOUL.md`)
      assert.include(planned.out, `change  ${folder}/openclaw.json`)
      assert.deepStrictEqual(readdirSync(folder), [])
      const applied = yield* runIn(env, "profile", "apply")
      assert.strictEqual(applied.code, 0, applied.err)
      assert.isTrue(existsSync(join(folder, "workspaces/engineer/SOUL.md")))
      const again = yield* runIn(env, "profile", "plan")
      assert.deepStrictEqual(again, { code: 0, out: "", err: "Nothing to change.\n" })
    }).pipe(Effect.scoped)
  )

  it.live("the doctor reports a healthy account as healthy, and the problems of a broken one", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const state = { OPENCLAW_STATE_DIR: "/tmp", OPENCLAW_CONFIG_PATH: "/nonexistent/openclaw.json" }
      const free = { HEALTH_PORT: String(40_000 + (process.pid % 20_000)) }
      const healthy = yield* runIn(envOf(setup, { ...state, ...free }), "doctor", "--json")
      const checks = checksOf(healthy.out)
      assert.isAtLeast(checks.size, 20)
      const wrong = [...checks.values()].filter(({ status }) => status === "warn" || status === "fail")
      assert.deepStrictEqual(wrong, [])
      assert.strictEqual(healthy.code, 0, healthy.err)

      const port = new URL(setup.plane.url).port
      const broken = yield* runIn(
        envOf(setup, {
          ...state,
          HEALTH_PORT: port,
          SERVICE_TOKEN: `mc_service_${setup.account.accountId}_${"0".repeat(64)}`,
          OPENCLAW_GATEWAY_URL: "http://127.0.0.1:1",
          DELIVERY_LEASE: "90000"
        }),
        "doctor"
      )
      assert.strictEqual(broken.code, 2)
      assert.notInclude(broken.out, ansi)
      for (const id of ["token-accepted", "gateway-reachable", "health-port"]) {
        assert.match(broken.out, new RegExp(`^fail  ${id} `, "m"))
      }
      assert.match(broken.out, /^warn {2}variable-names .*DELIVERY_LEASE_MS/m)
      assert.notMatch(broken.out, /^(ok|skip) /m)
      assert.include(broken.out, "-> provision a new token")

      const unusable = yield* runIn({ HEALTH_PORT: "x" }, "doctor", "--json")
      assert.strictEqual(unusable.code, 2)
      assert.strictEqual(checksOf(unusable.out).get("variables")?.status, "fail")
      assert.strictEqual(checksOf(unusable.out).size, checks.size)
    }).pipe(Effect.scoped)
  )

  it.live("the doctor validates the configuration by the gateway's command with --validate", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome(gatewaySettings(["squad-lead", "engineer", "qa"]))
      const judged = Effect.fnUntraced(function* (more: Record<string, string> = {}, ...args: ReadonlyArray<string>) {
        const env = { ...home.env, OPENCLAW_GATEWAY_URL: setup.gateway.url, OPENCLAW_CONFIG_PATH: home.configPath }
        const { out } = yield* runIn(envOf(setup, { ...env, ...more }), "doctor", "--json", ...args)
        return checksOf(out).get("gateway-configuration-valid")
      })
      assert.strictEqual((yield* judged())?.status, "skip")
      assert.strictEqual((yield* judged({}, "--validate"))?.status, "ok")
      home.writeConfig({ gateway: { port: "no port" } })
      const invalid = yield* judged({}, "--validate")
      assert.strictEqual(invalid?.status, "fail")
      assert.include(invalid?.message, "gateway.port")
      const missing = yield* judged({ OPENCLAW_GATEWAY_PATH: "/nonexistent/openclaw" }, "--validate")
      assert.strictEqual(missing?.status, "warn")
      assert.include(missing?.message, "was not checked")
      assert.notInclude(missing?.message, "invalid")
    }).pipe(Effect.scoped)
  )

  it.live("the doctor warns of a gateway that resets the agents' sessions, unless profile sync prevents it", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome({
        ...gatewaySettings(["squad-lead", "engineer", "qa"]),
        session: { reset: { mode: "daily" } }
      })
      const judged = Effect.fnUntraced(function* (profileSync: string) {
        const env = { ...home.env, OPENCLAW_GATEWAY_URL: setup.gateway.url, OPENCLAW_CONFIG_PATH: home.configPath }
        const { out } = yield* runIn(envOf(setup, { ...env, OPENCLAW_PROFILE_SYNC: profileSync }), "doctor", "--json")
        return checksOf(out).get("session-reset")
      })
      const found = yield* judged("false")
      assert.strictEqual(found?.status, "warn")
      assert.include(found?.fix, "session.reset.mode")
      assert.strictEqual((yield* judged("true"))?.status, "skip")
    }).pipe(Effect.scoped)
  )

  it.live("the doctor's canary is one tool call of an agent in a separate session", () =>
    Effect.gen(function* () {
      const state = { OPENCLAW_STATE_DIR: "/tmp", OPENCLAW_CONFIG_PATH: "/nonexistent/openclaw.json" }
      const canaryOf = Effect.fnUntraced(function* (toolSearch: boolean) {
        const setup = yield* makeSetup({ gatewayArgs: ["--tool-search", String(toolSearch)] })
        const { out } = yield* runIn(envOf(setup, state), "doctor", "--canary", "--json")
        return checksOf(out).get("canary")
      })
      assert.strictEqual((yield* canaryOf(false))?.status, "ok")
      const hidden = yield* canaryOf(true)
      assert.strictEqual(hidden?.status, "fail")
      assert.include(hidden?.message, "There is no such tool.")
      assert.include(hidden?.fix, "tools.toolSearch")
    }).pipe(Effect.scoped)
  )

  it.live("the doctor finds the random token of a gateway that the runtime started", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome(gatewaySettings(["squad-lead", "engineer", "qa"]))
      const runtime = yield* setup.startRuntime(home.env, { readyPath: "/readyz" })
      // As a person may edit it: with a byte order mark and a comment, which the gateway accepts.
      home.writeConfig(`\uFEFF// ours\n${JSON.stringify(gatewaySettings(["squad-lead", "engineer", "qa"]))}`)
      const env = envOf(setup, { ...home.env, HEALTH_PORT: new URL(runtime.url).port })
      const { code, err, out } = yield* runIn(env, "doctor", "--canary", "--json")
      const checks = checksOf(out)
      const wrong = [...checks].filter(([, { status }]) => status === "warn" || status === "fail")
      assert.deepStrictEqual(wrong, [])
      assert.strictEqual(code, 0, err)
      for (const id of ["gateway-token", "agents-known", "canary"]) {
        assert.strictEqual(checks.get(id)?.status, "ok", id)
      }
      const unknown = yield* runIn({ ...env, OPENCLAW_STATE_DIR: home.folder }, "doctor", "--canary", "--json")
      for (const id of ["gateway-token", "agents-known", "canary"]) {
        assert.strictEqual(checksOf(unknown.out).get(id)?.status, "skip", id)
      }
    }).pipe(Effect.scoped)
  )

  it.live("the doctor goes through the proxy to an https deployment, as the runtime does", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const proxy = yield* Effect.acquireRelease(
        Effect.callback<Server>((resume) => {
          const server = createServer().on("connect", (_, socket) => void socket.end("HTTP/1.1 403 Forbidden\r\n\r\n"))
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = proxy.address() as AddressInfo
      const env = { CONVEX_URL: "https://name-123.convex.cloud", HTTPS_PROXY: `http://127.0.0.1:${port}` }
      const { out } = yield* runIn(envOf(setup, env), "doctor", "--json")
      const reachable = checksOf(out).get("control-plane-reachable")
      assert.include(
        reachable?.message,
        "the proxy in HTTPS_PROXY refuses a connection to name-123.convex.cloud (HTTP 403)"
      )
      assert.strictEqual(checksOf(out).get("gateway-reachable")?.status, "ok")
    }).pipe(Effect.scoped)
  )

  it.live("start, /readyz and the doctor report the same problem of an address", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const server = yield* startServer
      server.answer("*", answerWith(200, "<html>Welcome</html>", { "content-type": "text/html" }))
      const words = "another server answers at"
      for (const [variable, concern, check] of [
        ["CONVEX_URL", "control-plane", "control-plane-reachable"],
        ["OPENCLAW_GATEWAY_URL", "gateway", "gateway-reachable"]
      ] as const) {
        const env = { [variable]: server.url }
        const runtime = yield* setup.startRuntime(env, { readyPath: "/livez" })
        const readyz = Effect.promise(async () => (await fetch(`${runtime.url}/readyz`)).text())
        yield* eventually(readyz, (body) => body.includes(`"${concern}: `) && body.includes(words))
        assert.include(runtime.output(), words)
        const { out } = yield* runIn(envOf(setup, env), "doctor", "--json")
        assert.include(checksOf(out).get(check)?.message, words)
        assert.include(checksOf(out).get(check)?.fix, variable)
      }
    }).pipe(Effect.scoped)
  )
})
