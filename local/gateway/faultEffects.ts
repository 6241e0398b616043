import type { ServerResponse } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import type { Fault } from "./faults.ts"
import { unavailable } from "./httpAnswers.ts"
import { type GatewayRequest, settle } from "./requestRecords.ts"

/** Applies a fault before the run. Returns true if the fault has answered the request, false if the run follows. */
export const applyBeforeRun = async (
  fault: Fault,
  record: GatewayRequest,
  response: ServerResponse,
  signal: AbortSignal
): Promise<boolean> => {
  switch (fault.kind) {
    case "delay":
      await sleep(fault.delayMs ?? 1_000, undefined, { signal }).catch(() => undefined)
      return signal.aborted
    case "lose":
    case "truncate":
      return false
    case "hang":
      record.ended = "fault"
      return true
    case "unavailable":
      settle(record, 503, "fault")
      unavailable(response)
      return true
    case "answer":
      settle(record, fault.status, "fault")
      response.writeHead(fault.status, { "Content-Type": fault.contentType }).end(fault.body)
      return true
    case "garbage":
      settle(record, 200, "fault")
      response.writeHead(200, { "Content-Type": "application/json; charset=utf-8" }).end('{"id":"resp_')
      return true
    case "reset":
    case "refuse":
      settle(record, 0, "fault")
      response.socket?.resetAndDestroy()
      return true
  }
}

/** Applies a fault to the answer after the run. Returns true if the connection is broken, so that no answer follows. */
export const applyToAnswer = (fault: Fault | undefined, record: GatewayRequest, response: ServerResponse): boolean => {
  if (fault?.kind === "lose") {
    settle(record, 0, "fault")
    response.socket?.resetAndDestroy()
    return true
  }
  if (fault?.kind === "truncate") {
    settle(record, 0, "fault")
    if (!response.headersSent) {
      response.writeHead(200, { "Content-Type": "application/json; charset=utf-8", "Content-Length": 1_000 })
    }
    response.write('{"id":"resp_', () => response.socket?.resetAndDestroy())
    return true
  }
  return false
}
