import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it, vi } from "@effect/vitest"
import { ConvexError } from "convex/values"
import type { Value } from "convex/values"
import { convexToJson } from "convex/values"
import {
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Queue,
  Redacted,
  Result,
  Stream,
  SubscriptionRef
} from "effect"
import { TestClock } from "effect/testing"
import { makeAccount } from "../../local/account.ts"
import { launchPlane } from "../../local/launcher.ts"
import { personAt } from "../../local/person.ts"
import type { ControlPlaneFailure } from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import type { Settings } from "../../src/layers/Config.ts"
import { ConvexClient } from "../../src/layers/ConvexClient.ts"
import { Redactor } from "../../src/layers/secrets/Redactor.ts"
import { answerWith, closedPort, hang, reset, startServer } from "./scriptedServer.ts"

const secret = "0123456789abcdef".repeat(4)

const clientAt = (
  convexUrl: string,
  accountId = "k57account",
  token = `mc_service_k57account_${secret}`,
  settings: Partial<Settings> = {}
) =>
  Effect.map(
    Layer.build(
      ConvexClient.layer.pipe(
        Layer.provide(Redactor.layer),
        Layer.provide(
          RuntimeConfig.layerTest({ convexUrl, accountId, serviceToken: Redacted.make(token), ...settings })
        )
      )
    ),
    (services) => Effect.provideContext(ConvexClient, services)
  ).pipe(Effect.flatten)

const setUp = Effect.gen(function* () {
  const server = yield* startServer
  return { client: yield* clientAt(server.url), server }
})

/** An answer of Convex to a function that threw a ConvexError with this data. */
const refusal = (data: Value) =>
  answerWith(560, {
    status: "error",
    errorMessage: String(new ConvexError(data)),
    errorData: convexToJson(data),
    logLines: []
  })

