import { ByteSize, Duration, Effect, Fiber, Layer, Option } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { CAPABILITY_HEADER, SESSION_KEY_HEADER } from "../../domain/http/Capability.ts"
import { hostsOf, peerProblem } from "../../domain/http/PeerPolicy.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { Telemetry } from "../../layers/telemetry/Telemetry.ts"
import { AgentTools, HTTP_CALL, refusalJson } from "../../services/AgentTools.ts"
import type { ToolResult } from "../../services/AgentTools.ts"
import { LiveRuns } from "../../services/LiveRuns.ts"
import type { AgentTool } from "../../services/tools/AgentTool.ts"
import { allTools } from "../../services/tools/AllTools.ts"
import { AgentApi, statusOfCode } from "./AgentApi.ts"
import type { RefusalCode } from "./AgentApi.ts"

/** The largest body: well above the longest document in ASCII. */
const MAX_BODY = ByteSize.kibibytes(256)
const BODY_TIMEOUT = Duration.seconds(10)
/** A little more than the control plane's own time limit for a tool. */
const CALL_TIMEOUT = Duration.seconds(40)

/**
 * A refused request; the code determines the status. Not an Error, which would cost a stack trace.
 */
interface Refused {
  readonly _tag: "Refused"
  readonly code: RefusalCode
  readonly detail: string
}

const refuse = (code: RefusalCode, detail: string): Effect.Effect<never, Refused> =>
  Effect.fail({ _tag: "Refused", code, detail })

const json = (text: string, status = 200, headers: Record<string, string> = {}) =>
  HttpServerResponse.text(text, {
    status,
    contentType: "application/json",
    headers: { "cache-control": "no-store", ...headers }
  })

const methods = ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"] as const

const isJson = (contentType: string | undefined): boolean =>
  contentType !== undefined && /^application\/json\s*(;|$)/i.test(contentType.trim())

/**
 * Serves every tool over HTTP. The checks follow the contract's order: method, address, host, origin, media type,
 * authentication, size, format; then the tool runs, which is the same for both transports. Authentication does not need
 * the control plane.
 */
