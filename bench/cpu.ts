import { readdirSync, readFileSync } from "node:fs"

/** Ticks in /proc/<pid>/stat are hundredths of a second on Linux. */
const MILLIS_PER_TICK = 10

/** A process's processor time so far, user and system, in milliseconds. Only Linux has this figure. */
export const cpuMillis = (pid: number): number => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    // The second field is the name in parentheses, which can contain spaces.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return (Number(fields[11]) + Number(fields[12])) * MILLIS_PER_TICK
  } catch {
    return Number.NaN
  }
}

/**
 * The same in nanoseconds, for short measurements of a few ticks. It is the sum over the process's threads, so the time
 * of a thread that ended is missing.
 */
export const threadMillis = (pid: number): number => {
  try {
    return readdirSync(`/proc/${pid}/task`).reduce(
      (sum, thread) => sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]) / 1e6,
      0
    )
  } catch {
    return Number.NaN
  }
}
