/** A model provider whose answers a test writes as code, so that an agent can act while its turn runs. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect } from "effect"
import type { Scope } from "effect"
import type { ChatRequest } from "../local/model/chat.ts"
import { textOf } from "../local/model/chat.ts"
import { readBody } from "../local/model/control.ts"

/** What the model is shown; its answer is the text of its reply. */
export type Act = (prompt: {
  readonly system: string
  readonly user: string
  readonly tools: ReadonlyArray<string>
}) => Promise<string>

/** Serves the model on a free port; answers the provider's base URL. */
export const serveActingModel = (act: Act): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer((request, response) => {
        const answer = async () => {
          const chat = JSON.parse(await readBody(request)) as ChatRequest
          const said = (...roles: ReadonlyArray<string>) =>
            chat.messages
              .filter(({ role }) => roles.includes(role))
              .map(textOf)
              .join("\n")
          const content = await act({
            system: said("system", "developer"),
            user: said("user"),
            tools: (chat.tools ?? []).map((tool) => tool.function.name)
          })
          response.writeHead(200, { "content-type": "application/json" }).end(
            JSON.stringify({
              id: "chatcmpl-acting",
              object: "chat.completion",
              created: 0,
              model: chat.model,
              choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
              usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 }
            })
          )
        }
        answer().catch((error: unknown) => response.writeHead(500).end(String(error)))
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      return server
    }),
    (server) =>
      Effect.promise(
        () =>
          new Promise<void>((resolve) => {
            server.close(() => resolve())
            server.closeAllConnections()
          })
      )
  ).pipe(Effect.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`))

/** What the instructions tell an agent that works over HTTP. */
export const httpAccessIn = (system: string) => {
  const found = (pattern: RegExp): string => {
    const hit = pattern.exec(system)?.[1]
    if (hit === undefined) throw new Error(`the instructions do not say ${pattern}`)
    return hit
  }
  const baseUrl = found(/curl -sS -X POST (http:\S+)\/agent\//)
  const headers = {
    "content-type": "application/json",
    "x-openclaw-session-key": found(/x-openclaw-session-key: ([^']+)'/),
    "x-mission-control-capability": found(/x-mission-control-capability: ([^']+)'/)
  }
  return {
    headers,
    capability: headers["x-mission-control-capability"],
    call: async (path: string, parameters: object): Promise<{ readonly status: number; readonly body: any }> => {
      const body = JSON.stringify(parameters)
      const response = await fetch(`${baseUrl}${path}`, { method: "POST", headers, body })
      return { status: response.status, body: await response.json() }
    }
  }
}
