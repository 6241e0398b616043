import { Effect, Formatter, Layer, Logger, Record, References } from "effect"
import type { LogLevel } from "effect"
import { logLine } from "../../domain/observability/LogLine.ts"
import type { Paint } from "../../domain/text/TerminalColor.ts"
import { RuntimeConfig } from "../Config.ts"
import { paintFor } from "../host/Terminal.ts"
import { Redactor } from "../secrets/Redactor.ts"

const levels: Readonly<{ [level: string]: LogLevel.LogLevel }> = {
  trace: "Trace",
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error"
}

type Entry = ReturnType<(typeof Logger.formatStructured)["log"]>

/** A logged line, not redacted. */
export interface LoggedLine {
  readonly at: Date
  readonly level: LogLevel.LogLevel
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
  /** With the stack. */
  readonly cause: string | undefined
}

/** Any logged value as text. A value that plain JSON cannot represent must not fail the fiber that logs it. */
export const asText = (value: unknown): string =>
  typeof value === "string" ? value : (Formatter.formatJson(value) ?? "")

const messageOf = ({ message }: Entry): string =>
  Array.isArray(message) ? message.map(asText).join(" ") : asText(message)

/** What was logged, for another logger. */
export const loggedLine = (options: Logger.Options<unknown>): LoggedLine => {
  const entry = Logger.formatStructured.log(options)
  return {
    at: options.date,
    level: options.logLevel,
    message: messageOf(entry),
    fields: entry.annotations,
    cause: entry.cause
  }
}

/** A line for machines: one JSON object with `time`, `level`, `message`, the annotations and the cause. */
const jsonLine = (entry: Entry): string =>
  Formatter.formatJson({
    ...entry.annotations,
    time: entry.timestamp,
    level: entry.level.toLowerCase(),
    message: messageOf(entry),
    ...(entry.cause === undefined ? {} : { cause: entry.cause })
  })

const prettyLine =
  (paint: Paint) =>
  (entry: Entry): string =>
    logLine(
      {
        timestamp: entry.timestamp,
        level: entry.level,
        message: messageOf(entry),
        fields: Record.map(entry.annotations, asText),
        cause: entry.cause
      },
      paint
    )

/** Replaces Effect's default logger: every line is redacted and written to standard error. */
export const layer: Layer.Layer<never, never, RuntimeConfig | Redactor> = Layer.unwrap(
  Effect.gen(function* () {
    const { logFormat, logLevel } = yield* RuntimeConfig
    const { redact } = yield* Redactor
    const isPretty = logFormat === "pretty" || (logFormat === "auto" && process.stderr.isTTY === true)
    const format = isPretty ? prettyLine(paintFor(process.stderr)) : jsonLine
    const logger = Logger.map(Logger.formatStructured, (entry) => {
      process.stderr.write(`${redact(format(entry))}\n`)
    })
    return Layer.mergeAll(Logger.layer([logger]), Layer.succeed(References.MinimumLogLevel, levels[logLevel] ?? "Info"))
  })
)
