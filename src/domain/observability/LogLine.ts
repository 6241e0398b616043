import { durationText } from "../text/DurationText.ts"
import type { Paint, TerminalColor } from "../text/TerminalColor.ts"

/** An event of the log as a terminal shows it; every text is already a string. */
export interface LogEvent {
  /** ISO 8601. */
  readonly timestamp: string
  /** In capitals. */
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, string>>
  readonly cause: string | undefined
}

/** The width of a line, if its message leaves space for fields at all. */
const COLUMNS = 140
/** The fields that commands take as an argument; always shown. */
const ids: ReadonlySet<string> = new Set(["notification", "heartbeat"])
/** The fields that name what the line is about; the first one is shown before the message. */
const subjects: ReadonlyArray<string> = ["agent", "source"]
/** The fields of a run's line that only the JSON format has. */
const implied: ReadonlySet<string> = new Set(["session", "loop"])
const colors: Readonly<Record<string, TerminalColor>> = {
  TRACE: "grey",
  DEBUG: "grey",
  INFO: "green",
  WARN: "yellow",
  ERROR: "red",
  FATAL: "red"
}

const isShown = (key: string, value: string, hasId: boolean): boolean =>
  !subjects.includes(key) &&
  key !== "durationMillis" &&
  !(hasId && (implied.has(key) || (key === "attempt" && value === "1")))

/**
 * A line for people: time of day, level, the agent, the message, its duration and `key=value`, with the cause below it.
 * Fields that do not fit into 140 columns are left out, the first ones first; the id of the run is not.
 */
export const logLine = ({ cause, fields, level, message, timestamp }: LogEvent, paint: Paint): string => {
  const subject = subjects.flatMap((key) => fields[key] ?? [])[0]
  const duration = Number(fields["durationMillis"] ?? Number.NaN)
  const hasId = Object.keys(fields).some((key) => ids.has(key))
  const prefix = subject === undefined ? "" : `${subject}: `
  const text = `${message}${Number.isFinite(duration) ? ` in ${durationText(duration)}` : ""}`
  const pairs = Object.entries(fields).filter(([key, value]) => isShown(key, value, hasId))
  const width = ([key, value]: readonly [string, string]): number => key.length + value.length + 2
  const named = pairs.filter(([key]) => ids.has(key))
  let columns = timestamp.slice(11, 23).length + 7 + prefix.length + text.length
  for (const pair of named) columns += width(pair)
  const fitting: Array<readonly [string, string]> = []
  for (const pair of pairs.filter(([key]) => !ids.has(key)).toReversed()) {
    if (columns + width(pair) > COLUMNS) continue
    columns += width(pair)
    fitting.unshift(pair)
  }
  const annotations = [...fitting, ...named].map(([key, value]) => ` ${paint("grey", `${key}=`)}${value}`).join("")
  const about = prefix === "" ? "" : paint("cyan", prefix)
  const below = cause === undefined ? "" : `\n  ${cause.replaceAll("\n", "\n  ")}`
  const word = paint(colors[level] ?? "grey", level.padEnd(5))
  return `${timestamp.slice(11, 23)} ${word} ${about}${text}${annotations}${below}`
}
