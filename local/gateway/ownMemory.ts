import { readFileSync } from "node:fs"

/**
 * This process's memory in bytes, without the pages of the node binary, which all node processes share. Where the
 * system does not report those, the resident set size.
 */
export const ownMemory = (): number => {
  try {
    const kilobytes = /^RssAnon:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]
    if (kilobytes !== undefined) return Number(kilobytes) * 1024
  } catch {
    // Not Linux.
  }
  return process.memoryUsage.rss()
}