describe("a proxy", () => {
  /** Refuses every tunnel and tells for whom it was asked. */
  const startProxy = Effect.gen(function* () {
    const asked = yield* Queue.unbounded<readonly [target: string | undefined, credentials: string | undefined]>()
    const server = createServer().on("connect", (request, socket) => {
      Queue.offerUnsafe(asked, [request.url, request.headers["proxy-authorization"]])
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n")
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () => Effect.sync(() => server.close())
    )
    const { port } = server.address() as AddressInfo
    return { asked, proxy: Option.some(Redacted.make(`http://pat:hunter2@127.0.0.1:${port}`)) }
  })

  it.live("is asked for the calls and for the socket of an https deployment, with its credentials", () =>
    Effect.gen(function* () {
      const { asked, proxy } = yield* startProxy
      const client = yield* clientAt("https://happy-animal-123.convex.cloud", undefined, undefined, { proxy })
      const failure = yield* Effect.flip(client.query(functions.loadTask, {}))
      assert.include(failure, { _tag: "ControlPlaneUnavailable" })
      assert.include(JSON.stringify(failure), "403")
      const expected = ["happy-animal-123.convex.cloud:443", `Basic ${btoa("pat:hunter2")}`] as const
      assert.deepStrictEqual(yield* Queue.take(asked), expected)
      const probe = yield* Effect.flip(client.deployment)
      assert.include(probe.problem, "HTTP 403")
      assert.deepStrictEqual(yield* Queue.take(asked), expected)
      yield* Effect.forkScoped(Stream.runDrain(client.subscribe(functions.wake, {})))
      assert.deepStrictEqual(yield* Queue.take(asked), expected)
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([])))
  )

  it.live("is not asked for hosts of NO_PROXY, nor for http", () =>
    Effect.gen(function* () {
      const { asked, proxy } = yield* startProxy
      const port = yield* closedPort
      const excepted = yield* clientAt(`https://127.0.0.1:${port}`, undefined, undefined, {
        proxy,
        noProxy: "example.com,127.0.0.1"
      })
      const plain = yield* clientAt(`http://127.0.0.1:${port}`, undefined, undefined, { proxy })
      for (const client of [excepted, plain]) {
        assert.include(JSON.stringify(yield* Effect.flip(client.query(functions.loadTask, {}))), "ECONNREFUSED")
      }
      assert.strictEqual(yield* Queue.size(asked), 0)
    }).pipe(Effect.scoped)
  )
})

describe("a connection", () => {
  const answer = answerWith(200, { status: "success", value: null, logLines: [] })
  /** undici takes a connection for free one turn of the event loop after its answer. */
  const isFree = Effect.promise(() => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve))))

  it.effect("is kept for minutes although the server hints at seconds", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp
      server.answer(
        "*",
        answerWith(200, { status: "success", value: null, logLines: [] }, { "keep-alive": "timeout=5" })
      )
      yield* Effect.acquireRelease(
        Effect.sync(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })),
        () => Effect.sync(() => vi.useRealTimers())
      )
      yield* client.query(functions.loadTask, {})
      yield* isFree
      vi.advanceTimersByTime(9 * 60_000)
      yield* client.query(functions.loadTask, {})
      const [first, second] = yield* Queue.takeN(server.received, 2)
      assert.strictEqual(second?.connection, first?.connection)
    })
  )

  it.effect("that the server closed while it was idle is replaced, and the call arrives once", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp
      const closed = yield* Deferred.make<void>()
      server.answer("*", (request, response) => {
        response.socket?.once("close", () => Deferred.doneUnsafe(closed, Exit.void))
        answer(request, response)
        response.socket?.end()
      })
      yield* client.mutation(functions.createTask, {})
      yield* Deferred.await(closed)
      yield* client.mutation(functions.createTask, {})
      const received = yield* Queue.takeAll(server.received)
      assert.strictEqual(new Set(received.map(({ connection }) => connection)).size, 2)
      assert.strictEqual(received.length, 2)
    })
  )

  const closedOnArrival: ReadonlyArray<
    readonly [what: string, kind: "query" | "mutation", args: Record<string, Value>, arrivals: number]
  > = [
    ["a query", "query", {}, 2],
    ["a mutation under a lease", "mutation", { epoch: 3 }, 2],
    ["a mutation that the control plane could run twice", "mutation", {}, 1]
  ]
  for (const [what, kind, args, arrivals] of closedOnArrival) {
    it.effect(
      `that the server closes while ${what} is on its way lets it arrive ${arrivals === 1 ? "once" : "again"}`,
      () =>
        Effect.gen(function* () {
          const { client, server } = yield* setUp
          server.answer("*", answer)
          yield* client.query(functions.loadTask, {})
          const { connection: idle } = yield* Queue.take(server.received)
          yield* isFree
          server.answer("*", (request, response) => (request.connection === idle ? reset : answer)(request, response))
          const result = yield* Effect.result(client[kind](functions.loadTask, args))
          assert.strictEqual(Result.isSuccess(result), arrivals === 2)
          assert.strictEqual((yield* Queue.takeAll(server.received)).length, arrivals)
        })
    )
  }

  it.effect("that was opened for a call and breaks lets it arrive once", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp
      server.answer("*", reset)
      const failure = yield* Effect.flip(client.query(functions.loadTask, {}))
      assert.strictEqual(failure._tag, "ControlPlaneUnavailable")
      assert.strictEqual((yield* Queue.takeAll(server.received)).length, 1)
    })
  )
})

