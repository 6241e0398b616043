import { Buffer } from "node:buffer"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { receiveTraces } from "../traceReceiver.ts"
import { eventually, makeHouse } from "./house.ts"

/** The forms in which a secret may come back in somebody's error. */
const formsOf = (secret: string): ReadonlyArray<string> => [
  secret,
  JSON.stringify(secret).slice(1, -1),
  encodeURIComponent(secret),
  Buffer.from(secret).toString("base64"),
  Buffer.from(secret).toString("base64url")
]

const textOf = (url: string) => Effect.promise(async () => await (await fetch(url)).text())

/** The first events of the status page, until one tells of dead letters. */
const eventsOf = (url: string) =>
  Effect.promise(async () => {
    const reader = (await fetch(`${url}/status/events`)).body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ""
    while (!/event: ?letters\ndata: ?.*\n\n/.test(text)) {
      const { done, value } = await reader.read()
      if (done) break
      text += value
    }
    await reader.cancel()
    return text
  })

describe("secrets that come back in an error, in whatever form", () => {
  it.live("are in no sink: logs, spans, health, metrics, page, thread, dead letter", () =>
    Effect.gen(function* () {
      const gatewayToken = 'canary/gateway+token&"quoted"=4711'
      const honeycombKey = "canary/honeycomb+key&=4712"
      const collectorKey = "canary-collector-key-4713"
      const receiver = yield* receiveTraces
      const house = yield* makeHouse()
      const secrets = [
        house.account.serviceToken,
        house.account.serviceToken.slice(-64),
        gatewayToken,
        honeycombKey,
        collectorKey
      ]
      const echoed = secrets.flatMap(formsOf)
      const runtime = yield* house.startRuntime({
        OPENCLAW_GATEWAY_TOKEN: gatewayToken,
        HONEYCOMB_API_KEY: honeycombKey,
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${collectorKey}`,
        OTEL_BSP_SCHEDULE_DELAY: "50",
        TRACE_CONTENT: "true",
        DELIVERY_MAX_ATTEMPTS: "1",
        LOG_LEVEL: "debug"
      })
      const taskId = yield* house.newTask(`Look at ${house.account.serviceToken}`)
      // A few at a time, so that the cut of long errors hides none.
      for (let count = 1; (count - 1) * 3 < echoed.length; count += 1) {
        const message = `refused: ${echoed.slice((count - 1) * 3, count * 3).join(" ")}`
        yield* house.fault({
          kind: "answer",
          status: 400,
          contentType: "application/json",
          body: JSON.stringify({ error: { message, type: "invalid_request_error" } })
        })
        yield* house.post(taskId, "@engineer are you there?")
        yield* eventually(
          house.notifications,
          (rows) => rows.filter(({ state, type }) => type === "mention" && state === "dead").length === count
        )
      }
      const health = yield* eventually(
        textOf(`${runtime.url}/health`),
        (text) => JSON.parse(text).delivery.deadLetters * 3 >= echoed.length
      )
      const failed = () => receiver.spans().filter(({ attributes }) => attributes["mission_control.outcome"] === "dead")
      yield* eventually(Effect.sync(failed), (spans) => spans.length * 3 >= echoed.length)
      const sinks: Record<string, string> = {
        spans: receiver.text(),
        log: runtime.output(),
        health,
        metrics: yield* textOf(`${runtime.url}/metrics`),
        readyz: yield* textOf(`${runtime.url}/readyz`),
        page: yield* textOf(`${runtime.url}/`),
        events: yield* eventsOf(runtime.url),
        thread: JSON.stringify((yield* house.messages(taskId)).filter(({ author }) => author.type !== "user")),
        notifications: JSON.stringify(yield* house.notifications)
      }
      // What is looked through has the errors: it is not empty by accident.
      for (const sink of ["log", "health", "events", "notifications", "spans"])
        assert.include(sinks[sink], "refused: ", sink)
      const found = Object.entries(sinks).flatMap(([sink, text]) =>
        echoed.filter((form) => text.includes(form)).map((form) => `${sink}: ${form}`)
      )
      assert.deepStrictEqual(found, [])
    }).pipe(Effect.scoped)
  )
})
