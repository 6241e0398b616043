/** A model provider whose answers a test writes as code, so that an agent can act while its turn runs. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect } from "effect"
import type { Scope } from "effect"
import type { ChatRequest } from "../local/model/chat.ts"
import { textOf } from "../local/model/chat.ts"
import { readBody } from "../local/model/control.ts"
import { replyOf } from "../local/model/scriptedModel.ts"
import { sendReply } from "../local/model/server.ts"

/** A call of one tool, instead of a text. */
export interface ActedCall {
  readonly name: string
  readonly args: object
}

/** What the model is shown, and the whole request; its answer is the text of its reply, or a call. */
export type Act = (
  prompt: { readonly system: string; readonly user: string; readonly tools: ReadonlyArray<string> },
  chat: ChatRequest
) => Promise<string | ActedCall>

/** Serves the model on a free port; answers the provider's base URL. */
export const serveActingModel = (act: Act): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer((request, response) => {
        const serve = async () => {
          const chat = JSON.parse(await readBody(request)) as ChatRequest
          const textIn = (...roles: ReadonlyArray<string>) =>
            chat.messages
              .filter(({ role }) => roles.includes(role))
              .map(textOf)
              .join("\n")
          const answer = await act(
            {
              system: textIn("system", "developer"),
              user: textIn("user"),
              tools: (chat.tools ?? []).map((tool) => tool.function.name)
            },
            chat
          )
          const action = typeof answer === "string" ? { text: answer } : { toolCalls: [answer] }
          // About four characters are a token.
          const input = Math.ceil(JSON.stringify([chat.tools, chat.messages]).length / 4)
          sendReply(response, chat, replyOf({ ...action, usage: { input, output: 1 } }))
        }
        serve().catch((error: unknown) => response.writeHead(500).end(String(error)))
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

/** How the last turn in this text tells an agent to call its tools over HTTP. */
export const httpAccessIn = (text: string) => {
  const found = (pattern: RegExp): string => {
    const hit = [...text.matchAll(new RegExp(pattern, "g"))].at(-1)?.[1]
    if (hit === undefined) throw new Error(`the prompt does not say ${pattern}`)
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
