import { describe, expect, it } from "vitest"
import { fallbackMessage } from "../../convex/model/runs/fallbackMessage.ts"
import type { TurnFailure } from "../../src/domain/delivery/TurnFailure.ts"

const of = (kind: string, message = "") => fallbackMessage("Engineer", "mention", { class: kind, message })

/** What the text must name, for every failure class of a turn; null for those that never end a notification. */
const named: Record<TurnFailure["_tag"], RegExp | null> = {
  TurnSilent: /did not respond/,
  ContextOverflow: /too long for its model.*new session/,
  TurnAmbiguous: /internal error.*new session/,
  TurnRefused: /provider refused.*check the agent's model/,
  ProviderFailed: /provider has failed for a day.*key and limits/,
  TurnTimeout: /longer than allowed.*smaller step.*TURN_TIMEOUT_MS/,
  ConnectionLost: /connection to the gateway broke.*gateway's log/,
  TurnUnreadable: /could not be read.*gateway's version/,
  UnknownAgent: /not known the agent.*gateway's configuration/,
  GatewayRestarted: /kept restarting/,
  TurnStopped: null,
  GatewayUnreachable: null,
  GatewayMisconfigured: null
}

describe("the fallback message", () => {
  for (const [kind, pattern] of Object.entries(named)) {
    if (pattern === null) continue
    it(`gives the cause and a next step after ${kind}`, () => {
      expect(of(kind)).toMatch(pattern)
      expect(of(kind)).toMatch(/^Engineer did not answer the mention above\. /)
    })
  }

  it("recognises a request that is too long for the model, in the words of several providers", () => {
    for (const message of [
      "invalid_request_error: This model's maximum context length is 128000 tokens (HTTP 400)",
      "invalid_request_error: 400 prompt is too long: 210000 tokens > 200000 maximum (HTTP 400)",
      "invalid_request_error: input exceeds the context window of this model (HTTP 400)",
      "context_length_exceeded: 400 (HTTP 400)",
      "HTTP 413: Payload too large"
    ]) {
      expect(of("TurnRefused", message), message).toMatch(/too long for its model.*new session/)
    }
    expect(of("TurnRefused", "invalid_request_error: 400 unsupported parameter (HTTP 400)")).toMatch(/provider refused/)
  })

  it("names the runtime as the cause if its process ended or its own work failed", () => {
    expect(of("AttemptsSpent")).toMatch(/runtime itself stopped/)
    for (const kind of ["Defect", "BrokenContext", "invalid", "Unknown"]) {
      expect(of(kind)).toMatch(/runtime could not finish/)
    }
  })

  it("never contains the gateway's text", () => {
    expect(of("TurnRefused", "a detail of the gateway")).not.toMatch(/detail/)
  })
})
