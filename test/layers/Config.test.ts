import { homedir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, FileSystem, Layer, Option, PlatformError, Redacted } from "effect"
import { allVariables } from "../../src/domain/settings/Variables.ts"
import { EnvironmentNames, RuntimeConfig } from "../../src/layers/Config.ts"
import type { Settings } from "../../src/layers/Config.ts"
import { printSettings } from "../../src/layers/config/ConfigPrint.ts"
import { readLocalUrl } from "../../src/layers/config/LocalAddress.ts"
import { readServiceManager } from "../../src/layers/host/Systemd.ts"

const secret = "0123456789abcdef".repeat(4)
const token = `mc_service_k57account_${secret}`

/** An environment that is complete. */
const complete = {
  ACCOUNT_ID: "k57account",
  CONVEX_URL: "https://happy-animal-123.convex.cloud",
  SERVICE_TOKEN: token
}

const files: Record<string, string> = {
  "/run/secrets/service": `${token}\n`,
  "/run/secrets/gateway": "gateway-token-from-a-file\n",
  "/run/secrets/empty": " \n",
  "/run/secrets/line": `SERVICE_TOKEN="${token}"\r\n`,
  "/run/secrets/half": `"${token}\n`
}

const fileSystem = FileSystem.layerNoop({
  readFileString: (path) => {
    const content = files[path]
    return content === undefined
      ? Effect.fail(
          PlatformError.systemError({
            _tag: path === "/run/secrets" ? "BadResource" : "NotFound",
            module: "FileSystem",
            method: "readFileString",
            pathOrDescriptor: path
          })
        )
      : Effect.succeed(content)
  }
})

const read = (env: Record<string, string>) =>
  Effect.provide(
    RuntimeConfig,
    RuntimeConfig.layer.pipe(
      Layer.provide([
        fileSystem,
        ConfigProvider.layer(ConfigProvider.fromEnvRecord(env)),
        Layer.succeed(EnvironmentNames, Object.keys(env))
      ])
    )
  )

/** The problems of an environment, none when it can be used. */
const problemsOf = (env: Record<string, string>) =>
  read(env).pipe(
    Effect.as<ReadonlyArray<string>>([]),
    Effect.catchTag("ConfigInvalid", ({ problems }) => Effect.succeed(problems))
  )

const problemsWith = (changes: Record<string, string>) => problemsOf({ ...complete, ...changes })