describe("a call", () => {
  it.effect("goes to its function with account and token, and brings the value", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp
      server.answer("/api/query", answerWith(200, { status: "success", value: { count: 3 }, logLines: [] }))
      server.answer("/api/mutation", answerWith(200, { status: "success", value: null, logLines: [] }))
      assert.deepStrictEqual(yield* client.query(functions.loadTask, { taskId: "t1" }), { count: 3 })
      assert.isNull(yield* client.mutation(functions.renew, { epoch: 3, absent: undefined }))
      const account = { accountId: "k57account", serviceToken: `mc_service_k57account_${secret}` }
      const [query, mutation] = yield* Queue.takeN(server.received, 2)
      assert.deepInclude(JSON.parse(query?.body ?? ""), {
        path: functions.loadTask,
        args: [{ taskId: "t1", ...account }]
      })
      assert.deepInclude(JSON.parse(mutation?.body ?? ""), {
        path: functions.renew,
        args: [{ epoch: 3, ...account }]
      })
    })
  )

  it.effect("carries no half of a surrogate pair, for which Convex would refuse it whenever it is tried", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp
      server.answer("*", answerWith(200, { status: "success", value: null, logLines: [] }))
      yield* client.mutation(functions.createTask, { title: "a \ud83d b", labels: ["\udc00"] })
      const { body } = yield* Queue.take(server.received)
      assert.deepInclude(JSON.parse(body).args[0], { title: "a \ufffd b", labels: ["\ufffd"] })
    })
  )

  const refusals: ReadonlyArray<
    readonly [data: Record<string, string>, tag: ControlPlaneFailure["_tag"], what: string]
  > = [
    [{ code: "unauthenticated" }, "TokenRefused", "a token that is unknown or revoked"],
    [{ code: "forbidden", reason: "token" }, "TokenRefused", "a token of another account"],
    [{ code: "forbidden", reason: "policy" }, "ControlPlaneRefused", "an agent that may not"],
    [{ code: "forbidden" }, "ControlPlaneRefused", "a no that names no reason"],
    [{ code: "lease_lost" }, "LeaseLost", "a stale epoch"],
    [{ code: "conflict", reason: "superseded" }, "BootConflict", "a later boot"],
    [{ code: "conflict", reason: "no_pulse" }, "BootConflict", "a boot that never said so"],
    [{ code: "conflict" }, "ControlPlaneRefused", "a state that does not fit"],
    [{ code: "not_found" }, "ControlPlaneRefused", "a thing that is gone"],
    [{ code: "invalid" }, "ControlPlaneRefused", "a value out of range"],
    [{ code: "limit" }, "ControlPlaneRefused", "too much"],
    [{ code: "added_later" }, "ControlPlaneRefused", "a code that this version does not know"],
    [{ other: "shape" }, "ControlPlaneRefused", "data of another shape"]
  ]
  it.effect("fails without a secret that stands in the code", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp
      server.answer("*", refusal({ code: `invalid ${secret}`, message: "no" }))
      const failure = yield* Effect.flip(client.mutation(functions.setTaskStatus, {}))
      assert.strictEqual(failure._tag === "ControlPlaneRefused" ? failure.code : "", "invalid <redacted>")
    })
  )

  for (const [data, tag, what] of refusals) {
    it.effect(`fails with ${tag} for ${what}`, () =>
      Effect.gen(function* () {
        const { client, server } = yield* setUp
        server.answer("*", refusal({ ...data, message: `no, says ${secret}` }))
        const failure = yield* Effect.flip(client.mutation(functions.setTaskStatus, {}))
        assert.strictEqual(failure._tag, tag)
        assert.notInclude(JSON.stringify(failure), secret)
        if (failure._tag === "ControlPlaneRefused" && data["code"] !== undefined) {
          assert.strictEqual(failure.code, data["code"])
          assert.include(failure.detail, "no, says")
        }
      })
    )
  }

  it.effect("is unavailable when the deployment fails within, is overloaded or speaks another language", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp
      for (const answer of [
        answerWith(560, { status: "error", errorMessage: "[Request ID: 1] Server Error", logLines: [] }),
        answerWith(503, { code: "TooManyConcurrentRequests", message: "Try again later." }),
        answerWith(503, { code: "OptimisticConcurrencyControlFailure", message: "Documents changed." }),
        answerWith(500, ""),
        answerWith(200, "<!doctype html>"),
        answerWith(200, { unheard: "of" }),
        reset
      ]) {
        server.answer("*", answer)
        const failure = yield* Effect.flip(client.query(functions.loadTask, {}))
        assert.strictEqual(failure._tag, "ControlPlaneUnavailable")
      }
    })
  )

  it.effect("is unavailable with the reason when nobody listens", () =>
    Effect.gen(function* () {
      const client = yield* clientAt(`http://127.0.0.1:${yield* closedPort}`)
      const failure = yield* Effect.flip(client.query(functions.loadTask, {}))
      assert.strictEqual(failure._tag, "ControlPlaneUnavailable")
      assert.include("detail" in failure ? failure.detail : "", "ECONNREFUSED")
    })
  )

  it.effect("is given up after 15 s, and its connection closed", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp
      server.answer("*", hang)
      const fiber = yield* Effect.forkChild(Effect.flip(client.mutation(functions.claim, {})))
      const { closedEarly } = yield* Queue.take(server.received)
      yield* TestClock.adjust("14999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "ControlPlaneUnavailable")
      yield* Effect.promise(() => closedEarly)
    })
  )

  it.effect("ends with its fiber, and its connection closes", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp
      server.answer("*", hang)
      const fiber = yield* Effect.forkChild(client.query(functions.loadTask, {}))
      const { closedEarly } = yield* Queue.take(server.received)
      yield* Fiber.interrupt(fiber)
      yield* Effect.promise(() => closedEarly)
    })
  )

  it.effect("waits for no other one", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp
      server.answer("/api/mutation", hang)
      server.answer("/api/query", answerWith(200, { status: "success", value: 1, logLines: [] }))
      const hanging = yield* Effect.forkChild(client.mutation(functions.claim, {}))
      yield* Queue.take(server.received)
      const another = yield* Effect.forkChild(client.mutation(functions.renew, {}))
      assert.include((yield* Queue.take(server.received)).body, "renew")
      assert.strictEqual(yield* client.query(functions.loadTask, {}), 1)
      yield* Fiber.interruptAll([hanging, another])
    })
  )

  it.effect("needs no socket", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp
      server.answer("*", answerWith(200, { status: "success", value: 1, logLines: [] }))
      yield* client.query(functions.loadTask, {})
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(
        (yield* Queue.takeAll(server.received)).map(({ method }) => method),
        ["POST"]
      )
      assert.deepStrictEqual(yield* SubscriptionRef.get(client.push), { isConnected: false, lastMessageAt: null })
    })
  )
})

