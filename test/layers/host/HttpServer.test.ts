import { subscribe, unsubscribe } from "node:diagnostics_channel"
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { HttpRouter, HttpServer as Server, HttpServerResponse } from "effect/http"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import * as HttpServer from "../../../src/layers/host/HttpServer.ts"

/** Waits until Node has told a request to whoever listens. */
const requestArrives = Effect.callback<void>((resume) => {
  // Published before the listeners are told.
  const note = () => process.nextTick(() => resume(Effect.void))
  subscribe("http.server.request.start", note)
  return Effect.sync(() => unsubscribe("http.server.request.start", note))
})

describe("the server", () => {
  it.live("answers requests that arrived before its routes existed, once", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(
        HttpServer.layer.pipe(Layer.provide(RuntimeConfig.layerTest({ healthHost: "127.0.0.1", healthPort: 0 })))
      )
      const { address } = yield* Effect.provideContext(Server.HttpServer, context)
      const port = address._tag === "UnixPathAddress" ? assert.fail("no port") : address.port
      const get = (path: string) =>
        Effect.promise((signal) => fetch(`http://127.0.0.1:${port}${path}`, { signal }).then((answer) => answer.text()))

      const arrival = yield* Effect.forkChild(requestArrives, { startImmediately: true })
      const early = yield* Effect.forkChild(get("/early"))
      yield* Fiber.join(arrival)
      let answers = 0
      const routes = HttpRouter.use((router) =>
        router.add("GET", "/*", () => Effect.sync(() => HttpServerResponse.text(`answer ${(answers += 1)}`)))
      )
      yield* Layer.build(
        HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
          Layer.provide(Layer.succeedContext(context))
        )
      )
      assert.strictEqual(yield* Fiber.join(early), "answer 1")
      assert.strictEqual(yield* get("/late"), "answer 2")
    })
  )

  const ask = (port: number, target: string, ...headers: ReadonlyArray<string>) =>
    Effect.callback<string>((resume) => {
      const socket = connect(port, "127.0.0.1", () =>
        socket.write([`GET ${target} HTTP/1.1`, ...headers, "Connection: close", "", ""].join("\r\n"))
      )
      let answer = ""
      socket.setEncoding("latin1").on("data", (chunk: string) => (answer += chunk))
      socket.on("close", () => resume(Effect.succeed(answer)))
      return Effect.sync(() => socket.destroy())
    })
  const statusOf = (answer: string) => Number(answer.split(" ")[1])

  it.live("serves a route only under its exact path, and no request with two hosts", () =>
    Effect.gen(function* () {
      const routes = HttpRouter.use((router) =>
        Effect.forEach(["/", "/health", "/agent/task-load"] as const, (path) =>
          router.add("GET", path, HttpServerResponse.text("served"))
        )
      )
      const context = yield* Layer.build(
        HttpRouter.serve(routes, {
          disableLogger: true,
          disableListenLog: true,
          middleware: HttpServer.strictly
        }).pipe(
          Layer.provideMerge(HttpServer.layer),
          Layer.provide(RuntimeConfig.layerTest({ healthHost: "127.0.0.1", healthPort: 0 }))
        )
      )
      const { address } = yield* Effect.provideContext(Server.HttpServer, context)
      const port = address._tag === "UnixPathAddress" ? assert.fail("no port") : address.port
      const served = ["/", "/health", "/agent/task-load", "/?", "/health?a=//b;c#d"]
      for (const target of served) assert.strictEqual(statusOf(yield* ask(port, target, "Host: a")), 200, target)
      for (const target of [
        "//",
        "//health",
        "/health/",
        "/health//",
        "/HEALTH",
        "/AGENT/task-load",
        "/agent//task-load",
        "//agent/task-load",
        "/agent/task-load/",
        "/health;a=b",
        "/health;",
        "/%68ealth",
        "/health%2f",
        "/health#x",
        "/./health",
        "/agent/../health",
        "/\\health",
        "http://a/health",
        "*"
      ]) {
        assert.strictEqual(statusOf(yield* ask(port, target, "Host: a")), 404, target)
      }
      const two = yield* ask(port, "/health", "Host: a", "Host: b")
      assert.strictEqual(statusOf(two), 400)
      assert.include(two, "two Host headers")
    })
  )
})
