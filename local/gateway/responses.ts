import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http"
import { isCanarySession } from "../../src/domain/gateway/Canary.ts"
import { newIdentity } from "./answer.ts"
import type { GatewayConfig } from "./config.ts"
import { applyBeforeRun } from "./faultEffects.ts"
import type { Faults } from "./faults.ts"
import { json, readLimited, refusal } from "./httpAnswers.ts"
import { promptOf } from "./prompt.ts"
import type { Release } from "./release.ts"
import { Reply } from "./reply.ts"
import { parseRequestBody, type RequestBody } from "./requestBody.ts"
import { close, type RequestRecords } from "./requestRecords.ts"
import type { Runs } from "./runs.ts"
import { resolveKey, selectAgent, selectSession } from "./selection.ts"
import { applyToolChoice, hasNameConflict } from "./toolChoice.ts"
import { internalError, TurnFailed } from "./turnEnd.ts"

/** The parts of the gateway that a request to /v1/responses uses. */
export interface ResponsesOptions {
  readonly release: Release
  readonly runs: Runs
  readonly faults: Faults
  readonly records: RequestRecords
  /** The current configuration; it changes with its file. */
  readonly config: () => GatewayConfig
  /** Aborts when the gateway stops. */
  readonly stopping: AbortSignal
}

const keptResponses = 500

/** Serves POST /v1/responses: reads the request, runs its agent, and writes the answer. */
export class Responses {
  readonly #options: ResponsesOptions
  /** Session of each recent response, for `previous_response_id`. */
  readonly #sessions = new Map<string, { readonly scope: string; readonly sessionKey: string }>()

  constructor(options: ResponsesOptions) {
    this.#options = options
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await readLimited(request)
    if (text === undefined) return json(response, 413, refusal("Payload too large"))
    let input: unknown
    try {
      input = text === "" ? {} : JSON.parse(text)
    } catch (error) {
      return json(response, 400, refusal((error as Error).message))
    }
    const parsed = parseRequestBody(input, this.#options.release)
    if ("refused" in parsed) return json(response, 400, refusal(parsed.refused))
    await this.#serveTurn(parsed.body, request.headers, response)
  }

  async #serveTurn(body: RequestBody, headers: IncomingHttpHeaders, response: ServerResponse): Promise<void> {
    const { release, runs, faults, records, stopping } = this.#options
    const config = this.#options.config()
    const selected = selectAgent(headers, body.model, config.agents)
    if ("refused" in selected) return json(response, 400, refusal(selected.refused))
    const prompt = promptOf(body.input, release)
    const choice = applyToolChoice(body.tools ?? [], body.tool_choice)
    if (choice === undefined) return json(response, 400, refusal("invalid tool configuration"))
    const keyed = selectSession(headers, selected.agent, body.user)
    if ("refused" in keyed) return json(response, 400, refusal(keyed.refused))
    if (prompt.text === "") return json(response, 400, refusal("Missing user message in `input`."))
    const scope = `${headers.authorization}\n${selected.agent}\n${String(headers["x-openclaw-session-key"] ?? "")}`
    const earlier = this.#sessions.get(body.previous_response_id ?? "")
    const sessionKey = earlier?.scope === scope ? earlier.sessionKey : keyed.sessionKey
    const target = resolveKey(sessionKey, config.agents)
    const session = target?.sessionKey ?? sessionKey
    const isCanary = isCanarySession(session)
    const record = records.start(
      body,
      { agent: target?.agent ?? selected.agent, session, isCanary },
      headers["traceparent"]
    )
    const aborted = new AbortController()
    response.once("close", () => {
      close(record)
      aborted.abort(new Error("client disconnected"))
    })
    const fault = isCanary ? undefined : faults.take(record.agent, record.session)
    if (fault !== undefined && (await applyBeforeRun(fault, record, response, aborted.signal))) return
    const identity = newIdentity(body.model)
    this.#remember(identity.id, scope, sessionKey)
    const reply = new Reply(response, identity, body.stream === true, record, fault)
    try {
      if (target === undefined) throw internalError()
      if (hasNameConflict(body.tools ?? [])) {
        throw new TurnFailed(400, "invalid_request_error", "invalid tool configuration")
      }
      const end = await runs.run(
        {
          runId: identity.id,
          target,
          text: prompt.text,
          instructions: [body.instructions, prompt.system, choice.hint].filter(Boolean).join("\n\n"),
          workspace: config.workspaces[target.agent],
          tools: choice.tools,
          // Tool Search is itself a tool: a policy that denies all tools leaves the client's tools visible.
          toolSearch: !config.deniesAll && (config.toolSearch ?? release.toolSearch),
          maxTokens: body.max_output_tokens
        },
        AbortSignal.any([aborted.signal, stopping])
      )
      reply.end(end, choice.constraint)
    } catch (error) {
      if (aborted.signal.aborted || stopping.aborted) return
      reply.fail(error instanceof TurnFailed ? error : internalError())
      if (!(error instanceof TurnFailed)) throw error
    }
  }

  #remember(responseId: string, scope: string, sessionKey: string): void {
    this.#sessions.set(responseId, { scope, sessionKey })
    if (this.#sessions.size <= keptResponses) return
    const oldest = this.#sessions.keys().next().value
    if (oldest !== undefined) this.#sessions.delete(oldest)
  }
}
