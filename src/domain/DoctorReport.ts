import { judge } from "./DoctorCheck.ts"
import type { Check, CheckStatus } from "./DoctorCheck.ts"
import type { Findings } from "./DoctorFindings.ts"
import { onMachine, onVariables } from "./DoctorMachineChecks.ts"
import { agentsKnown, onControlPlane, onGateway } from "./DoctorPeerChecks.ts"

/** Every check on what was found, always all of them and in the same order. */
export const examine = (found: Findings): ReadonlyArray<Check> => [
  ...judge(onVariables, found),
  ...judge(onMachine, found.machine),
  ...judge(onControlPlane, found.controlPlane),
  ...judge(onGateway, found.gateway),
  ...judge([["agents-known", agentsKnown]], found)
]

/** 2 when something fails, 1 when something is to be looked at, otherwise 0. */
export const doctorExitCode = (checks: ReadonlyArray<Check>): 0 | 1 | 2 =>
  checks.some(({ status }) => status === "fail") ? 2 : checks.some(({ status }) => status === "warn") ? 1 : 0

const colors = { ok: 32, warn: 33, fail: 31, skip: 90 } as const

/** A line for each check, its fix below it, and the sum at the end. */
export const renderDoctorReport = (checks: ReadonlyArray<Check>, isColored: boolean): string => {
  const width = Math.max(...checks.map(({ id }) => id.length))
  const mark = (status: CheckStatus) =>
    isColored ? `\u001b[${colors[status]}m${status.padEnd(4)}\u001b[0m` : status.padEnd(4)
  const count = (status: CheckStatus) => checks.filter((check) => check.status === status).length
  return [
    ...checks.flatMap(({ fix, id, message, status }) => [
      `${mark(status)}  ${id.padEnd(width)}  ${message.replace(/\s+/g, " ")}`,
      ...(fix === null ? [] : [`${" ".repeat(width + 8)}-> ${fix}`])
    ]),
    "",
    `${count("ok")} ok, ${count("warn")} to look at, ${count("fail")} failed, ${count("skip")} left out`
  ].join("\n")
}
