import { counted } from "../text/Count.ts"
import { singleLine } from "../text/Text.ts"
import { judge } from "./DoctorCheck.ts"
import type { Check, CheckGroup, CheckStatus } from "./DoctorCheck.ts"
import type { Findings } from "./DoctorFindings.ts"
import { onMachine, onVariables } from "./DoctorMachineChecks.ts"
import { agentsKnown, onControlPlane, onGateway } from "./DoctorPeerChecks.ts"

/** All checks of the findings, always in the same order. */
export const examine = (found: Findings): ReadonlyArray<Check> => [
  ...judge("Variables", onVariables, found),
  ...judge("Machine", onMachine, found.machine),
  ...judge("Control plane", onControlPlane, found.controlPlane),
  ...judge("Gateway", onGateway, found.gateway),
  ...judge("Gateway", [["agents-known", agentsKnown]], found)
]

/** 2 for failures, 1 for warnings, otherwise 0. */
export const doctorExitCode = (checks: ReadonlyArray<Check>): 0 | 1 | 2 =>
  checks.some(({ status }) => status === "fail") ? 2 : checks.some(({ status }) => status === "warn") ? 1 : 0

const colors = { ok: 32, warn: 33, fail: 31, skip: 90 } as const
const statuses = ["fail", "warn", "ok", "skip"] as const
const countOf = (status: CheckStatus, count: number): string => {
  switch (status) {
    case "fail":
      return `${count} failed`
    case "warn":
      return counted(count, "warning")
    case "ok":
      return `${count} ok`
    case "skip":
      return `${count} skipped`
  }
}

const countsOf = (checks: ReadonlyArray<Check>): string =>
  statuses
    .map((status) => [status, checks.filter((check) => check.status === status).length] as const)
    .filter(([, count]) => count > 0)
    .map(([status, count]) => countOf(status, count))
    .join(", ")

const groupsOf = (checks: ReadonlyArray<Check>): ReadonlyArray<readonly [CheckGroup, ReadonlyArray<Check>]> =>
  [...new Set(checks.map(({ group }) => group))].map((group) => [
    group,
    checks.filter((check) => check.group === group)
  ])

/**
 * Failures, then warnings, each with its fix, and one line of counts for each group. With `isVerbose` all checks,
 * listed under their groups.
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
    const [first = "", ...others] = message.split("\n").map(singleLine)
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
    "To show every check: doctor --verbose"
  ].join("\n")
}
