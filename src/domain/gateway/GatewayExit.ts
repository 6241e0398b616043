import { singleLine, truncate } from "../text/Text.ts"

/**
 * What to do after the gateway's process has ended: restart it, or wait for an operator to correct its configuration.
 */
export type GatewayExitVerdict =
  | { readonly _tag: "Restart"; readonly reason: string }
  | { readonly _tag: "ConfigurationFault"; readonly reason: string }

/** The exit code of a gateway that cannot start with its configuration (EX_CONFIG of sysexits.h). */
const CONFIGURATION = 78
/** The same code also means that another gateway still uses the state folder or the port, which is temporary. */
const heldByAnother =
  /\bowner\b|\bowned by\b|\bport\b|EADDRINUSE|already (?:running|listening)|another gateway|\block\b/i

const REASON_CHARACTERS = 300

const colours = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g")

const timestamp = /^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)?\s+/
const complaints = /invalid|missing|unrecogni[sz]ed|refus|blocked|failed|error|denied|cannot|already|clobbered|must/i
/** Advice follows the line that names the problem. */
const advice = /^(?:Run|If|Set|See|Try|Use|Fix)\b/

/**
 * The gateway's reason in one line: the last line with a complaint and the line that introduces it, otherwise the last
 * line.
 */
export const reasonOfOutput = (lines: ReadonlyArray<string>): string => {
  const clean = lines
    .map((line) => singleLine(line.replace(colours, "").replace(timestamp, "")))
    .filter((line) => line !== "")
  const index = clean.findLastIndex((line) => complaints.test(line) && !advice.test(line))
  const introduction = clean[index - 1]?.endsWith(":") === true ? `${clean[index - 1]} ` : ""
  const reason = index < 0 ? (clean.at(-1) ?? "it printed no reason") : `${introduction}${clean[index]}`
  return truncate(reason, REASON_CHARACTERS)
}

/** Judges the end of the gateway by its exit code (null after a signal) and its last lines. */
export const judgeGatewayExit = (exitCode: number | null, lastLines: ReadonlyArray<string>): GatewayExitVerdict => {
  const reason = reasonOfOutput(lastLines)
  if (exitCode === null) return { _tag: "Restart", reason: "it was killed by a signal" }
  if (exitCode === 0) return { _tag: "Restart", reason: "it ended on its own with exit code 0" }
  if (exitCode !== CONFIGURATION || heldByAnother.test(lastLines.join("\n"))) {
    return { _tag: "Restart", reason: `exit code ${exitCode}: ${reason}` }
  }
  return { _tag: "ConfigurationFault", reason }
}
