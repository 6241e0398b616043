import { execFileSync } from "node:child_process"
import { cpus, loadavg, release, totalmem, type } from "node:os"
import { join } from "node:path"

/** Machine and commit of a measurement. Figures of two machines, or of a busy one, are not comparable. */
export type Machine = {
  readonly cpus: number
  readonly model: string
  readonly memoryGigabytes: number
  readonly system: string
  readonly node: string
  readonly commit: string
  /** Load average over the last minute before the measurement. */
  readonly loadAtStart: number
}

const git = (...args: ReadonlyArray<string>): string => {
  try {
    return execFileSync("git", args, {
      encoding: "utf8",
      cwd: join(import.meta.dirname, ".."),
      stdio: ["ignore", "pipe", "ignore"]
    })
  } catch {
    return ""
  }
}

const commit = (): string => {
  const head = git("rev-parse", "--short=12", "HEAD").trim()
  if (head === "") return "unknown"
  return git("status", "--porcelain", "--", "src", "convex", "local", "bench").trim() === "" ? head : `${head}, changed`
}

/** The current state of this machine. */
export const machineNow = (): Machine => ({
  cpus: cpus().length,
  model: cpus()[0]?.model.trim() ?? "unknown",
  memoryGigabytes: Math.round(totalmem() / 2 ** 30),
  system: `${type()} ${release().split("-", 1)[0]}`,
  node: process.version,
  commit: commit(),
  loadAtStart: Math.round((loadavg()[0] ?? Number.NaN) * 100) / 100
})