/** The embedded control plane with an account, whose token subscribes to its backlog. */
const account = Effect.gen(function* () {
  const plane = yield* launchPlane()
  const person = personAt(plane.url, plane.adminKey)
  const { accountId, serviceToken } = yield* Effect.promise(() => makeAccount(person))
  const client = yield* clientAt(plane.url, accountId, serviceToken)
  const pushed = yield* Queue.unbounded<Result.Result<unknown, ControlPlaneFailure>>()
  const follower = yield* client.subscribe(functions.backlog, {}).pipe(
    Stream.runForEach((result) => Queue.offer(pushed, result)),
    Effect.forkScoped
  )
  return {
    accountId,
    client,
    follower,
    person,
    plane,
    pushed,
    /** Makes a notification for an agent. */
    assign: Effect.promise(async () => {
      const { taskId } = await person.mutation("app/tasks:create", { accountId, title: "A task" })
      await person.mutation("app/messages:post", { accountId, taskId, content: "@engineer please look" })
    })
  }
})

const nothing = { oldest: null }
const quiet = Effect.provide(Logger.layer([]))

/** Takes what was pushed until something satisfies. */
const until = <A>(queue: Queue.Queue<A>, satisfies: (element: A) => boolean) =>
  Effect.repeat(Queue.take(queue), { until: satisfies })