describe("a complete environment", () => {
  it.effect("is enough with three variables; everything else has its documented default", () =>
    Effect.gen(function* () {
      const settings = yield* read(complete)
      assert.strictEqual(settings.accountId, "k57account")
      assert.strictEqual(settings.convexUrl, "https://happy-animal-123.convex.cloud")
      assert.strictEqual(Redacted.value(settings.serviceToken), token)
      assert.isNotEmpty(settings.runtimeId)
      assert.strictEqual(settings.healthHost, "127.0.0.1")
      assert.strictEqual(settings.healthPort, 3000)
      assert.strictEqual(settings.taskStatusBaseUrl, "http://127.0.0.1:3000")
      assert.deepStrictEqual(settings.gatewayUrl, Option.none())
      assert.deepStrictEqual(settings.gatewayToken, Option.none())
      const millis: ReadonlyArray<readonly [keyof Settings, number]> = [
        ["deliveryInterval", 15_000],
        ["deliveryBackoffBase", 5_000],
        ["deliveryBackoffMax", 300_000],
        ["deliveryLease", 90_000],
        ["gatewayRequestTimeout", 900_000],
        ["turnTimeout", 900_000],
        ["quietTime", 60_000],
        ["quietTimeLimit", 300_000],
        ["healthCheckInterval", 60_000],
        ["drainTimeout", 25_000]
      ]
      for (const [name, value] of millis) {
        assert.strictEqual(Duration.toMillis(settings[name] as Duration.Duration), value, name)
      }
      const numbers: ReadonlyArray<readonly [keyof Settings, number]> = [
        ["deliveryMaxConcurrentSessions", 8],
        ["deliveryMaxAttempts", 8],
        ["noResponseLimit", 3],
        ["maxToolRounds", 10],
        ["maxAgentHops", 12],
        ["maxAgentTurnsPerTask", 40]
      ]
      for (const [name, value] of numbers) assert.strictEqual(settings[name], value, name)
      assert.strictEqual(settings.logLevel, "info")
      assert.strictEqual(settings.logFormat, "auto")
    })
  )

  it.effect("gives one request as long as the turn, unless it says otherwise", () =>
    Effect.gen(function* () {
      const longer = yield* read({ ...complete, TURN_TIMEOUT_MS: "7200000" })
      assert.strictEqual(Duration.toMillis(longer.gatewayRequestTimeout), 7_200_000)
      const both = { TURN_TIMEOUT_MS: "7200000", OPENCLAW_REQUEST_TIMEOUT_MS: "3600000" }
      assert.strictEqual(Duration.toMillis((yield* read({ ...complete, ...both })).gatewayRequestTimeout), 3_600_000)
    })
  )

  it.effect("may have space around its values and a slash behind its addresses", () =>
    Effect.gen(function* () {
      const settings = yield* read({
        ACCOUNT_ID: " k57account ",
        CONVEX_URL: " https://happy-animal-123.convex.cloud/ ",
        SERVICE_TOKEN: ` ${token}\n`,
        OPENCLAW_GATEWAY_URL: "http://localhost:18789//",
        HEALTH_PORT: " 8080 ",
        LOG_LEVEL: "DEBUG"
      })
      assert.strictEqual(settings.convexUrl, "https://happy-animal-123.convex.cloud")
      assert.deepStrictEqual(settings.gatewayUrl, Option.some("http://localhost:18789"))
      assert.strictEqual(Redacted.value(settings.serviceToken), token)
      assert.strictEqual(settings.healthPort, 8080)
      assert.strictEqual(settings.logLevel, "debug")
    })
  )

  it.effect("means the same in quotation marks, with a line end of Windows and with a byte order mark", () =>
    Effect.gen(function* () {
      const plain = {
        ...complete,
        HEALTH_HOST: "0.0.0.0",
        HEALTH_PORT: "8080",
        LOG_LEVEL: "debug",
        OPENCLAW_GATEWAY_URL: "http://10.0.0.2:18789",
        OPENCLAW_GATEWAY_TOKEN: "gateway-token",
        OPENCLAW_STATE_DIR: "/var/lib/openclaw",
        UPGRADE_COMMAND: "/opt/upgrade now"
      }
      const comparable = (settings: Settings) => ({
        ...settings,
        gatewayToken: Option.map(settings.gatewayToken, Redacted.value),
        serviceToken: Redacted.value(settings.serviceToken),
        // Functions are equal to themselves only.
        readCredentials: null
      })
      const expected = comparable(yield* read(plain))
      const forms: ReadonlyArray<(value: string) => string> = [
        (value) => `"${value}"`,
        (value) => `'${value}'`,
        (value) => `'"${value}"'`,
        (value) => `" ${value} "`,
        (value) => `${value}\r\n`,
        (value) => `\uFEFF${value}`
      ]
      for (const form of forms) {
        const written = Object.fromEntries(Object.entries(plain).map(([name, value]) => [name, form(value)]))
        assert.deepStrictEqual(comparable(yield* read(written)), expected, form("value"))
      }
    })
  )

  it.effect("puts the home folder into paths that name it, and never makes a folder named ~", () =>
    Effect.gen(function* () {
      for (const home of ["~", "$HOME", "${HOME}"]) {
        const settings = yield* read({
          ...complete,
          OPENCLAW_STATE_DIR: `${home}/.openclaw`,
          OPENCLAW_WORKSPACE_ROOT: home,
          OPENCLAW_GATEWAY_PATH: `${home}/bin/openclaw`,
          UPGRADE_COMMAND: `${home}/bin/upgrade --from ${home}/releases`
        })
        assert.strictEqual(settings.stateDir, join(homedir(), ".openclaw"))
        assert.strictEqual(settings.gatewayConfigPath, join(homedir(), ".openclaw/openclaw.json"))
        assert.strictEqual(settings.workspaceRoot, homedir())
        assert.strictEqual(settings.gatewayPath, join(homedir(), "bin/openclaw"))
        assert.deepStrictEqual(
          settings.upgradeCommand,
          Option.some([join(homedir(), "bin/upgrade"), "--from", join(homedir(), "releases")])
        )
      }
    })
  )

  it.effect("may name its proxy in lower case, whose credentials are shown nowhere", () =>
    Effect.gen(function* () {
      const settings = yield* read({
        ...complete,
        https_proxy: "http://pat:hunter2@proxy:3128",
        http_proxy: "http://proxy:3128",
        NO_PROXY: "a.example,b.example"
      })
      assert.deepStrictEqual(Option.map(settings.proxy, Redacted.value), Option.some("http://pat:hunter2@proxy:3128/"))
      assert.strictEqual(settings.noProxy, "a.example,b.example")
      assert.deepStrictEqual(settings.hints, [])
      assert.notInclude(JSON.stringify(settings), "hunter2")
    })
  )

  it.effect("takes an empty variable for an absent one", () =>
    Effect.gen(function* () {
      const settings = yield* read({ ...complete, HEALTH_PORT: "", OPENCLAW_GATEWAY_URL: "  ", LOG_LEVEL: "" })
      assert.strictEqual(settings.healthPort, 3000)
      assert.deepStrictEqual(settings.gatewayUrl, Option.none())
    })
  )

  it.effect("prints no secret when it is printed", () =>
    Effect.gen(function* () {
      const settings = yield* read({ ...complete, OPENCLAW_GATEWAY_TOKEN: "a-gateway-token" })
      const printed = `${JSON.stringify(settings)} ${String(settings.serviceToken)}`
      assert.notInclude(printed, secret)
      assert.notInclude(printed, "a-gateway-token")
    })
  )
})

