import type { ServerResponse } from "node:http"
import { completedResource, EventStream, failedResource, type ResponseIdentity } from "./answer.ts"
import { applyToAnswer } from "./faultEffects.ts"
import type { Fault } from "./faults.ts"
import { json } from "./httpAnswers.ts"
import { type GatewayRequest, settle } from "./requestRecords.ts"
import { satisfiesToolChoice, type ToolChoice } from "./toolChoice.ts"
import { type TurnEnd, TurnFailed } from "./turnEnd.ts"

/** Writes the end of one run in the form that the caller requested, unless a fault breaks the connection. */
export class Reply {
  readonly #response: ServerResponse
  readonly #identity: ResponseIdentity
  readonly #stream: EventStream | undefined
  readonly #record: GatewayRequest
  readonly #fault: Fault | undefined

  constructor(
    response: ServerResponse,
    identity: ResponseIdentity,
    stream: boolean,
    record: GatewayRequest,
    fault: Fault | undefined
  ) {
    this.#response = response
    this.#identity = identity
    this.#record = record
    this.#fault = fault
    this.#stream = stream ? new EventStream(response, identity) : undefined
    this.#stream?.open()
  }

  end(end: TurnEnd, constraint: ToolChoice["constraint"]): void {
    if (applyToAnswer(this.#fault, this.#record, this.#response)) return
    if (!satisfiesToolChoice(constraint, end)) {
      const message =
        constraint?.name === undefined
          ? "tool_choice=required was not satisfied by the agent response"
          : `tool_choice required a ${constraint.name} tool call, but the agent did not produce one`
      return this.fail(new TurnFailed(502, "api_error", message), end.usage)
    }
    settle(this.#record, 200, "answered")
    if (this.#stream !== undefined) return this.#stream.complete(end)
    json(this.#response, 200, completedResource(this.#identity, end))
  }

  fail(failure: TurnFailed, usage?: TurnEnd["usage"]): void {
    if (this.#record.ended === "open" && applyToAnswer(this.#fault, this.#record, this.#response)) return
    settle(this.#record, this.#stream === undefined ? failure.status : 200, "answered")
    if (this.#stream !== undefined) return this.#stream.fail(failure, usage)
    json(this.#response, failure.status, failedResource(this.#identity, failure, usage))
  }
}
