import type { IncomingMessage, ServerResponse } from "node:http"
import { isMethodAllowed, json } from "./httpAnswers.ts"

type Probe = "live" | "ready" | "startup"

const probes = new Map<string, Probe>([
  ["/health", "live"],
  ["/healthz", "live"],
  ["/ready", "ready"],
  ["/readyz", "ready"],
  ["/startup", "startup"],
  ["/startupz", "startup"]
])

/** The gateway's state as its probes report it. */
export interface ProbeState {
  readonly version: string
  readonly uptimeMs: number
  readonly isReady: boolean
  readonly isDraining: boolean
}

export const probeAt = (path: string): Probe | undefined => probes.get(path)

export const serveProbe = (
  probe: Probe,
  { version, uptimeMs, isReady, isDraining }: ProbeState,
  request: IncomingMessage,
  response: ServerResponse
): void => {
  if (!isMethodAllowed(request, response, ["GET", "HEAD"])) return
  response.setHeader("Cache-Control", "no-store")
  switch (probe) {
    case "live":
      return json(response, 200, { ok: true, status: "live" })
    case "startup":
      if (isDraining) return json(response, 503, { ok: false, status: "draining", version, uptimeMs })
      if (!isReady) return json(response, 503, { ok: false, status: "starting", version, uptimeMs })
      return json(response, 200, { ok: true, status: "started", version, uptimeMs })
    case "ready": {
      const failing = isDraining ? ["gateway-draining"] : isReady ? [] : ["startup-sidecars"]
      const ready = failing.length === 0
      return json(response, ready ? 200 : 503, { ready, failing, uptimeMs })
    }
  }
}