describe("secrets in files", () => {
  it.effect("are read without the line's end", () =>
    Effect.gen(function* () {
      const { SERVICE_TOKEN: _, ...others } = complete
      const settings = yield* read({
        ...others,
        SERVICE_TOKEN_FILE: "/run/secrets/service",
        OPENCLAW_GATEWAY_TOKEN_FILE: "/run/secrets/gateway"
      })
      assert.strictEqual(Redacted.value(settings.serviceToken), token)
      assert.deepStrictEqual(
        Option.map(settings.gatewayToken, Redacted.value),
        Option.some("gateway-token-from-a-file")
      )
    })
  )

  it.effect("may be lines of an env file", () =>
    Effect.gen(function* () {
      const { SERVICE_TOKEN: _, ...others } = complete
      const settings = yield* read({ ...others, SERVICE_TOKEN_FILE: '"/run/secrets/line"' })
      assert.strictEqual(Redacted.value(settings.serviceToken), token)
    })
  )

  it.effect("are named by their path when they hold no secret or are folders", () =>
    Effect.gen(function* () {
      const { SERVICE_TOKEN: _, ...others } = complete
      const half = yield* problemsOf({ ...others, SERVICE_TOKEN_FILE: "/run/secrets/half" })
      assert.lengthOf(half, 1)
      assert.include(half[0] ?? "", 'SERVICE_TOKEN in the file "/run/secrets/half" contains a quotation mark')
      assert.notInclude(half[0] ?? "", secret)
      const folder = yield* problemsOf({ ...others, SERVICE_TOKEN_FILE: "/run/secrets" })
      assert.include(folder[0] ?? "", 'SERVICE_TOKEN_FILE is "/run/secrets", which is not a file')
    })
  )

  it.effect("are a problem when they cannot be read or are empty, by variable and path", () =>
    Effect.gen(function* () {
      const { SERVICE_TOKEN: _, ...others } = complete
      const missing = yield* problemsOf({ ...others, SERVICE_TOKEN_FILE: "/run/secrets/nothing" })
      assert.lengthOf(missing, 1)
      assert.include(missing[0] ?? "", 'SERVICE_TOKEN_FILE is "/run/secrets/nothing", which cannot be read (NotFound)')
      const empty = yield* problemsWith({
        OPENCLAW_GATEWAY_URL: "https://gateway.example",
        OPENCLAW_GATEWAY_TOKEN_FILE: "/run/secrets/empty"
      })
      assert.lengthOf(empty, 1)
      assert.include(empty[0] ?? "", "OPENCLAW_GATEWAY_TOKEN_FILE")
    })
  )
})