export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const { agentHttpAllow, healthHost, taskStatusBaseUrl } = yield* RuntimeConfig
    const agentTools = yield* AgentTools
    const liveRuns = yield* LiveRuns
    const telemetry = yield* Telemetry
    const rules = { allow: agentHttpAllow, hosts: hostsOf(healthHost, taskStatusBaseUrl) }

    const checkPeer = Effect.fnUntraced(function* ({ headers, remoteAddress }: HttpServerRequest.HttpServerRequest) {
      const problem = peerProblem(rules, {
        remoteAddress: Option.getOrUndefined(remoteAddress),
        host: headers["host"],
        origin: headers["origin"]
      })
      return problem === null ? undefined : yield* refuse("forbidden", problem)
    })

    const readBody = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
      const tooLarge = refuse("too_large", `the body is larger than ${ByteSize.toNumberUnsafe(MAX_BODY)} bytes`)
      if (Number(request.headers["content-length"] ?? 0) > ByteSize.toNumberUnsafe(MAX_BODY)) return yield* tooLarge
      // Aborting the read would close the connection, so this waits for the end of the request and the refusal arrives.
      const reading = yield* request.text.pipe(
        Effect.provideService(HttpServerRequest.MaxBodySize, MAX_BODY),
        Effect.forkScoped
      )
      const text = yield* Fiber.join(reading).pipe(
        Effect.catch((error) =>
          error.reason._tag === "RequestParseError" && error.reason.reason === "BodyTooLarge"
            ? tooLarge
            : refuse("malformed", "the body is incomplete")
        ),
        Effect.timeoutOrElse({
          duration: BODY_TIMEOUT,
          orElse: () => refuse("timeout", `the body did not arrive within ${Duration.format(BODY_TIMEOUT)}`)
        })
      )
      return text.trim() === "" ? yield* refuse("malformed", "the body is empty: send a JSON object") : text
    })

    const call = Effect.fnUntraced(function* (tool: AgentTool, request: HttpServerRequest.HttpServerRequest) {
      yield* checkPeer(request)
      if (!isJson(request.headers["content-type"])) {
        return yield* refuse("unsupported_media_type", "send content-type: application/json")
      }
      const run = yield* liveRuns
        .authenticate(request.headers[SESSION_KEY_HEADER], request.headers[CAPABILITY_HEADER])
        .pipe(Effect.catch(({ detail }) => refuse("unauthenticated", detail)))
      const text = yield* readBody(request)
      const result: ToolResult = yield* agentTools
        .executeAgentTool(run, { callId: HTTP_CALL, name: tool.name, arguments: text })
        .pipe(
          Effect.timeoutOrElse({
            duration: CALL_TIMEOUT,
            orElse: () => refuse("unavailable", "the control plane did not answer: repeat the same call")
          }),
          Effect.catchTags({
            LeaseLost: () => refuse("lease_lost", "this run has ended: it was stopped, or another run has replaced it"),
            ControlPlaneUnavailable: () =>
              refuse("unavailable", "the control plane is unavailable: repeat the same call"),
            TokenRefused: () => refuse("unavailable", "the control plane refuses this runtime"),
            BootConflict: () => refuse("unavailable", "another runtime has replaced this one")
          }),
          telemetry.span("AgentEndpoints.call", {
            kind: "server",
            attributes: {
              "gen_ai.agent.id": run.context.agent.id,
              "gen_ai.agent.name": run.context.agent.name,
              "gen_ai.conversation.id": run.context.sessionKey,
              "mission_control.run.id": run.context.notification.id
            }
          }),
          Effect.annotateLogs({ transport: "http" }),
          run.within
        )
      if (result.success && result.isEffect) run.httpEffects.push(result.tool)
      return json(result.json, result.success ? 200 : statusOfCode(result.code ?? "internal"))
    })

    const serve = (tool: AgentTool) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => call(tool, request)).pipe(
        Effect.catchTag("Refused", ({ code, detail }) =>
          Effect.succeed(json(refusalJson(tool.name, code, detail), statusOfCode(code)))
        ),
        Effect.catchDefect((defect) =>
          Effect.logError("an agent's endpoint failed with a defect", defect).pipe(
            Effect.as(
              json(refusalJson(tool.name, "internal", "internal error of the runtime, which has logged it"), 500)
            )
          )
        )
      )

    const handlers = HttpApiBuilder.group(AgentApi, "agent", (handlers) => {
      // The contract's types cannot express a table of tools that are all handled in the same way.
      const untyped = handlers as unknown as {
        handleRaw(name: string, handler: () => ReturnType<typeof serve>): unknown
      }
      for (const tool of allTools) untyped.handleRaw(tool.name, () => serve(tool as AgentTool))
      return untyped as never
    })

    const others = Layer.effectDiscard(
      Effect.gen(function* () {
        const router = yield* HttpRouter.HttpRouter
        for (const { name, path } of allTools) {
          const refused = json(refusalJson(name, "method_not_allowed", "send POST"), 405, { allow: "POST" })
          for (const method of methods) yield* router.add(method, path, refused)
        }
        yield* router.add(
          "GET",
          "/openapi.json",
          Effect.flatMap(HttpServerRequest.HttpServerRequest, checkPeer).pipe(
            // Loaded on demand: the code that describes the tools is larger than the code that serves them.
            Effect.andThen(Effect.promise(() => import("./AgentApiDocument.ts"))),
            Effect.map(({ agentApiDocument }) => json(agentApiDocument)),
            Effect.catchTag("Refused", ({ code, detail }) =>
              Effect.succeed(json(refusalJson("openapi", code, detail), statusOfCode(code)))
            )
          )
        )
      })
    )

    return Layer.merge(HttpApiBuilder.layer(AgentApi).pipe(Layer.provide(handlers)), others)
  })
)
