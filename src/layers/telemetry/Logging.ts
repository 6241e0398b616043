import { Effect, Formatter, Layer, Logger, References } from "effect"
import type { LogLevel } from "effect"
import { RuntimeConfig } from "../Config.ts"
import { Redactor } from "../secrets/Redactor.ts"

const levels: Record<string, LogLevel.LogLevel> = {
  trace: "Trace",
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error"
}

type Entry = ReturnType<(typeof Logger.formatStructured)["log"]>

/** Any logged value as text. A value that plain JSON cannot represent must not fail the fiber that logs it. */
const asText = (value: unknown): string => (typeof value === "string" ? value : (Formatter.formatJson(value) ?? ""))

/** A line for machines: one JSON object with `time`, `level`, `message`, the annotations and the cause. */
const jsonLine = (entry: Entry): string =>
  Formatter.formatJson({
    ...entry.annotations,
    time: entry.timestamp,
    level: entry.level.toLowerCase(),
    message: Array.isArray(entry.message) ? entry.message.map(asText).join(" ") : asText(entry.message),
    ...(entry.cause === undefined ? {} : { cause: entry.cause })
  })

const paint = (color: number, text: string, isColored: boolean): string =>
  isColored ? `\u001b[${color}m${text}\u001b[0m` : text

const colors: Record<string, number> = { TRACE: 90, DEBUG: 90, INFO: 32, WARN: 33, ERROR: 31, FATAL: 31 }

/** A line for people: time of day, level, message, `key=value` and the cause below it. */
const prettyLine =
  (isColored: boolean) =>
  (entry: Entry): string => {
    const message = Array.isArray(entry.message) ? entry.message.map(asText).join(" ") : asText(entry.message)
    const annotations = Object.entries(entry.annotations)
      .map(([key, value]) => ` ${paint(90, `${key}=`, isColored)}${asText(value)}`)
      .join("")
    const level = paint(colors[entry.level] ?? 0, entry.level.padEnd(5), isColored)
    const cause = entry.cause === undefined ? "" : `\n  ${entry.cause.replaceAll("\n", "\n  ")}`
    return `${entry.timestamp.slice(11, 23)} ${level} ${message}${annotations}${cause}`
  }

/** Replaces Effect's default logger: every line is redacted and written to standard error. */
export const layer: Layer.Layer<never, never, RuntimeConfig | Redactor> = Layer.unwrap(
  Effect.gen(function* () {
    const { logFormat, logLevel } = yield* RuntimeConfig
    const { redact } = yield* Redactor
    const isTerminal = process.stderr.isTTY === true
    const isPretty = logFormat === "pretty" || (logFormat === "auto" && isTerminal)
    // As on no-color.org: any value except the empty one switches colours off.
    const isColored = isTerminal && (process.env["NO_COLOR"] ?? "") === ""
    const format = isPretty ? prettyLine(isColored) : jsonLine
    const logger = Logger.map(Logger.formatStructured, (entry) => {
      process.stderr.write(`${redact(format(entry))}\n`)
    })
    return Layer.mergeAll(Logger.layer([logger]), Layer.succeed(References.MinimumLogLevel, levels[logLevel] ?? "Info"))
  })
)