/** Each variable's bad values, and what the message must say beside its name. */
const bad: ReadonlyArray<readonly [name: string, values: ReadonlyArray<string>, says: ReadonlyArray<string>]> = [
  ["ACCOUNT_ID", ["short", "with-hyphen-in-it", "a".repeat(65)], ["8 to 64"]],
  ["CONVEX_URL", ["happy-animal-123", "ftp://happy.example", "https://user:pass@happy.example"], ["https://"]],
  [
    "SERVICE_TOKEN",
    ["nonsense", "mc_service_", `mc_service_k57account_${"g".repeat(64)}`, `mc_service_k57account_${"a".repeat(63)}`],
    ["mc_service_{accountId}_{64 hex digits}"]
  ],
  ["HTTPS_PROXY", ["socks5://proxy", "http://pat:hunter2%@proxy"], ["the proxy's address"]],
  ["HEALTH_HOST", ["http://0.0.0.0", "0.0.0.0:3000", "*", "$(hostname)"], ["host name or an IP address"]],
  [
    "OPENCLAW_STATE_DIR",
    ["~other/.openclaw", "$STATE/openclaw", "%h/.openclaw", '"/a', "file:///a", "/a # state"],
    ["path"]
  ],
  ["UPGRADE_COMMAND", ['sh -c "upgrade"', "~other/upgrade"], ["separated by spaces"]],
  ["RUNTIME_ID", ["${HOSTNAME}", "$HOSTNAME"], ["unresolved reference"]],
  ["HEALTH_PORT", ["0", "65536", "-1", "80.5", "http", "1e3", "0x50"], ["1 to 65535"]],
  ["DELIVERY_INTERVAL", ["999", "86400001", "15s"], ["1000 to 86400000"]],
  ["DELIVERY_BACKOFF_BASE_MS", ["999", "none"], ["1000 to"]],
  ["DELIVERY_BACKOFF_MAX_MS", ["999", "none"], ["1000 to"]],
  ["DELIVERY_LEASE_MS", ["2999", "600001"], ["3000 to 600000"]],
  ["DELIVERY_MAX_CONCURRENT_SESSIONS", ["0", "101"], ["1 to 100"]],
  ["DELIVERY_MAX_ATTEMPTS", ["0", "101"], ["1 to 100"]],
  ["NO_RESPONSE_LIMIT", ["0", "NaN"], ["1 to 100"]],
  ["MAX_TOOL_ROUNDS", ["0", "Infinity"], ["1 to 100"]],
  ["MAX_AGENT_HOPS", ["0", ""], []],
  ["SESSION_TOKEN_LIMIT", ["-1", "", "many"], ["0"]],
  ["MAX_AGENT_TURNS_PER_TASK", ["0", "10001"], ["1 to 10000"]],
  ["QUIET_TIME", ["-1", "86400001"], ["0 to 86400000"]],
  ["QUIET_TIME_LIMIT", ["-1", "5m"], ["0 to 86400000"]],
  ["OPENCLAW_REQUEST_TIMEOUT_MS", ["4999", "86400001"], ["5000 to 86400000"]],
  ["TURN_TIMEOUT_MS", ["4999"], ["5000 to"]],
  ["HEALTH_CHECK_INTERVAL", ["4999"], ["5000 to"]],
  ["AGENT_SYNC_INTERVAL", ["999", "86400001"], ["1000 to 86400000"]],
  ["HEARTBEAT_SKIP_IDLE", ["yes", "1"], ["true, false"]],
  ["DRAIN_TIMEOUT_MS", ["-1"], ["0 to"]],
  ["LOG_LEVEL", ["loud"], ["trace, debug, info, warn, error"]],
  ["LOG_FORMAT", ["xml"], ["auto, json, pretty"]],
  [
    "OPENCLAW_GATEWAY_URL",
    ["gateway.example:18789", "ws://127.0.0.1:18789", "http://pat:hunter2@127.0.0.1"],
    ["http://"]
  ],
  ["OPENCLAW_GATEWAY_TOKEN", ["two words", "tökén"], ["HTTP header"]],
  ["OPENCLAW_GATEWAY_PORT", ["0", "65536"], ["1 to 65535"]],
  ["OPENCLAW_GATEWAY_ARGS", ["gateway run --port 1", "gateway run --token=x"], ["OPENCLAW_GATEWAY_"]],
  ["OPENCLAW_CLIENT_TOOLS_ENABLED", ["yes", "1"], ["true, false"]],
  ["OPENCLAW_GATEWAY_EVENTS", ["yes", "1"], ["true, false"]],
  ["OPENCLAW_PROFILE_SYNC", ["on"], ["true, false"]],
  ["TRACE_CONTENT", ["all"], ["true, false"]],
  ["AGENT_HTTP_ALLOW", ["10.0.0.1/8", "everyone"], ["CIDR"]],
  ["AGENT_HTTP_AUTH", ["none"], ["capability, session-key"]],
  ["TASK_STATUS_BASE_URL", ["runtime:3000", "ftp://here"], ["address by which the gateway reaches"]],
  ["OTEL_EXPORTER_OTLP_ENDPOINT", ["collector:4318", "grpc://127.0.0.1"], ["collector"]],
  ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ["collector:4318", "https://key@127.0.0.1"], ["collector"]],
  ["OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", ["collector:4318", "https://key@127.0.0.1"], ["collector"]],
  ["OTEL_EXPORTER_OTLP_HEADERS", ["no pairs", "näme=value", "a b=value"], ["name=value"]],
  ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", ["no pairs", "key=%0A"], ["name=value"]],
  ["OTEL_EXPORTER_OTLP_LOGS_HEADERS", ["no pairs", "key=%0A"], ["name=value"]],
  ["OTEL_LOGS_EXPORTER", ["console", "true"], ["otlp, none"]],
  ["OTEL_TRACES_SAMPLER", ["some", "jaeger_remote"], ["parentbased_always_on"]],
  ["TRACE_LINK", ["https://jaeger.example/trace", "ftp://jaeger.example/{traceId}"], ["{traceId}"]],
  ["OTEL_TRACES_SAMPLER_ARG", ["2", "-0.1", "half"], ["0 to 1"]],
  ["OTEL_SDK_DISABLED", ["yes"], ["true, false"]],
  ["HONEYCOMB_API_KEY", ["two words"], ["HTTP header"]]
]

