import { subscribe, unsubscribe } from "node:diagnostics_channel"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { HttpRouter, HttpServer as Server, HttpServerResponse } from "effect/http"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import * as HttpServer from "../../src/layers/HttpServer.ts"

/** Waits until Node has told a request to whoever listens. */
const requestArrives = Effect.callback<void>((resume) => {
  // Published before the listeners are told.
  const note = () => process.nextTick(() => resume(Effect.void))
  subscribe("http.server.request.start", note)
  return Effect.sync(() => unsubscribe("http.server.request.start", note))
})

describe("the server", () => {
  it.live("answers what was asked after its port was opened and before its routes were there, once", () =>
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
})
