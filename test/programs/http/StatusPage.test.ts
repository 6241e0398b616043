import { createHash } from "node:crypto"
import { createServer } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, PubSub, Ref, Schedule, Scope, Stream, SubscriptionRef } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest } from "effect/http"
import { parseSync } from "rolldown/utils"
import { ControlPlaneRefused, ControlPlaneUnavailable } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import { noUsage } from "../../../src/domain/delivery/Run.ts"
import type { RunDetails, RunView } from "../../../src/domain/delivery/RunView.ts"
import { closed } from "../../../src/domain/gateway/Breaker.ts"
import type { LiveTurn } from "../../../src/domain/observability/LiveTurn.ts"
import { turnStarted } from "../../../src/domain/observability/LiveTurn.ts"
import { parseAddressList } from "../../../src/domain/settings/AddressList.ts"
import type { UsageReport } from "../../../src/domain/usage/UsageReport.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import type { Settings } from "../../../src/layers/Config.ts"
import { ConvexClient } from "../../../src/layers/ConvexClient.ts"
import { Gateway, unseenGateway } from "../../../src/layers/Gateway.ts"
import { GatewayEvents, offEvents } from "../../../src/layers/gateway/GatewayEvents.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { DeliveryLoop } from "../../../src/programs/delivery/DeliveryLoop.ts"
import * as StatusPage from "../../../src/programs/http/StatusPage.ts"
import { pageHtml } from "../../../src/programs/http/statusPage/PageHtml.ts"
import { pageScript } from "../../../src/programs/http/statusPage/PageScript.ts"
import { pageStyle } from "../../../src/programs/http/statusPage/PageStyle.ts"
import { AgentTools } from "../../../src/services/AgentTools.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"
import { GatewayGuard } from "../../../src/services/GatewayGuard.ts"
import { Lifecycle } from "../../../src/services/Lifecycle.ts"
import { Permits } from "../../../src/services/Permits.ts"
import { RuntimeHealth } from "../../../src/services/RuntimeHealth.ts"

const secret = `mc_service_account_${"ab".repeat(32)}`

const letter = {
  id: "notification_1",
  type: "mention" as const,
  agentSlug: "engineer",
  taskId: "task_1",
  taskTitle: `Rotate ${secret}`,
  createdAt: 1,
  diedAt: 2,
  attempts: 8,
  claims: 8,
  error: { class: "TurnRefused", message: "413", at: 2 },
  isRequired: true,
  hasFallback: true,
  events: [{ type: "mention" as const, actorName: "Pat Person", at: 0 }],
  traceId: null
}

const waitingRun: RunView = {
  id: "notification_9",
  kind: "notification",
  agentSlug: "qa",
  taskId: "task_1",
  taskTitle: `Rotate ${secret}`,
  type: "mention",
  state: "waiting",
  outcome: null,
  outcomeReason: null,
  wait: { reason: "retry", detail: "TurnTimeout", until: 5_000 },
  attempts: 1,
  at: 1_000,
  runtimeId: null,
  traceId: null
}

const details: RunDetails = {
  run: waitingRun,
  createdAt: 0,
  claims: 1,
  failures: 1,
  silences: 0,
  nextAttemptAt: 5_000,
  error: { class: "TurnTimeout", message: `no end, Bearer ${secret}`, at: 900 },
  decision: null,
  events: [{ type: "mention", actorName: "Pat", at: 0, refusal: null, hasJoined: false }],
  timeline: [
    {
      epoch: 1,
      claimedAt: 100,
      runtimeId: "r1",
      endedAt: 900,
      end: "failed",
      reason: "TurnTimeout: no end",
      traceId: null,
      isDelta: false,
      steps: [
        { kind: "round", round: 1, startMs: 0, durationMs: 700, inputTokens: 10, outputTokens: 1, error: "TurnTimeout" }
      ],
      stepsLeftOut: 0,
      usage: null
    }
  ],
  effects: []
}