describe("a bad value", () => {
  for (const [name, values, says] of bad) {
    for (const value of values.filter((value) => value !== "")) {
      it.effect(
        `of ${name} such as ${JSON.stringify(value.slice(0, 40))} is one problem that names it and its rule`,
        () =>
          Effect.gen(function* () {
            const problems = yield* problemsWith({ [name]: value })
            assert.lengthOf(problems, 1)
            const [problem = ""] = problems
            assert.isTrue(problem.startsWith(name), problem)
            for (const words of says) assert.include(problem, words)
            assert.notInclude(problem, "\n")
          })
      )
    }
  }

  it.effect("is shown shortened", () =>
    Effect.gen(function* () {
      const [problem = ""] = yield* problemsWith({ HEALTH_PORT: "x".repeat(10_000) })
      assert.isBelow(problem.length, 200)
    })
  )

  it.effect("of every variable is told at once", () =>
    Effect.gen(function* () {
      const env = Object.fromEntries(bad.map(([name, values]) => [name, values[0] ?? ""]))
      const problems = yield* problemsOf(env)
      for (const [name] of bad) {
        assert.isTrue(
          problems.some((problem) => problem.startsWith(name)),
          name
        )
      }
      assert.lengthOf(problems, bad.length)
    })
  )
})

describe("the table of variables", () => {
  it("has bad values for every variable that can be wrong", () => {
    const free = allVariables.flatMap(([name, { kind }]) => (kind === "text" || kind === "secret" ? [name] : []))
    const tried = bad.map(([name]) => name)
    assert.deepStrictEqual(
      allVariables.map(([name]) => name).filter((name) => !tried.includes(name) && !free.includes(name)),
      []
    )
  })

  it.effect("gives every number's default when nothing is set, and takes its bounds", () =>
    Effect.gen(function* () {
      for (const [name, variable] of allVariables) {
        if (variable.kind !== "integer") continue
        assert.isAtLeast(variable.usual, variable.least, name)
        assert.isAtMost(variable.usual, variable.most, name)
        const others = name === "DELIVERY_BACKOFF_BASE_MS" ? { DELIVERY_BACKOFF_MAX_MS: "86400000" } : {}
        const least = name === "DELIVERY_BACKOFF_MAX_MS" ? { DELIVERY_BACKOFF_BASE_MS: "1000" } : {}
        assert.deepStrictEqual(yield* problemsWith({ ...least, [name]: String(variable.least) }), [], name)
        assert.deepStrictEqual(yield* problemsWith({ ...others, [name]: String(variable.most) }), [], name)
      }
    })
  )
})

