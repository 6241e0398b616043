import { judge } from "./DoctorCheck.ts"
import type { Check, CheckGroup, CheckStatus } from "./DoctorCheck.ts"
import type { Findings } from "./DoctorFindings.ts"
import { onMachine, onVariables } from "./DoctorMachineChecks.ts"
import { agentsKnown, onControlPlane, onGateway } from "./DoctorPeerChecks.ts"

/** Every check on what was found, always all of them and in the same order. */
export const examine = (found: Findings): ReadonlyArray<Check> => [
  ...judge("Variables", onVariables, found),
  ...judge("Machine", onMachine, found.machine),
  ...judge("Control plane", onControlPlane, found.controlPlane),
  ...judge("Gateway", onGateway, found.gateway),
  ...judge("Gateway", [["agents-known", agentsKnown]], found)
]

/** 2 when something fails, 1 when something is to be looked at, otherwise 0. */
export const doctorExitCode = (checks: ReadonlyArray<Check>): 0 | 1 | 2 =>
  checks.some(({ status }) => status === "fail") ? 2 : checks.some(({ status }) => status === "warn") ? 1 : 0

const colors = { ok: 32, warn: 33, fail: 31, skip: 90 } as const
const statuses = ["fail", "warn", "ok", "skip"] as const
const nouns = { fail: "failed", warn: "to look at", ok: "ok", skip: "not checked" } as const

const countsOf = (checks: ReadonlyArray<Check>): string =>
  statuses
    .map((status) => [checks.filter((check) => check.status === status).length, nouns[status]] as const)
    .filter(([count]) => count > 0)
    .map(([count, noun]) => `${count} ${noun}`)
    .join(", ")

const groupsOf = (checks: ReadonlyArray<Check>): ReadonlyArray<readonly [CheckGroup, ReadonlyArray<Check>]> =>
  [...new Set(checks.map(({ group }) => group))].map((group) => [
    group,
    checks.filter((check) => check.group === group)
  ])

/**
 * What fails and what is to be looked at, each with its fix, the failures first; then a line for each group. With
 * `isVerbose` every check is under its group.
 */
export const renderDoctorReport = (
  checks: ReadonlyArray<Check>,
  { isColored, isVerbose }: { readonly isColored: boolean; readonly isVerbose: boolean }
): string => {
  const width = Math.max(...checks.map(({ id }) => id.length))
  const margin = " ".repeat(width + 8)
  const mark = (status: CheckStatus) =>
    isColored ? `\u001b[${colors[status]}m${status.padEnd(4)}\u001b[0m` : status.padEnd(4)
  const linesOf = ({ fix, id, message, status }: Check): ReadonlyArray<string> => {
    const [first = "", ...others] = message.split("\n").map((line) => line.replace(/\s+/g, " "))
    return [
      `${mark(status)}  ${id.padEnd(width)}  ${first}`,
      ...others.map((line) => `${margin}${line}`),
      ...(fix === null ? [] : [`${margin}-> ${fix}`])
    ]
  }
  const groups = groupsOf(checks)
  if (isVerbose) {
    return [...groups.flatMap(([group, members]) => [group, ...members.flatMap(linesOf), ""]), countsOf(checks)].join(
      "\n"
    )
  }
  const wrong = (["fail", "warn"] as const).flatMap((status) => checks.filter((check) => check.status === status))
  const groupWidth = Math.max(...groups.map(([group]) => group.length))
  return [
    ...wrong.flatMap(linesOf),
    ...(wrong.length === 0 ? [] : [""]),
    ...groups.map(([group, members]) => `${group.padEnd(groupWidth)}  ${countsOf(members)}`),
    "",
    "Every check: doctor --verbose"
  ].join("\n")
}
