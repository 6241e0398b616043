/**
 * The model of the soaked agents, as code. It calls tools if the runtime offers them, otherwise the runtime's
 * endpoints, and answers. Sometimes it fails in one of the ways of real providers.
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { Effect } from "effect"
import type { ChatRequest } from "../../local/model/chat.ts"
import { textOf } from "../../local/model/chat.ts"
import { readBody } from "../../local/model/control.ts"
import { httpAccessIn } from "../../test/actingModel.ts"

type Call = { readonly name: string; readonly path: string; readonly args: Record<string, unknown> }
type Answer = { readonly text: string } | { readonly call: Call }

/** The served model. If it is not `isBusy`, it neither fails nor starts anything, so that the soak can end. */
export type SoakModel = { readonly url: string; isBusy: boolean }

/** The effect that request `n` asks for; the same in every attempt, so that a repetition is visible. */
const effectOf = (n: number, others: ReadonlyArray<string>): Call | undefined => {
  switch (n % 5) {
    case 0:
      return { name: "task_create", path: "/agent/task-create", args: { title: `Follow-up ${n}` } }
    case 1:
      return {
        name: "document_upsert",
        path: "/agent/document",
        args: { title: `Note ${n}`, content: `What request ${n} came to.`, type: "note" }
      }
    case 2:
      return {
        name: "response_request",
        path: "/agent/response-request",
        args: { recipientSlugs: [others[n % others.length]], message: `Please look at number ${n}.` }
      }
    case 3:
      return { name: "get_agent_skills", path: "/agent/get-agent-skills", args: {} }
    default:
      return undefined
  }
}

const decide = async (
  chat: ChatRequest,
  others: ReadonlyArray<string>,
  random: () => number,
  isBusy: boolean
): Promise<Answer> => {
  const lastUser = chat.messages.findLastIndex(({ role }) => role === "user")
  const user = textOf(chat.messages[lastUser] ?? { role: "user", content: "" })
  // A heartbeat's text is an update for other agents, so there is none at the end of the soak.
  if (user.startsWith("heartbeat ")) return { text: isBusy && random() < 0.1 ? "Still on it." : "HEARTBEAT_OK" }
  // The request is in front of the task; the text after it is older.
  const asked = user.split("\ntask id: ")[0] ?? ""
  const request = asked.includes("mentioned you") ? /this is request number (\d+)/.exec(asked)?.[1] : undefined
  if (request === undefined) return { text: random() < 0.7 ? "NO_ACTION" : "Heard." }
  const n = Number(request)
  const isSecondRound = chat.messages.slice(lastUser + 1).some(({ role }) => role === "tool")
  const call = effectOf(n, others)
  if (!isSecondRound && call !== undefined) {
    const offered = (chat.tools ?? []).map((tool) => tool.function.name)
    if (offered.includes(call.name)) return { call }
    // The runtime handles refusals; the control plane's file shows the effect.
    if (user.includes("x-mission-control-capability")) await httpAccessIn(user).call(call.path, call.args)
  }
  return { text: `Answer ${n}` }
}

/** Serves the model on a free port; returns its base URL. */
export const serveSoakModel = (others: ReadonlyArray<string>, random: () => number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const state = { url: "", isBusy: true }
      const server = createServer((request, response) => {
        const answer = async () => {
          const chat = JSON.parse(await readBody(request)) as ChatRequest
          await sleep(20 + 200 * random())
          const fate = state.isBusy ? random() : 1
          if (fate < 0.01) return void request.socket.destroy()
          if (fate < 0.02) return void response.writeHead(429, { "retry-after": "1" }).end("{}")
          if (fate < 0.03) return void response.writeHead(500).end("{}")
          if (fate < 0.035) return
          const decided: Answer =
            fate < 0.045
              ? { text: "" }
              : fate < 0.055
                ? { text: "NO_REPLY" }
                : await decide(chat, others, random, state.isBusy)
          const message =
            "text" in decided
              ? { role: "assistant", content: decided.text }
              : {
                  role: "assistant",
                  content: null,
                  tool_calls: [
                    {
                      id: `call-${Math.floor(random() * 1e9)}`,
                      type: "function",
                      function: { name: decided.call.name, arguments: JSON.stringify(decided.call.args) }
                    }
                  ]
                }
          response.writeHead(200, { "content-type": "application/json" }).end(
            JSON.stringify({
              id: "chatcmpl-soak",
              object: "chat.completion",
              created: 0,
              model: chat.model,
              choices: [{ index: 0, message, finish_reason: "text" in decided ? "stop" : "tool_calls" }],
              usage: { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 }
            })
          )
        }
        answer().catch(() => response.destroy())
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
      return { state, server }
    }),
    ({ server }) =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  ).pipe(Effect.map(({ state }): SoakModel => state))
