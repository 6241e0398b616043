import type { IncomingMessage, ServerResponse } from "node:http"
import { z } from "zod"
import { readBody, serveModelControl } from "../model/control.ts"
import type { ScriptedModel } from "../model/scriptedModel.ts"
import { type Faults, parseFault } from "./faults.ts"
import { json, plain } from "./httpAnswers.ts"
import type { RequestRecords } from "./requestRecords.ts"

/** The parts of the gateway that the routes under /__local/ show and change. */
export interface Controlled {
  readonly records: RequestRecords
  readonly faults: Faults
  readonly model: ScriptedModel | undefined
  stats(): object
  /** Sends an event for each followed session. */
  emitToAll(event: string, payload: object): void
  /** Closes the port for `ms` milliseconds. */
  refuseFor(ms: number): void
}

const emitted = z.object({ event: z.string().min(1), payload: z.record(z.string(), z.unknown()) })

/** Serves /__local/stats, requests, arrivals, events, faults and script, which tests, benches and the demonstration use. */
export const serveControl = async (
  path: string,
  gateway: Controlled,
  request: IncomingMessage,
  response: ServerResponse
): Promise<void> => {
  const { records, faults, model } = gateway
  if (path === "/__local/stats") return json(response, 200, gateway.stats())
  if (path === "/__local/requests") {
    if (request.method === "DELETE") records.requests.length = 0
    return json(response, 200, { count: records.count, requests: records.requests })
  }
  if (path === "/__local/arrivals") {
    if (request.method === "DELETE") records.arrivals.length = 0
    return json(response, 200, { arrivals: records.arrivals })
  }
  if (path === "/__local/events" && request.method === "POST") {
    const { event, payload } = emitted.parse(JSON.parse(await readBody(request)))
    gateway.emitToAll(event, payload)
    return json(response, 200, { ok: true })
  }
  if (path === "/__local/faults") {
    if (request.method === "DELETE") faults.clear()
    if (request.method !== "POST") return json(response, 200, { waiting: faults.size })
    try {
      const fault = parseFault(JSON.parse(await readBody(request)))
      json(response, 200, { ok: true })
      if (fault.kind === "refuse") response.once("finish", () => gateway.refuseFor(fault.forMs))
      else faults.add(fault)
    } catch (error) {
      json(response, 400, { error: (error as Error).message })
    }
    return
  }
  if (model !== undefined) {
    const prefix = path === "/__local/script" ? "/__local" : "/__local/model"
    if (await serveModelControl(model, request, response, prefix)) return
  }
  plain(response, 404, "Not Found")
}
