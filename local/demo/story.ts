/** An entry of the runtime's log; undefined for a line that is none. */
export const entryOf = (line: string): Record<string, unknown> | undefined => {
  if (!line.startsWith("{")) return undefined
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/** Breaks lines between words at the width. Continued lines keep the indentation. */
export const wrapped = (text: string, width: number): string =>
  text
    .split("\n")
    .map((line) => {
      const indentation = /^ */.exec(line)?.[0] ?? ""
      const lines = [indentation]
      for (const word of line.trim().split(/ +/)) {
        const last = lines.at(-1) ?? ""
        const isFirst = last === indentation
        if (isFirst || last.length + 1 + word.length <= width)
          lines[lines.length - 1] = `${last}${isFirst ? "" : " "}${word}`
        else lines.push(`${indentation}${word}`)
      }
      return lines.join("\n")
    })
    .join("\n")

/** Prints the demonstration's events, from the runtime's log, and collects the data of the summary. */
export class Story {
  readonly toolCalls: Array<{ readonly tool: string; readonly success: boolean }> = []
  readonly #isQuiet: boolean
  readonly #isColored: boolean

  constructor(options: { readonly isQuiet: boolean }) {
    this.#isQuiet = options.isQuiet
    this.#isColored = process.stdout.isTTY && (process.env["NO_COLOR"] ?? "") === ""
  }

  /** Prints a text, in lines of the terminal's width. */
  say(text: string): void {
    this.#print(this.#wrap(text))
  }

  /** Prints a line that must stay in one piece, for example a command to copy. */
  command(text: string): void {
    this.#print(text)
  }

  /** A message of the thread. */
  message(author: string, content: string): void {
    const text = this.#wrap(`${author}: ${content}`)
    this.#print(this.#isColored ? `\u001b[1m${author}\u001b[0m${text.slice(author.length)}` : text)
  }

  /** One line of the runtime's log. */
  hear(line: string): void {
    const entry = entryOf(line)
    if (entry === undefined) return
    const message = String(entry["message"] ?? "")
    if (message === "tool called") {
      const call = { tool: String(entry["tool"]), success: entry["success"] === true }
      this.toolCalls.push(call)
      this.aside(`${String(entry["agent"])} calls ${call.tool}: ${call.success ? "ok" : "refused"}`)
    } else if (message.startsWith("delivery ")) {
      const millis = Number(entry["durationMillis"])
      const time = millis < 1_000 ? `${millis} ms` : `${(millis / 1_000).toFixed(1)} s`
      this.aside(`${String(entry["agent"])}: ${String(entry["type"])} ${message} in ${time}`)
    } else if (entry["level"] === "warn" || entry["level"] === "error") {
      this.aside(`${String(entry["level"])}: ${message}`)
    }
  }

  /** What happens next to the thread. */
  aside(text: string): void {
    const line = this.#wrap(`    ${text}`)
    this.#print(this.#isColored ? `\u001b[90m${line}\u001b[0m` : line)
  }

  #wrap(text: string): string {
    const { columns, isTTY } = process.stdout
    // Some terminals report a width of 0.
    return isTTY && columns >= 40 ? wrapped(text, columns) : text
  }

  #print(text: string): void {
    if (!this.#isQuiet) process.stdout.write(`${text}\n`)
  }
}
