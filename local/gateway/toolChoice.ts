import type { ClientTool, RequestBody } from "./requestBody.ts"
import type { TurnEnd } from "./turnEnd.ts"

/**
 * The effect of `tool_choice` on the offered tools: a hint in the prompt and a check after the run, never an
 * instruction to the provider.
 */
export interface ToolChoice {
  readonly tools: ReadonlyArray<ClientTool>
  readonly hint: string
  /** The run must have made a call: to the named tool, if there is a name. */
  readonly constraint: { readonly name: string | undefined } | undefined
}

/** Undefined if the offered tools cannot satisfy the choice, which is a 400. */
export const applyToolChoice = (
  tools: ReadonlyArray<ClientTool>,
  choice: RequestBody["tool_choice"]
): ToolChoice | undefined => {
  if (choice === undefined || choice === "auto") return { tools, hint: "", constraint: undefined }
  if (choice === "none") return { tools: [], hint: "", constraint: undefined }
  if (choice === "required") {
    if (tools.length === 0) return undefined
    return {
      tools,
      hint: "You must call one of the available tools before responding.",
      constraint: { name: undefined }
    }
  }
  const name = ("name" in choice ? choice.name : choice.function.name).trim()
  const selected = tools.filter((tool) => tool.name === name)
  if (selected.length === 0) return undefined
  return { tools: selected, hint: `You must call the ${name} tool before responding.`, constraint: { name } }
}

export const satisfiesToolChoice = (constraint: ToolChoice["constraint"], end: TurnEnd): boolean => {
  if (constraint === undefined) return true
  if (end.kind !== "calls") return false
  return constraint.name === undefined || end.calls.some((call) => call.name === constraint.name)
}

/**
 * Names of the gateway's own tools, measured on 2026.9.6. It refuses a client tool of the same name, even if its own
 * tool is denied.
 */
const builtIns = new Set(
  "agents_list apply_patch automations bash browser canvas cron edit exec gateway image image_generate memory_get memory_search message nodes pdf portal process read secrets session_status sessions sessions_history sessions_list sessions_send sessions_spawn sessions_yield subagents theme tts update_plan web_fetch web_search write".split(
    " "
  )
)

/** Whether two client tools, or a client tool and a built-in one, share a name, ignoring case. */
export const hasNameConflict = (tools: ReadonlyArray<ClientTool>): boolean => {
  const seen = new Set<string>()
  for (const tool of tools) {
    const name = tool.name.trim().toLowerCase()
    if (builtIns.has(name) || seen.has(name)) return true
    seen.add(name)
  }
  return false
}
