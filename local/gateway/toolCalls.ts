import { randomBytes } from "node:crypto"
import type { ChatTool, ChatToolCall } from "../model/chat.ts"
import type { ClientTool } from "./requestBody.ts"
import { checkArguments } from "./toolArguments.ts"
import type { PendingCall } from "./turnEnd.ts"

/** The tools of a run. */
export interface Toolbox {
  readonly tools: ReadonlyArray<ClientTool>
  /** Whether they are hidden behind Tool Search. */
  readonly toolSearch: boolean
}

/** The result of one call of the model. */
export interface CallOutcome {
  /** The transcript's answer to the model. */
  readonly result: string
  /** Set if the call goes to the caller. */
  readonly pending?: PendingCall
  readonly failed: boolean
  /** No tool has that name. */
  readonly unknown: boolean
}

const searchTools: ReadonlyArray<ChatTool> = [
  { name: "tool_search", parameters: { type: "object", properties: { query: { type: "string" } } } },
  { name: "tool_describe", parameters: { type: "object", properties: { id: { type: "string" } } } },
  {
    name: "tool_call",
    parameters: { type: "object", properties: { id: { type: "string" }, args: { type: "object" } } }
  }
].map((tool) => ({ type: "function" as const, function: tool }))

/** The tools that the model is offered: the client's, or the three that find and call them. */
export const offeredTools = (toolbox: Toolbox): ReadonlyArray<ChatTool> => {
  if (toolbox.tools.length === 0) return []
  if (toolbox.toolSearch) return searchTools
  const offered: Array<ChatTool> = []
  for (const { name, description, parameters } of toolbox.tools) {
    // The gateway drops a tool whose root is a list without notice. It offers one without parameters, whose calls fail.
    if (parameters?.["type"] === "array") continue
    offered.push({
      type: "function",
      function: { name, description, parameters: { type: "object", properties: {}, ...parameters } }
    })
  }
  return offered
}

/** The arguments of a call as an object, or undefined. */
export const readArguments = (toolCall: ChatToolCall): object | undefined => {
  try {
    const parsed: unknown = JSON.parse(toolCall.function.arguments)
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed) ? parsed : undefined
  } catch {
    return undefined
  }
}

/** Answers one call, or passes it to the caller. */
export const dispatchCall = (toolbox: Toolbox, name: string, args: object = {}): CallOutcome => {
  if (!toolbox.toolSearch) {
    const tool = toolbox.tools.find((each) => each.name === name)
    if (tool === undefined) return notFound(name)
    const checked = checkArguments(name, tool.parameters, args)
    return "refused" in checked ? failure(checked.refused) : delegated(name, checked.args)
  }
  const fields = args as { readonly id?: unknown; readonly args?: unknown }
  const tool = toolbox.tools.find((each) => each.name === fields.id)
  switch (name) {
    case "tool_search":
      return success(toolbox.tools.map((each) => ({ id: `client:client:${each.name}`, name: each.name })))
    case "tool_describe":
      if (tool === undefined) return unknownId(name, fields.id)
      return success({ id: `client:client:${tool.name}`, name: tool.name, parameters: tool.parameters })
    case "tool_call":
      return tool === undefined ? unknownId(name, fields.id) : callFound(tool, fields.args)
    default:
      return notFound(name)
  }
}

/** A tool found by search gets its arguments unchanged: nothing is coerced, only required ones are checked. */
const callFound = (tool: ClientTool, args: unknown): CallOutcome => {
  const given = typeof args === "object" && args !== null ? args : {}
  const required = (tool.parameters?.["required"] ?? []) as ReadonlyArray<string>
  const missing = required.filter((key) => !(key in given))
  if (missing.length === 0) return delegated(tool.name, given)
  return failure(
    text({
      status: "error",
      tool: tool.name,
      error: `Invalid client tool arguments: missing required ${missing.join(", ")}`
    })
  )
}

const delegated = (name: string, args: unknown): CallOutcome => ({
  pending: { callId: newCallId(), name, arguments: JSON.stringify(args) },
  result: text({ status: "pending", tool: name, message: "Tool execution delegated to client" }),
  failed: false,
  unknown: false
})

const success = (result: unknown): CallOutcome => ({ result: text(result), failed: false, unknown: false })

const failure = (result: string): CallOutcome => ({ result, failed: true, unknown: false })

const notFound = (name: string): CallOutcome => ({ result: `Tool ${name} not found`, failed: true, unknown: true })

const unknownId = (tool: string, id: unknown): CallOutcome =>
  failure(
    text({
      status: "error",
      tool,
      error: `Unknown tool id: ${String(id)}. Use tool_search to find a tool, tool_describe to inspect it, then tool_call with the exact id or name.`
    })
  )

const text = (value: unknown): string => JSON.stringify(value, null, 2)

/** Nine hex characters, as the gateway creates them. */
const newCallId = (): string => randomBytes(5).toString("hex").slice(0, 9)
