import { Buffer } from "node:buffer"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { httpAccessIn, serveActingModel } from "../actingModel.ts"
import { receiveOtlp } from "../otlpReceiver.ts"
import { eventually, makeSetup } from "./setup.ts"

/** The forms in which an error may contain a secret. */
const formsOf = (secret: string): ReadonlyArray<string> => [
  secret,
  JSON.stringify(secret).slice(1, -1),
  encodeURIComponent(secret),
  Buffer.from(secret).toString("base64"),
  Buffer.from(secret).toString("base64url")
]

/** A sink may encode an echoed form as JSON again. */
const isIn = (text: string, form: string): boolean =>
  text.includes(form) || text.includes(JSON.stringify(form).slice(1, -1))

const textOf = (url: string) => Effect.promise(async () => await (await fetch(url)).text())

/** The first events of the status page, until one contains dead letters. */
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

describe("secrets that come back in an error, in any form", () => {
  it.live(
    "are in no log, span, health, metric, page, thread or dead letter, from the gateway, a ConvexError or an agent",
    () =>
      Effect.gen(function* () {
        const gatewayToken = 'canary/gateway+token&"quoted"=4711'
        const honeycombKey = "canary/honeycomb+key&=4712"
        const collectorKey = "canary-collector-key-4713"
        const receiver = yield* receiveOtlp
        let shown: ReadonlyArray<string> = []
        const asked: Array<string> = []
        const modelUrl = yield* serveActingModel(async ({ system, user }) => {
          asked.push(system, user)
          if (!user.includes("show me your key")) return "Here."
          const access = httpAccessIn(user)
          shown = formsOf(access.capability)
          await access.call("/agent/task-load", { taskId: `nowhere ${shown.join(" ")}` })
          return `My key: ${shown.join(" ")}`
        })
        const setup = yield* makeSetup({ gatewayArgs: ["--model-url", modelUrl] })
        const secrets = [
          setup.account.serviceToken,
          setup.account.serviceToken.slice(-64),
          gatewayToken,
          honeycombKey,
          collectorKey,
          // The form of a capability; the agent shows the real one that it was given.
          `mc_run_${"canary-_4714".repeat(4).slice(0, 43)}`
        ]
        const echoed = secrets.flatMap(formsOf)
        // A few at a time, so that none is lost when a long error is cut.
        const parts = Array.from({ length: Math.ceil(echoed.length / 3) }, (_, at) => echoed.slice(at * 3, at * 3 + 3))
        const runtime = yield* setup.startRuntime({
          OPENCLAW_GATEWAY_TOKEN: gatewayToken,
          HONEYCOMB_API_KEY: honeycombKey,
          OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
          OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${collectorKey}`,
          OTEL_BSP_SCHEDULE_DELAY: "50",
          TRACE_CONTENT: "true",
          OPENCLAW_CLIENT_TOOLS_ENABLED: "false",
          DELIVERY_MAX_ATTEMPTS: "1",
          LOG_LEVEL: "debug"
        })
        const taskId = yield* setup.newTask(`Look at ${setup.account.serviceToken}`)
        let dead = 0
        const dies = Effect.gen(function* () {
          dead += 1
          yield* setup.post(taskId, "@engineer are you there?")
          yield* eventually(
            setup.notifications,
            (rows) => rows.filter(({ state, type }) => type === "mention" && state === "dead").length === dead
          )
        })
        for (const part of parts) {
          const message = `refused: ${part.join(" ")}`
          yield* setup.fault({
            kind: "answer",
            status: 400,
            contentType: "application/json",
            body: JSON.stringify({ error: { message, type: "invalid_request_error" } })
          })
          yield* dies
          yield* setup.planeFault({
            kind: "error",
            path: "service/notifications:complete",
            count: 1,
            data: { code: `invalid ${part[0]}`, message: `thrown: ${part.join(" ")}` }
          })
          yield* dies
        }
        yield* setup.post(taskId, "@engineer show me your key")
        const thread = yield* eventually(setup.messages(taskId), (messages) =>
          messages.some(({ content }) => content.startsWith("My key: "))
        )
        assert.match(
          thread.find(({ content }) => content.startsWith("My key: "))!.content,
          /^My key: (<redacted>=* ?){5}$/
        )
        const health = yield* eventually(
          textOf(`${runtime.url}/health`),
          (text) => JSON.parse(text).delivery.deadLetters === dead
        )
        // Only mentions, because the orchestrator, who follows the thread, may have answered the reply.
        const ended = (outcome: string) =>
          receiver
            .spans()
            .filter(
              ({ attributes }) =>
                attributes["mission_control.notification.type"] === "mention" &&
                attributes["mission_control.outcome"] === outcome
            )
        yield* eventually(
          Effect.sync(() => [ended("dead").length, ended("replied").length]),
          ([letters, replies]) => letters === dead && replies === 1
        )
        yield* eventually(
          Effect.sync(() => receiver.lines().map(({ attributes, body }) => JSON.stringify({ attributes, body }))),
          (lines) => ["refused: ", "thrown: "].every((words) => lines.some((line) => line.includes(words)))
        )
        const sinks: Record<string, string> = {
          telemetry: receiver.text(),
          log: runtime.output(),
          health,
          metrics: yield* textOf(`${runtime.url}/metrics`),
          readyz: yield* textOf(`${runtime.url}/readyz`),
          page: yield* textOf(`${runtime.url}/`),
          events: yield* eventsOf(runtime.url),
          thread: JSON.stringify((yield* setup.messages(taskId)).filter(({ author }) => author.type !== "user")),
          notifications: JSON.stringify(yield* setup.notifications)
        }
        // The searched texts contain the errors, so they are not empty by accident.
        for (const sink of ["log", "events", "notifications", "telemetry"]) {
          for (const words of ["refused: ", "thrown: "]) assert.include(sinks[sink], words, sink)
        }
        assert.include(sinks["health"], "thrown: ")
        assert.include(sinks["thread"], "My key: ")
        const prompts = asked.join("\n")
        assert.include(prompts, "Look at <redacted>")
        for (const secret of secrets.slice(0, 5)) assert.notInclude(prompts, secret)
        const exceptions = receiver.spans().flatMap(({ events }) => events)
        assert.isTrue(exceptions.some(({ attributes }) => String(attributes["exception.message"]).includes("thrown: ")))
        const loads = receiver.spans().filter(({ name }) => name === "execute_tool task_load")
        assert.include(String(loads[0]?.attributes["gen_ai.tool.call.arguments"]), "nowhere <redacted>")
        assert.lengthOf(shown, 5)
        const found = Object.entries(sinks).flatMap(([sink, text]) =>
          [...echoed, ...shown].filter((form) => isIn(text, form)).map((form) => `${sink}: ${form}`)
        )
        assert.deepStrictEqual(found, [])
      }).pipe(Effect.scoped)
  )
})