const sum = {
  attempts: 3,
  inputTokens: 1_000,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  weightedTokens: 1_000,
  estimatedTokens: 0,
  cost: 1.5,
  unpricedTokens: 0
}
const report: UsageReport = {
  account: "Acme",
  by: "agent",
  from: "2026-03-01",
  to: "2026-03-07",
  timeZone: "UTC",
  lines: [{ key: "agent_1", name: "engineer", sum }],
  total: sum,
  budgets: [
    { scope: "account", name: null, period: "day", unit: "tokens", limit: 1_000, spent: 950, until: 1_772_928_000_000 }
  ],
  held: [{ agent: "engineer", task: "Fix it", reason: "90 % is used", until: null }],
  isCut: false
}

/** A line of events that is read until it is closed. */
interface Line {
  readonly status: number
  /** Waits for the next event and answers its name and data. */
  next(): Promise<{ readonly name: string; readonly data: any }>
  close(): Promise<void>
}

const openLine = async (url: string, query: string): Promise<Line> => {
  const abort = new AbortController()
  const response = await fetch(`${url}/status/events${query}`, { signal: abort.signal })
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ""
  return {
    status: response.status,
    next: async () => {
      for (;;) {
        const end = text.indexOf("\n\n")
        if (end >= 0) {
          const event = text.slice(0, end)
          text = text.slice(end + 2)
          return {
            name: /^event: ?(.*)$/m.exec(event)?.[1] ?? "",
            data: JSON.parse(/^data: ?(.*)$/m.exec(event)?.[1] ?? "null")
          }
        }
        const { done, value } = await reader.read()
        if (done) throw new Error("the line has ended")
        text += value
      }
    },
    close: async () => {
      abort.abort()
      await reader.cancel().catch(() => {})
    }
  }
}

const nextOf = (line: Line, name: string) =>
  Effect.promise(async () => {
    for (;;) {
      const event = await line.next()
      if (event.name === name) return event.data
    }
  })

const lineAt = (url: string, query = "") =>
  Effect.acquireRelease(
    Effect.promise(() => openLine(url, query)),
    (line) => Effect.promise(() => line.close())
  )