describe("a misspelt name", () => {
  it.effect("is pointed out beside the settings, and beside the problems it may be the cause of", () =>
    Effect.gen(function* () {
      const settings = yield* read({ ...complete, HELTH_PORT: "1" })
      assert.deepStrictEqual(settings.hints, [
        "HELTH_PORT is set, but no such variable is read: did you mean HEALTH_PORT?"
      ])
      const { ACCOUNT_ID, ...others } = complete
      const failure = yield* Effect.flip(read({ ...others, ACOUNT_ID: ACCOUNT_ID }))
      assert.lengthOf(failure.problems, 1)
      assert.deepStrictEqual(failure.hints, [
        "ACOUNT_ID is set, but no such variable is read: did you mean ACCOUNT_ID?"
      ])
    })
  )
})

describe("credentials", () => {
  it.effect("are read again from their files, and what is wrong with them is told", () =>
    Effect.gen(function* () {
      const { SERVICE_TOKEN: _, ...others } = complete
      const settings = yield* read({ ...others, SERVICE_TOKEN_FILE: "/run/secrets/service" })
      const next = `mc_service_k57account_${"f".repeat(64)}`
      const before = files["/run/secrets/service"] ?? ""
      files["/run/secrets/service"] = `${next}\n`
      const credentials = yield* settings.readCredentials
      assert.strictEqual(Redacted.value(credentials.serviceToken), next)
      files["/run/secrets/service"] = "half-writ"
      const failure = yield* Effect.flip(settings.readCredentials)
      files["/run/secrets/service"] = before
      assert.include(failure.problems[0] ?? "", "SERVICE_TOKEN")
      assert.notInclude(failure.problems[0] ?? "", "half-writ")
    })
  )
})

