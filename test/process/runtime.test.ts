import { createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { launchRuntime } from "../../local/launcher.ts"
import { entry } from "./entry.ts"
import { eventually, makeSetup } from "./setup.ts"

const spoken = (name: string) => (messages: ReadonlyArray<{ readonly author: { readonly name: string } }>) =>
  messages.some((message) => message.author.name === name)

const statusOf = (url: string) =>
  Effect.promise(async () => {
    const response = await fetch(url)
    return { status: response.status, body: await response.text() }
  })

describe("the runtime as a process", () => {
  it.live("delivers a mention and posts the reply once", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      // The orchestrator gets an update about the reply, and has nothing to add.
      yield* setup.script({
        rules: [{ match: "mentioned you", actions: [{ text: "Here I am." }] }],
        fallback: { text: "NO_ACTION" }
      })
      yield* setup.startRuntime()
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer are you there?")
      yield* eventually(
        setup.notifications,
        (rows) => rows.length >= 2 && rows.every(({ state }) => state === "delivered")
      )
      const messages = yield* setup.messages(taskId)
      assert.deepStrictEqual(
        messages.map(({ author, content }) => [author.name, content]),
        [
          ["Pat", "@engineer are you there?"],
          ["Engineer", "Here I am."]
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.live("replies once, and at once, if it is killed during a turn and started again", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      // The first turn never ends. Only a claim that does not wait for the lease of 90 s gets the second one.
      yield* setup.script({
        rules: [{ match: "mentioned you", actions: [{ hang: true }, { text: "The answer." }] }]
      })
      const taskId = yield* setup.newTask()
      const first = yield* setup.startRuntime()
      yield* setup.post(taskId, "@engineer what is the answer?")
      yield* eventually(setup.posts, (count) => count === 1)
      yield* first.signal("SIGKILL")
      yield* first.exit
      const restarted = yield* setup.startRuntime()
      const messages = yield* eventually(setup.messages(taskId), spoken("Engineer"))
      assert.deepStrictEqual(
        messages.filter(({ author }) => author.name === "Engineer").map(({ content }) => content),
        ["The answer."]
      )
      // The reply is another agent's notification, so this checks the first one.
      const row = (yield* setup.notifications).find(({ type }) => type === "mention")
      assert.strictEqual(row?.state, "delivered")
      assert.strictEqual(row?.attempts, 2)
      // The lease was freed by the first pulse of the new boot, not by its expiry.
      assert.include(restarted.output(), "of an earlier boot")
    }).pipe(Effect.scoped)
  )

  it.live("exits with 0 on SIGTERM when idle, and is offline", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const runtime = yield* setup.startRuntime()
      // The runtime is ready a moment before the pulse that reports it.
      yield* eventually(setup.runtimeStatus, (status) => status === "online")
      yield* runtime.signal("SIGTERM")
      const ending = yield* runtime.exit
      assert.deepStrictEqual(ending, { code: 0, signal: null })
      assert.strictEqual(yield* setup.runtimeStatus, "offline")
    }).pipe(Effect.scoped)
  )

  it.live("drains on SIGINT: the turn ends, its reply is posted, then the runtime is offline", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({
        rules: [{ match: "mentioned you", actions: [{ delayMs: 1_500, text: "Almost missed." }] }]
      })
      const runtime = yield* setup.startRuntime()
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer quick!")
      yield* eventually(setup.posts, (count) => count === 1)
      yield* runtime.signal("SIGINT")
      const draining = yield* eventually(setup.health(runtime), (health) => health["status"] === "draining")
      assert.strictEqual(draining["lifecycle"], "draining")
      assert.strictEqual((yield* statusOf(`${runtime.url}/readyz`)).status, 503)
      assert.strictEqual((yield* statusOf(`${runtime.url}/livez`)).status, 200)
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
      assert.isTrue(spoken("Engineer")(yield* setup.messages(taskId)))
      assert.strictEqual(yield* setup.runtimeStatus, "offline")
    }).pipe(Effect.scoped)
  )

  it.live("releases the running turn on a second signal, without using an attempt, and exits with 0", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({ rules: [{ match: "mentioned you", actions: [{ hang: true }] }] })
      const runtime = yield* setup.startRuntime()
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer hello")
      yield* eventually(setup.posts, (count) => count === 1)
      yield* runtime.signal("SIGTERM")
      yield* eventually(setup.health(runtime), (health) => health["status"] === "draining")
      yield* runtime.signal("SIGTERM")
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
      const [row] = yield* setup.notifications
      assert.strictEqual(row?.state, "ready")
      assert.strictEqual(row?.attempts, 0)
      assert.strictEqual(yield* setup.runtimeStatus, "offline")
    }).pipe(Effect.scoped)
  )

  it.live("retries a notification after an unreadable answer, and the loop continues", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.fault({ kind: "garbage", agent: "engineer" })
      yield* setup.script({ rules: [{ match: "mentioned you", repeat: true, actions: [{ text: "Fine." }] }] })
      const runtime = yield* setup.startRuntime({ DELIVERY_BACKOFF_BASE_MS: "1000", DELIVERY_BACKOFF_MAX_MS: "1000" })
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer hello")
      const waiting = yield* eventually(setup.notifications, ([row]) => row?.error !== null && row !== undefined)
      assert.strictEqual(waiting[0]?.error?.class, "TurnUnreadable")
      yield* setup.post(taskId, "@qa and you?")
      yield* eventually(setup.messages(taskId), spoken("QA"))
      yield* eventually(setup.messages(taskId), spoken("Engineer"))
      const health = yield* setup.health(runtime)
      assert.isAtLeast(health["delivery"]["failureCount"], 1)
      assert.match(health["delivery"]["lastErrorMessage"], /TurnUnreadable/)
    }).pipe(Effect.scoped)
  )

  it.live("exits with 77 for a refused token and names the deployment", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const token = `mc_service_${setup.account.accountId}_${"a".repeat(64)}`
      const failure = yield* Effect.flip(setup.startRuntime({ SERVICE_TOKEN: token }))
      assert.strictEqual(failure.exitCode, 77)
      assert.include(failure.output, setup.plane.url)
      assert.notInclude(failure.output, "a".repeat(64))
    }).pipe(Effect.scoped)
  )

  it.live("exits with 78 for a wrong configuration and reports all problems, without a stack or a secret", () =>
    Effect.gen(function* () {
      const secret = "b".repeat(60)
      const failure = yield* Effect.flip(
        launchRuntime({
          entry,
          env: {
            ACCOUNT_ID: "no id!",
            CONVEX_URL: "ftp://example.test",
            SERVICE_TOKEN: `mc_service_x_${secret}`,
            HEALTH_PORT: "99999",
            OPENCLAW_GATEWAY_URL: undefined
          }
        })
      )
      assert.strictEqual(failure.exitCode, 78)
      for (const name of ["ACCOUNT_ID", "CONVEX_URL", "SERVICE_TOKEN", "HEALTH_PORT"])
        assert.include(failure.output, name)
      assert.notInclude(failure.output, secret)
      assert.notMatch(failure.output, /^\s+at /m)
    }).pipe(Effect.scoped)
  )

  it.live("exits with 78 and one line if its port is in use", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const port = yield* Effect.acquireRelease(
        Effect.callback<{ readonly number: number; readonly close: () => void }>((resume) => {
          const server = createServer()
          server.listen(0, "127.0.0.1", () => {
            const address = server.address()
            const number = typeof address === "object" && address !== null ? address.port : 0
            resume(Effect.succeed({ number, close: () => server.close() }))
          })
        }),
        ({ close }) => Effect.sync(close)
      )
      const failure = yield* Effect.flip(setup.startRuntime({ HEALTH_PORT: String(port.number) }))
      assert.strictEqual(failure.exitCode, 78)
      assert.include(failure.output, `cannot listen on 127.0.0.1:${port.number}: another process listens there`)
      assert.notMatch(failure.output, /\n\s+at /)
    }).pipe(Effect.scoped)
  )

  it.live("waits for a gateway that is down, logs it once, and is ready when the gateway is", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.fault({ kind: "refuse", forMs: 2_000 }).pipe(Effect.option)
      const runtime = yield* setup.startRuntime({}, { readyPath: "/readyz" })
      const said = runtime.output().split("waiting for it with backoff").length - 1
      assert.isAtMost(said, 1)
      assert.strictEqual((yield* statusOf(`${runtime.url}/readyz`)).status, 200)
    }).pipe(Effect.scoped)
  )

  it.live("is not ready with a gateway that hides the tools from its agents, reports the fix, and delivers", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup({ gatewayArgs: ["--tool-search", "true"] })
      yield* setup.script({ rules: [{ match: "mentioned you", actions: [{ text: "Here." }] }] })
      const runtime = yield* setup.startRuntime()
      const fix = "set tools.toolSearch to false"
      const { status } = yield* eventually(statusOf(`${runtime.url}/readyz`), ({ body }) => body.includes(fix))
      assert.strictEqual(status, 503)
      assert.include(runtime.output(), fix)
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer are you there?")
      yield* eventually(setup.messages(taskId), (messages) => messages.some(({ content }) => content === "Here."))
    }).pipe(Effect.scoped)
  )

  it.live("waits for a control plane that is down: live but not ready, logged once, and exits with 0 on SIGTERM", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const runtime = yield* setup.startRuntime({ CONVEX_URL: "http://127.0.0.1:9" }, { readyPath: "/livez" })
      const ready = yield* eventually(statusOf(`${runtime.url}/readyz`), ({ body }) => body.includes("control-plane"))
      assert.strictEqual(ready.status, 503)
      assert.strictEqual(runtime.output().split("is unavailable, retrying with backoff").length - 1, 1)
      yield* runtime.signal("SIGTERM")
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
    }).pipe(Effect.scoped)
  )

  it.live("serves every field of the contract on /health and four on /version", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const runtime = yield* setup.startRuntime({ DROPLET_ID: "d-1", DROPLET_REGION: "fra1" })
      const health = yield* eventually(setup.health(runtime), (body) => body["status"] === "healthy")
      assert.sameMembers(Object.keys(health), [
        "status",
        "ready",
        "reasons",
        "failing",
        "lifecycle",
        "isPaused",
        "gateway",
        "delivery",
        "heartbeats",
        "agentSync",
        "controlPlane",
        "versions",
        "infrastructure",
        "uptime",
        "metrics"
      ])
      assert.containsAllKeys(health["gateway"], ["state", "version", "lastSendAt", "lastSendError", "restarts"])
      assert.containsAllKeys(health["delivery"], [
        "deliveredCount",
        "successCount",
        "failureCount",
        "consecutiveFailures",
        "lastErrorAt",
        "lastErrorMessage",
        "lastDelivery",
        "inFlight",
        "oldestWaiting",
        "silences",
        "deadLetters",
        "config"
      ])
      assert.containsAllKeys(health["controlPlane"], ["push", "lastMessageAt"])
      assert.deepStrictEqual(health["versions"], { runtime: health["versions"]["runtime"], openclaw: "2026.9.6" })
      assert.deepStrictEqual(health["infrastructure"], { dropletId: "d-1", ipAddress: null, region: "fra1" })
      const version = JSON.parse((yield* statusOf(`${runtime.url}/version`)).body)
      assert.deepStrictEqual(Object.keys(version).toSorted(), ["dropletId", "openclaw", "region", "runtime"])
      for (const path of ["//", "//health", "/health/", "/AGENT/task-load"]) {
        assert.strictEqual((yield* statusOf(`${runtime.url}${path}`)).status, 404, path)
      }
      const metrics = yield* statusOf(`${runtime.url}/metrics`)
      assert.include(metrics.body, "mission_control_deliveries_total")
      assert.isTrue(Option.isSome(Option.fromNullishOr(health["uptime"])))
    }).pipe(Effect.scoped)
  )
})
