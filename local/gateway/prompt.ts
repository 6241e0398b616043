import type { Release } from "./release.ts"
import type { InputItem, RequestBody } from "./requestBody.ts"

/** One user text, and the additions of system and developer items to the system prompt. */
export interface Prompt {
  readonly text: string
  readonly system: string
}

interface Entry {
  readonly tool: boolean
  readonly turn: boolean
  readonly sender: string
  readonly body: string
}

/**
 * Folds input items into one user text. Tool results are not tool messages: the last user message or result is the
 * current one, and all before it become a history block.
 */
export const promptOf = (input: RequestBody["input"], release: Release): Prompt => {
  if (typeof input === "string") return { text: input, system: "" }
  const system: Array<string> = []
  const entries: Array<Entry> = []
  for (const item of input) {
    if (item.type === "message" && (item.role === "system" || item.role === "developer")) {
      const body = textOf(item).trim()
      if (body !== "") system.push(body)
      continue
    }
    const entry = entryOf(item)
    if (entry !== undefined) entries.push(entry)
  }
  return { text: foldEntries(entries, release), system: system.join("\n\n") }
}

const entryOf = (item: InputItem): Entry | undefined => {
  switch (item.type) {
    case "message": {
      const body = textOf(item).trim()
      if (body === "") return undefined
      const assistant = item.role === "assistant"
      return { tool: false, turn: !assistant, sender: assistant ? "Assistant" : "User", body }
    }
    case "function_call": {
      const id = item.call_id ?? item.id ?? ""
      const body = `tool_call id=${id} name=${item.name} arguments=${item.arguments}`
      return { tool: false, turn: false, sender: "Assistant", body }
    }
    case "function_call_output":
      return { tool: true, turn: true, sender: `Tool:${item.call_id}`, body: item.output }
    default:
      return undefined
  }
}

const foldEntries = (entries: ReadonlyArray<Entry>, release: Release): string => {
  const lastTurn = entries.findLastIndex((entry) => entry.turn)
  const currentAt = lastTurn < 0 ? entries.length - 1 : lastTurn
  const current = entries[currentAt]
  if (current === undefined) return ""
  const history = entries.slice(0, currentAt).map((entry) => `${entry.sender}: ${entry.body}`)
  const alone = history.join("\n").trim() === ""
  if (alone && !(current.tool && release.prefixesLoneResult)) return current.body
  const line = `${current.sender}: ${current.body}`
  if (alone) return line
  return [
    "[Chat messages since your last reply - for context]",
    history.join("\n"),
    "",
    "[Current message - respond to this]",
    line
  ].join("\n")
}

const textOf = (item: Extract<InputItem, { type: "message" }>): string => {
  if (typeof item.content === "string") return item.content
  const text = item.content
    .map((part) => (part.type === "input_text" || part.type === "output_text" ? part.text : ""))
    .filter((part) => part !== "")
    .join("\n")
  if (text.trim() !== "" || item.role !== "user") return text
  if (item.content.some((part) => part.type === "input_image")) return "User sent image(s) with no text."
  if (item.content.some((part) => part.type === "input_file")) return "User sent file(s) with no text."
  return text
}