describe("a subscription", () => {
  it.live("brings the value at once and each change after it", () =>
    Effect.gen(function* () {
      const { assign, pushed } = yield* account
      assert.deepStrictEqual(yield* Queue.take(pushed), Result.succeed(nothing))
      yield* assign
      yield* until(pushed, (result) => Result.isSuccess(result) && (result.success as typeof nothing).oldest !== null)
    }).pipe(Effect.scoped, quiet)
  )

  it.live("brings a query's failure as an element that ends neither it nor the others of the socket", () =>
    Effect.gen(function* () {
      const { assign, client, pushed } = yield* account
      yield* Queue.take(pushed)
      const failures = yield* Queue.unbounded<Result.Result<unknown, ControlPlaneFailure>>()
      const failing = yield* client.subscribe("service/nothing:here", {}).pipe(
        Stream.runForEach((result) => Queue.offer(failures, result)),
        Effect.forkScoped
      )
      const failed = yield* Queue.take(failures)
      assert.isTrue(Result.isFailure(failed) && failed.failure._tag === "ControlPlaneUnavailable")
      yield* assign
      yield* until(pushed, Result.isSuccess)
      assert.isUndefined(failing.pollUnsafe())
    }).pipe(Effect.scoped, quiet)
  )

  it.live("learns that its token is revoked", () =>
    Effect.gen(function* () {
      const { accountId, person, pushed } = yield* account
      yield* Queue.take(pushed)
      yield* Effect.promise(async () => {
        const [token] = await person.query("app/tokens:list", { accountId })
        await person.mutation("app/tokens:revoke", { accountId, id: token.id })
      })
      const failed = yield* until(pushed, Result.isFailure)
      assert.isTrue(Result.isFailure(failed) && failed.failure._tag === "TokenRefused")
    }).pipe(Effect.scoped, quiet)
  )

  it.live("tells that push is up, and that it is lost when the control plane dies", () =>
    Effect.gen(function* () {
      const { client, plane, pushed } = yield* account
      yield* Queue.take(pushed)
      const reaches = (wanted: boolean) =>
        SubscriptionRef.changes(client.push).pipe(
          Stream.filter(({ isConnected }) => isConnected === wanted),
          Stream.take(1),
          Stream.runDrain
        )
      yield* reaches(true)
      yield* plane.signal("SIGKILL")
      yield* reaches(false)
    }).pipe(Effect.scoped, quiet)
  )

  it.effect("opens a new socket when the old one has been silent for 40 s, and takes its queries along", () =>
    Effect.gen(function* () {
      const { client, pushed } = yield* account
      // Each turn of the connection, as the new socket may be up before the test looks again.
      const turns = yield* Queue.unbounded<boolean>()
      yield* SubscriptionRef.changes(client.push).pipe(
        Stream.map(({ isConnected }) => isConnected),
        Stream.changes,
        Stream.runForEach((isConnected) => Queue.offer(turns, isConnected)),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* Queue.take(pushed)
      yield* TestClock.adjust("3 seconds")
      yield* until(turns, (isConnected) => isConnected)
      yield* TestClock.adjust("36 seconds")
      assert.strictEqual(yield* Queue.size(pushed), 0)
      assert.strictEqual(yield* Queue.size(turns), 0)
      // No ping came in all this time, as on a connection that a router forgot.
      yield* TestClock.adjust("5 seconds")
      assert.isFalse(yield* Queue.take(turns))
      assert.deepStrictEqual(yield* Queue.take(pushed), Result.succeed(nothing))
      yield* TestClock.adjust("3 seconds")
      assert.isTrue(yield* Queue.take(turns))
    }).pipe(quiet)
  )

  it.live("ends with its stream: what changes afterwards is pushed no more", () =>
    Effect.gen(function* () {
      const { assign, client, follower, pushed } = yield* account
      yield* Queue.take(pushed)
      yield* Fiber.interrupt(follower)
      yield* assign
      // A second subscription on the same socket has seen the change, so the first would have as well.
      const second = yield* client.subscribe(functions.backlog, {}).pipe(
        Stream.filter((result) => Result.isSuccess(result) && (result.success as typeof nothing).oldest !== null),
        Stream.take(1),
        Stream.runCollect
      )
      assert.lengthOf(second, 1)
      assert.strictEqual(yield* Queue.size(pushed), 0)
    }).pipe(Effect.scoped, quiet)
  )
})

describe("the question for a deployment", () => {
  it.effect("brings the time of one that answers, and names another server", () =>
    Effect.gen(function* () {
      const { client, server } = yield* setUp
      const date = "Sun, 29 Nov 2026 04:00:00 GMT"
      server.answer("/version", answerWith(200, "unknown", { date }))
      assert.deepStrictEqual(yield* Effect.map(client.deployment, (found) => found.date), date)
      for (const answer of [
        answerWith(200, { runtime: "1.0.0" }),
        answerWith(200, "<!doctype html>", { "content-type": "text/html" }),
        answerWith(404, "Not Found")
      ]) {
        server.answer("/version", answer)
        assert.include((yield* Effect.flip(client.deployment)).problem, "another server answers")
      }
    })
  )
})
