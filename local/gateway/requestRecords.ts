import type { RequestBody } from "./requestBody.ts"

/** One request to /v1/responses as the gateway saw it. */
export interface GatewayRequest {
  readonly id: number
  /** When its body had been read, epoch milliseconds with fractions. */
  readonly at: number
  readonly agent: string
  readonly session: string
  readonly model: string
  readonly input: RequestBody["input"]
  readonly instructions: string | undefined
  readonly tools: ReadonlyArray<string>
  readonly stream: boolean
  readonly traceparent: string | undefined
  /** The HTTP status of the answer; 0 while open, if the caller left, or if a fault broke the connection. */
  status: number
  ended: "open" | "answered" | "closed-early" | "fault"
  /** When its connection closed, in the unit of `at`; 0 before. */
  closedAt: number
}

const keptRequests = 250
const keptArrivals = 20_000

/** The latest requests, for tests and benches. */
export class RequestRecords {
  readonly requests: Array<GatewayRequest> = []
  /** Time and agent of each request. A load of thousands of requests is timed by these, without their texts. */
  readonly arrivals: Array<Pick<GatewayRequest, "at" | "agent">> = []
  count = 0

  /** Starts the record of a request. A runtime's canary is no work: its record is neither counted nor kept. */
  start(
    body: RequestBody,
    run: { readonly agent: string; readonly session: string; readonly isCanary: boolean },
    traceparent: unknown
  ): GatewayRequest {
    if (!run.isCanary) this.count += 1
    const record: GatewayRequest = {
      id: this.count,
      at: now(),
      agent: run.agent,
      session: run.session,
      model: body.model,
      input: body.input,
      instructions: body.instructions,
      tools: (body.tools ?? []).map(({ name }) => name),
      stream: body.stream === true,
      traceparent: typeof traceparent === "string" ? traceparent : undefined,
      status: 0,
      ended: "open",
      closedAt: 0
    }
    if (run.isCanary) return record
    this.requests.push(record)
    if (this.requests.length > keptRequests * 2) this.requests.splice(0, keptRequests)
    this.arrivals.push({ at: record.at, agent: run.agent })
    if (this.arrivals.length > keptArrivals * 2) this.arrivals.splice(0, keptArrivals)
    return record
  }
}

/** Stores how a request was answered. */
export const settle = (record: GatewayRequest, status: number, ended: GatewayRequest["ended"]): void => {
  record.status = status
  record.ended = ended
}

/** Stores that the connection closed, which is early if the request has no answer yet. */
export const close = (record: GatewayRequest): void => {
  if (record.ended === "open") record.ended = "closed-early"
  record.closedAt = now()
}

const now = (): number => performance.timeOrigin + performance.now()