describe("the printed settings", () => {
  const print = (env: Record<string, string>) =>
    Effect.map(Effect.provide(printSettings(ConfigProvider.fromEnvRecord(env)), fileSystem), (printed) => ({
      printed,
      of: (name: string) => printed.find((each) => each.name === name)
    }))

  it.effect("hold every variable once with value and origin, and no secret", () =>
    Effect.gen(function* () {
      const { of, printed } = yield* print({
        ...complete,
        HEALTH_PORT: "8080",
        OPENCLAW_GATEWAY_TOKEN_FILE: "/run/secrets/gateway",
        HONEYCOMB_API_KEY: "honeycomb-key-0123456789",
        DROPLET_ID: token
      })
      assert.deepStrictEqual(
        printed.map(({ name }) => name),
        allVariables.map(([name]) => name)
      )
      assert.deepStrictEqual(of("HEALTH_PORT"), { name: "HEALTH_PORT", value: "8080", from: "environment" })
      assert.deepStrictEqual(of("HEALTH_HOST"), { name: "HEALTH_HOST", value: "127.0.0.1", from: "default" })
      assert.strictEqual(of("OPENCLAW_GATEWAY_TOKEN")?.from, "file")
      assert.include(of("OPENCLAW_GATEWAY_TOKEN")?.value ?? "", "/run/secrets/gateway")
      const text = JSON.stringify(printed)
      for (const each of [secret, "gateway-token-from-a-file", "honeycomb-key"]) assert.notInclude(text, each)
    })
  )

  it.effect("say what is missing although the whole cannot be used", () =>
    Effect.gen(function* () {
      const { of } = yield* print({ HEALTH_PORT: "wrong" })
      assert.strictEqual(of("ACCOUNT_ID")?.from, "missing")
      assert.strictEqual(of("HEALTH_PORT")?.value, "wrong")
    })
  )
})

describe("the address of this machine's runtime", () => {
  it.effect("is read without any other variable", () =>
    Effect.gen(function* () {
      const url = (env: Record<string, string>) =>
        Effect.provide(readLocalUrl(ConfigProvider.fromEnvRecord(env)), fileSystem)
      assert.strictEqual(yield* url({}), "http://127.0.0.1:3000")
      assert.strictEqual(yield* url({ HEALTH_HOST: "0.0.0.0", HEALTH_PORT: "8080" }), "http://127.0.0.1:8080")
      assert.strictEqual(yield* url({ HEALTH_HOST: "::1" }), "http://[::1]:3000")
      assert.include((yield* Effect.flip(url({ HEALTH_PORT: "x" }))).problems[0] ?? "", "HEALTH_PORT")
    })
  )
})

describe("what is missing", () => {
  it.effect("is told for each of the three required variables", () =>
    Effect.gen(function* () {
      const problems = yield* problemsOf({})
      assert.lengthOf(problems, 3)
      for (const name of ["ACCOUNT_ID", "CONVEX_URL", "SERVICE_TOKEN"]) {
        assert.isTrue(
          problems.some((problem) => problem.startsWith(`${name} is missing`)),
          name
        )
      }
    })
  )

  it.effect("is the gateway's token when the gateway is on another machine", () =>
    Effect.gen(function* () {
      for (const url of ["https://gateway.example", "http://10.0.0.2:18789", "http://127.0.0.1.example:18789"]) {
        const problems = yield* problemsWith({ OPENCLAW_GATEWAY_URL: url })
        assert.lengthOf(problems, 1, url)
        assert.include(problems[0] ?? "", "OPENCLAW_GATEWAY_TOKEN is missing")
      }
      for (const url of ["http://127.0.0.1:18789", "http://127.1.2.3", "http://localhost:1", "http://[::1]:18789"]) {
        assert.deepStrictEqual(yield* problemsWith({ OPENCLAW_GATEWAY_URL: url }), [], url)
      }
    })
  )
})