/** The page on a port of its own, over services that do nothing. */
const setUp = (settings: Partial<Settings> = {}) =>
  Effect.gen(function* () {
    const asked = yield* Ref.make(0)
    const isAway = yield* Ref.make(false)
    const turns = yield* Ref.make<ReadonlyArray<LiveTurn>>([])
    const turnChanges = yield* PubSub.unbounded<void>()
    const linesAsked = yield* Ref.make(0)
    const push = yield* SubscriptionRef.make({ isConnected: true, lastMessageAt: null as number | null })
    const services = Layer.mergeAll(
      Layer.succeed(GatewayEvents, {
        ...offEvents,
        state: Effect.succeed({ _tag: "On" as const, version: "2026.9.6" }),
        current: Effect.map(Ref.get(turns), (all) => new Map(all.map((turn) => [turn.sessionKey, turn]))),
        lastLine: () =>
          Effect.as(
            Ref.update(linesAsked, (count) => count + 1),
            "I will look at"
          ),
        changes: Stream.fromPubSub(turnChanges)
      }),
      Layer.mock(ConvexClient, { push }),
      Layer.mock(ControlPlane, {
        bootId: "boot",
        now: Effect.succeed(0),
        usage: () => Effect.succeed(report),
        runs: () => Effect.succeed([waitingRun, { ...waitingRun, id: "notification_8", state: "running", wait: null }]),
        run: (id) =>
          Ref.update(asked, (count) => count + 1).pipe(
            Effect.andThen(
              id === waitingRun.id
                ? Effect.succeed(details)
                : new ControlPlaneRefused({ function: "run", code: "not_found", detail: "no such run" })
            )
          ),
        context: () => Effect.succeed(new Map([[waitingRun.id, { broken: "task_missing" }]])),
        deadLetters: () =>
          Ref.update(asked, (count) => count + 1).pipe(
            Effect.andThen(Ref.get(isAway)),
            Effect.flatMap((away) =>
              away
                ? Effect.fail(new ControlPlaneUnavailable({ function: "deadLetters", detail: "ECONNREFUSED" }))
                : Effect.succeed([letter])
            )
          )
      }),
      Layer.mock(Gateway, {
        state: Effect.succeed({ ...unseenGateway, state: "ready" as const, version: "2026.9.6" })
      }),
      Layer.mock(GatewayGuard, { breaker: Effect.succeed(closed), opensIn: Effect.succeed(null) }),
      Layer.mock(DeliveryLoop, {
        state: Effect.succeed({ oldest: null, heartbeatsInFlight: 0, heartbeatsWaitSince: null })
      }),
      Layer.mock(AgentTools, { offered: () => [] }),
      Permits.layer
    ).pipe(
      (services) => Layer.provideMerge(RuntimeHealth.layer, services),
      Layer.provideMerge(Layer.mergeAll(Metrics.layer, Lifecycle.layer)),
      Layer.provideMerge(Redactor.layer),
      Layer.provideMerge(RuntimeConfig.layerTest(settings))
    )
    const server = HttpRouter.serve(StatusPage.layer, {
      disableLogger: true,
      disableListenLog: true,
      // Stands for a socket of that address, which no test can open.
      middleware: (app) =>
        Effect.updateService(app, HttpServerRequest.HttpServerRequest, (request) => {
          const remote = request.headers["x-test-remote-address"]
          return remote === undefined ? request : request.modify({ remoteAddress: Option.some(remote) })
        })
    }).pipe(
      Layer.provideMerge(services),
      Layer.provideMerge(
        NodeHttpServer.layer(() => createServer(), {
          port: 0,
          host: "127.0.0.1",
          gracefulShutdownTimeout: "200 millis"
        })
      )
    )
    const context = yield* Layer.build(server).pipe(Effect.provideService(Scope.Scope, yield* Effect.scope))
    return yield* Effect.gen(function* () {
      const { address } = yield* HttpServer.HttpServer
      const url = `http://127.0.0.1:${"port" in address ? address.port : 0}`
      return {
        url,
        asked: Ref.get(asked),
        isAway,
        linesAsked: Ref.get(linesAsked),
        showTurns: (...next: ReadonlyArray<LiveTurn>) =>
          Effect.andThen(Ref.set(turns, next), PubSub.publish(turnChanges, undefined)),
        metrics: yield* Metrics,
        lifecycle: yield* Lifecycle,
        page: (path: string, headers: Record<string, string> = {}) =>
          Effect.promise(async () => {
            const response = await fetch(`${url}${path}`, { headers })
            return { status: response.status, headers: response.headers, text: await response.text() }
          })
      }
    }).pipe(Effect.provideContext(context))
  })

const work = {
  kind: "notification",
  lateMillis: 0,
  run: "notification_2",
  sessionKey: "agent:engineer:account",
  agent: "engineer",
  agentName: "Engineer",
  task: `Use ${secret}`,
  type: "mention",
  attempt: 1
} as const

