/** Prints the demonstration's events, from the runtime's log, and collects the data of the summary. */
export class Story {
  readonly toolCalls: Array<{ readonly tool: string; readonly success: boolean }> = []
  readonly #isQuiet: boolean
  readonly #isColored: boolean

  constructor(options: { readonly isQuiet: boolean }) {
    this.#isQuiet = options.isQuiet
    this.#isColored = process.stdout.isTTY && (process.env["NO_COLOR"] ?? "") === ""
  }

  /** Prints a line. */
  say(text: string): void {
    if (!this.#isQuiet) process.stdout.write(`${text}\n`)
  }

  /** A message of the thread. */
  message(author: string, content: string): void {
    const name = this.#isColored ? `\u001b[1m${author}\u001b[0m` : author
    this.say(`${name}: ${content}`)
  }

  /** One line of the runtime's log. */
  hear(line: string): void {
    if (!line.startsWith("{")) return
    let entry: Record<string, unknown>
    try {
      entry = JSON.parse(line)
    } catch {
      return
    }
    const message = String(entry["message"] ?? "")
    if (message === "tool called") {
      const call = { tool: String(entry["tool"]), success: entry["success"] === true }
      this.toolCalls.push(call)
      this.#aside(`${String(entry["agent"])} calls ${call.tool}: ${call.success ? "ok" : "refused"}`)
    } else if (message.startsWith("delivery ")) {
      const millis = Number(entry["durationMillis"])
      this.#aside(`${String(entry["agent"])}: ${String(entry["type"])} ${message} in ${millis} ms`)
    } else if (entry["level"] === "warn" || entry["level"] === "error") {
      this.#aside(`${String(entry["level"])}: ${message}`)
    }
  }

  #aside(text: string): void {
    this.say(this.#isColored ? `\u001b[90m    ${text}\u001b[0m` : `    ${text}`)
  }
}