describe("variables that belong together", () => {
  it.effect("are the account and its token", () =>
    Effect.gen(function* () {
      for (const other of [`mc_service_k57other_${secret}`, `mc_service_k57account_x_${secret}`]) {
        const problems = yield* problemsWith({ SERVICE_TOKEN: other })
        assert.lengthOf(problems, 1)
        assert.include(problems[0] ?? "", "belongs to another account")
      }
    })
  )

  it.effect("are the bounds of the backoff", () =>
    Effect.gen(function* () {
      const bounds = { DELIVERY_BACKOFF_BASE_MS: "20000", DELIVERY_BACKOFF_MAX_MS: "10000" }
      const problems = yield* problemsWith(bounds)
      assert.lengthOf(problems, 1)
      assert.include(problems[0] ?? "", "DELIVERY_BACKOFF_MAX_MS is 10000")
      assert.deepStrictEqual(yield* problemsWith({ ...bounds, DELIVERY_BACKOFF_MAX_MS: "20000" }), [])
    })
  )
})

describe("no message holds a secret", () => {
  const wrongPlaces: ReadonlyArray<Record<string, string>> = [
    { ACCOUNT_ID: token },
    { CONVEX_URL: token },
    { HEALTH_PORT: token },
    { CONVEX_URL: `https://pat:${secret}@happy.example` },
    { OPENCLAW_GATEWAY_URL: `http://${secret}@gateway.example` },
    { SERVICE_TOKEN: `${secret}` },
    { SERVICE_TOKEN: `${token}extra` },
    { SERVICE_TOKEN: token.toUpperCase() },
    { SERVICE_TOKEN_FILE: token, SERVICE_TOKEN: "" }
  ]
  for (const changes of wrongPlaces) {
    it.effect(`when it landed in ${Object.keys(changes).join(", ")}: ${Object.values(changes)[0]?.slice(0, 24)}`, () =>
      Effect.gen(function* () {
        const problems = yield* problemsWith(changes)
        assert.isNotEmpty(problems)
        assert.notInclude(problems.join("\n").toLowerCase(), secret.slice(0, 16))
      })
    )
  }
})

describe("what the service manager says", () => {
  const told = (env: Record<string, string>) => readServiceManager(ConfigProvider.fromEnvRecord(env), 42)
  const seconds = (manager: { readonly watchdog: Option.Option<Duration.Duration> }) =>
    Option.getOrNull(Option.map(manager.watchdog, Duration.toSeconds))

  it.effect("is nothing where there is none, and its watchdog only with its socket", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* told({}), { isListening: false, watchdog: Option.none() })
      assert.isNull(seconds(yield* told({ WATCHDOG_USEC: "60000000" })))
      const manager = yield* told({ NOTIFY_SOCKET: "@/run/notify" })
      assert.deepStrictEqual(manager, { isListening: true, watchdog: Option.none() })
    })
  )

  it.effect("is the watchdog's time in microseconds, for this process or for whoever reads it", () =>
    Effect.gen(function* () {
      const env = { NOTIFY_SOCKET: "/run/notify", WATCHDOG_USEC: "60000000" }
      assert.strictEqual(seconds(yield* told(env)), 60)
      assert.strictEqual(seconds(yield* told({ ...env, WATCHDOG_PID: "42" })), 60)
      assert.isNull(seconds(yield* told({ ...env, WATCHDOG_PID: "41" })))
    })
  )

  for (const wrong of ["0", "-1", "soon", "1.5", "1e99"]) {
    it.effect(`is no watchdog when its time is ${wrong}`, () =>
      Effect.gen(function* () {
        assert.isNull(seconds(yield* told({ NOTIFY_SOCKET: "/run/notify", WATCHDOG_USEC: wrong })))
      })
    )
  }
})