describe("the status page", () => {
  it.live("allows its own script and style by their hashes and nothing else", () =>
    Effect.gen(function* () {
      const { page } = yield* setUp()
      const { headers, status, text } = yield* page("/")
      assert.strictEqual(status, 200)
      assert.strictEqual(headers.get("content-type"), "text/html; charset=utf-8")
      const policy = headers.get("content-security-policy") ?? ""
      for (const tag of ["script", "style"]) {
        const contents = [...text.matchAll(new RegExp(`<${tag}>([^]*?)</${tag}>`, "g"))].map(([, content]) => content!)
        assert.lengthOf(contents, 1)
        const hash = createHash("sha256").update(contents[0]!).digest("base64")
        assert.include(policy, `${tag}-src 'sha256-${hash}'`)
      }
      assert.match(policy, /^default-src 'none';/)
      assert.include(policy, "frame-ancestors 'none'")
      assert.notMatch(policy, /unsafe|\*|https?:/)
      assert.notMatch(text, /\sstyle=|\son\w+=|(?:src|href)="(?:https?:)?\/\//)
      assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
      assert.strictEqual(headers.get("referrer-policy"), "no-referrer")
    }).pipe(Effect.scoped)
  )

  it("has a script that parses and writes text only, never markup, and a style in which nothing moves", () => {
    assert.deepStrictEqual(parseSync("page.js", pageScript).errors, [])
    assert.notMatch(pageScript, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|<\/script/)
    assert.notMatch(pageStyle, /animation|transition|@keyframes|scroll-behavior/)
    const ids = new Set([...pageHtml.matchAll(/ id="([\w-]+)"/g)].map(([, id]) => id))
    const used = [...pageScript.matchAll(/byId\("([\w-]+)"\)/g)].map(([, id]) => id)
    assert.isAbove(used.length, 10)
    assert.deepStrictEqual(
      used.filter((id) => !ids.has(id)),
      []
    )
  })

  it.live("answers the addresses that agents may call from, under its own names, and no web page", () =>
    Effect.gen(function* () {
      const allow = parseAddressList("10.1.0.0/16")
      assert.strictEqual(allow._tag, "Success")
      const { page } = yield* setUp(allow._tag === "Success" ? { agentHttpAllow: allow.success } : {})
      const statusFrom = (path: string, headers: Record<string, string>) =>
        Effect.map(page(path, headers), ({ status }) => status)
      assert.strictEqual(yield* statusFrom("/", { "x-test-remote-address": "10.1.2.3" }), 200)
      for (const path of ["/", "/status/events", "/status/run?id=a", "/status/prompt?id=a"]) {
        assert.strictEqual(yield* statusFrom(path, { "x-test-remote-address": "10.2.0.1" }), 403)
        assert.strictEqual(yield* statusFrom(path, { origin: "https://evil.example" }), 403)
      }
    }).pipe(Effect.scoped)
  )

  it.live("shows at once starts, tool calls and ends, without secrets", () =>
    Effect.gen(function* () {
      const { lifecycle, metrics, url } = yield* setUp({ accountId: "account" })
      yield* lifecycle.enter("ready")
      const line = yield* lineAt(url)
      const first = yield* nextOf(line, "state")
      assert.strictEqual(first.status, "online")
      assert.deepStrictEqual(first.reasons, [])
      assert.lengthOf(first.spans, 40)
      yield* metrics.runStarted(work)
      yield* metrics.toolStarted("task_status", work.run)
      const running = yield* nextOf(line, "state").pipe(
        Effect.repeat({ until: ({ activity }) => activity.running[0]?.tool === "task_status" })
      )
      assert.strictEqual(running.activity.running[0].agentName, "Engineer")
      assert.include(running.activity.running[0].task, "Use ")
      yield* metrics.runEnded({
        kind: "notification",
        outcome: "retrying",
        type: "mention",
        run: work.run,
        agent: "engineer",
        durationMillis: 5,
        isSilence: true,
        isTurnCompleted: false,
        error: `the header was Bearer ${secret}`
      })
      const ended = yield* nextOf(line, "state").pipe(
        Effect.repeat({ until: ({ activity }) => activity.ended.length === 1 })
      )
      assert.strictEqual(ended.delivery.failureCount, 1)
      assert.strictEqual(ended.activity.errors[0].count, 1)
      assert.notInclude(JSON.stringify([running, ended]), secret.slice(-64))
      yield* lifecycle.setReason("token", "refused")
      const refused = yield* nextOf(line, "state").pipe(Effect.repeat({ until: ({ reasons }) => reasons.length > 0 }))
      assert.strictEqual(refused.status, "degraded")
      assert.strictEqual(refused.reasons[0].text, "token: refused")
      assert.include(refused.reasons[0].help, "SERVICE_TOKEN")
    }).pipe(Effect.scoped)
  )

  it.live("pushes what the gateway reports of a running turn, and the text only to a page that asks for it", () =>
    Effect.gen(function* () {
      const { linesAsked, metrics, showTurns, url } = yield* setUp()
      const { textEnd: _, ...turn } = turnStarted(work.sessionKey, 0)
      yield* metrics.runStarted(work)
      yield* showTurns(turn, { ...turn, sessionKey: "agent:qa:account:canary" })
      const line = yield* lineAt(url)
      const shown = { run: work.run, modelCalls: 0, inputTokens: 0, outputTokens: 0, textLength: 0, lastLine: null }
      assert.deepStrictEqual(yield* nextOf(line, "live"), { off: null, turns: [shown] })
      yield* showTurns({
        ...turn,
        modelCalls: 2,
        textLength: 14,
        usage: { ...noUsage, inputTokens: 900, outputTokens: 40 }
      })
      const later = { ...shown, modelCalls: 2, inputTokens: 900, outputTokens: 40, textLength: 14 }
      assert.deepStrictEqual((yield* nextOf(line, "live")).turns, [later])
      assert.strictEqual(yield* linesAsked, 0)
      const asking = yield* lineAt(url, "?texts=true")
      assert.deepStrictEqual((yield* nextOf(asking, "live")).turns, [{ ...later, lastLine: "I will look at" }])
    }).pipe(Effect.scoped)
  )

  it.live("follows the agents' outcomes, and claims nothing while paused", () =>
    Effect.gen(function* () {
      const { lifecycle, metrics, url } = yield* setUp()
      yield* lifecycle.enter("ready")
      const line = yield* lineAt(url)
      const online = yield* nextOf(line, "state")
      assert.deepInclude(online, { status: "online", level: "good", isClaiming: true, failing: [] })
      const end = { ...work, durationMillis: 5, isSilence: false, isTurnCompleted: false } as const
      yield* metrics.runEnded({ ...end, outcome: "dead", error: "TurnRefused: 413" })
      const failing = yield* nextOf(line, "state").pipe(Effect.repeat({ until: ({ status }) => status !== "online" }))
      assert.deepInclude(failing, { status: "degraded", level: "warn", isClaiming: true, failing: ["engineer"] })
      assert.strictEqual(failing.lights[0].level, "warn")
      assert.match(failing.reasons[0].text, /^agent engineer: .*TurnRefused: 413$/)
      assert.include(failing.reasons[0].help, "completed turn")
      yield* metrics.runEnded({ ...end, outcome: "replied", isTurnCompleted: true, error: null })
      yield* lifecycle.setPaused(true)
      const paused = yield* nextOf(line, "state").pipe(Effect.repeat({ until: ({ isPaused }) => isPaused === true }))
      assert.deepInclude(paused, { status: "paused", isClaiming: false, failing: [] })
    }).pipe(Effect.scoped)
  )

  it.live("shows what the agents spent today, and the budgets", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const usage = yield* nextOf(yield* lineAt(url), "usage")
      assert.deepStrictEqual(usage, {
        error: null,
        account: "Acme",
        budgets: [
          {
            of: "account",
            scope: "account",
            name: null,
            percent: 95,
            period: "day",
            used: "950 of 1,000 tokens",
            share: "95 %",
            ends: "2026-03-08T00:00:00Z",
            waits: "work that agents started waits"
          }
        ],
        agents: [{ agent: "engineer", weightedTokens: 1_000, cost: "$1.50" }],
        total: { attempts: 3, weightedTokens: 1_000, cost: "$1.50" }
      })
    }).pipe(Effect.scoped)
  )

  it.live("shows the waiting runs with the reason and the next try, without secrets", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const queue = yield* nextOf(yield* lineAt(url), "queue")
      assert.isFalse(queue.isCut)
      assert.lengthOf(queue.list, 1)
      const [run] = queue.list
      assert.deepInclude(run, { id: "notification_9", agent: "qa", attempts: 1, reason: "retry" })
      assert.strictEqual(run.wait, "waits for its retry: TurnTimeout")
      // Both by this process's clock.
      assert.strictEqual(run.until - run.since, 4_000)
      assert.isAbove(run.since, 1_000_000_000)
      assert.notInclude(JSON.stringify(queue), secret.slice(-64))
    }).pipe(Effect.scoped)
  )

  it.live("shows a run's details on request, with its attempts as bars, without secrets", () =>
    Effect.gen(function* () {
      const { asked, page } = yield* setUp()
      const { headers, text } = yield* page(`/status/run?id=${waitingRun.id}`)
      assert.strictEqual(headers.get("content-type"), "application/json")
      const run = JSON.parse(text)
      assert.deepInclude(run, { error: null, state: "waiting", wait: "waits for its retry: TurnTimeout", claims: 1 })
      assert.strictEqual(run.nextAttemptAt - run.createdAt, 5_000)
      assert.deepStrictEqual(
        run.timeline[0].bars.map(({ forMs, fromMs, kind }: any) => [kind, fromMs, forMs]),
        [
          ["own", 0, 0],
          ["round", 0, 700],
          ["own", 700, 100]
        ]
      )
      assert.notInclude(text, secret.slice(-64))
      assert.strictEqual(yield* asked, 1)
    }).pipe(Effect.scoped)
  )

  it.live("names the reason if a run has no details or no prompt, and refuses an invalid id", () =>
    Effect.gen(function* () {
      const { asked, page } = yield* setUp()
      assert.deepStrictEqual(JSON.parse((yield* page("/status/run?id=heartbeat_1")).text), { error: "no such run" })
      const prompt = JSON.parse((yield* page(`/status/prompt?id=${waitingRun.id}`)).text)
      assert.deepStrictEqual(prompt, { error: "The notification has no prompt: task_missing.", prompt: null })
      for (const query of ["", "?id=", "?id=a%20b", `?id=${"a".repeat(201)}`]) {
        assert.strictEqual((yield* page(`/status/run${query}`)).status, 400)
      }
      assert.strictEqual(yield* asked, 1)
    }).pipe(Effect.scoped)
  )

  it.live("requests dead letters only while a page is open, once for all pages, and again after another one", () =>
    Effect.gen(function* () {
      const { asked, isAway, metrics, page, url } = yield* setUp()
      yield* page("/")
      assert.strictEqual(yield* asked, 0)
      const [one, two] = [yield* lineAt(url), yield* lineAt(url)]
      const letters = yield* nextOf(one, "letters")
      yield* nextOf(two, "letters")
      assert.strictEqual(yield* asked, 1)
      assert.strictEqual(letters.list[0].error, "TurnRefused: 413")
      assert.deepStrictEqual(letters.list[0].events, [{ type: "mention", by: "Pat Person" }])
      assert.notInclude(JSON.stringify(letters), secret.slice(-64))
      yield* Ref.set(isAway, true)
      yield* metrics.runEnded({
        kind: "notification",
        outcome: "dead",
        type: "mention",
        run: "notification_3",
        agent: "engineer",
        durationMillis: 5,
        isSilence: false,
        isTurnCompleted: false,
        error: "TurnRefused: 413"
      })
      const later = yield* nextOf(one, "letters")
      assert.strictEqual(later.error, "ECONNREFUSED")
      assert.lengthOf(later.list, 1)
    }).pipe(Effect.scoped)
  )

  it.live("serves twenty pages and refuses the next one until one of them closes", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const lines: Array<Line> = []
      for (let n = 0; n < 20; n += 1) lines.push(yield* lineAt(url))
      assert.deepStrictEqual([...new Set(lines.map(({ status }) => status))], [200])
      const refused = yield* Effect.promise(() => fetch(`${url}/status/events`))
      assert.strictEqual(refused.status, 503)
      assert.include(yield* Effect.promise(() => refused.text()), "close one")
      yield* Effect.promise(() => lines[0]!.close())
      yield* Effect.scoped(Effect.map(lineAt(url), ({ status }) => status)).pipe(
        Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: (status) => status === 200 })
      )
    }).pipe(Effect.scoped)
  )

  it.live("does not count a HEAD request as a page", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const head = Effect.promise(() => fetch(`${url}/status/events`, { method: "HEAD" }))
      for (let n = 0; n < 21; n += 1) assert.strictEqual((yield* head).status, 200)
      const line = yield* lineAt(url)
      assert.strictEqual(line.status, 200)
      yield* nextOf(line, "state")
    }).pipe(Effect.scoped)
  )

  it.live("ends its streams when the process stops", () =>
    Effect.gen(function* () {
      const { lifecycle, url } = yield* setUp()
      const line = yield* lineAt(url)
      yield* nextOf(line, "state")
      yield* lifecycle.enter("stopped")
      const reason = yield* Effect.flip(
        Effect.tryPromise({
          try: async () => {
            for (;;) await line.next()
          },
          catch: (cause) => (cause instanceof Error ? cause.message : String(cause))
        })
      )
      assert.strictEqual(reason, "the line has ended")
    }).pipe(Effect.scoped)
  )
})
