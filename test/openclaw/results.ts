/** The results of complete runs of `npm run test:openclaw`, and their table in docs/gateway.md. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { compareGatewayVersions, parseGatewayVersion } from "../../src/domain/gateway/GatewayVersion.ts"
import { markdownTable } from "../../src/domain/text/MarkdownTable.ts"

/** The last complete run against a release. */
export interface Result {
  readonly version: string
  /** The day of the run in UTC, as 2026-11-29. */
  readonly date: string
  readonly passed: number
  readonly skipped: number
  readonly failed: number
  /** The names of failed tests. */
  readonly notes: ReadonlyArray<string>
}

/** The part of vitest's JSON report that a result needs. */
export interface Report {
  readonly numPassedTests: number
  readonly numPendingTests: number
  readonly numFailedTests: number
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly message: string
    readonly assertionResults: ReadonlyArray<{ readonly fullName: string; readonly status: string }>
  }>
}

const root = join(import.meta.dirname, "..", "..")
const resultsFile = join(import.meta.dirname, "results.json")
const pageFile = join(root, "docs/gateway.md")
const tablePart = /(<!-- results -->\n)[\s\S]*?(\n<!-- end of results -->)/

/** Negative, zero or positive if the first is older than, equal to or newer than the second. */
export const compareVersions = (a: string, b: string): number => {
  const [left, right] = [parseGatewayVersion(a), parseGatewayVersion(b)]
  if (left === null || right === null) throw new Error(`${left === null ? a : b} is not a version of OpenClaw`)
  return compareGatewayVersions(left, right)
}

export const readResults = (): ReadonlyArray<Result> => JSON.parse(readFileSync(resultsFile, "utf8"))

/** The result of a run, from vitest's report. A file that could not run at all counts as one failed test. */
export const resultOf = (version: string, date: string, report: Report): Result => {
  const broken = report.testResults.filter(({ assertionResults, message }) => {
    return message !== "" && assertionResults.every(({ status }) => status !== "failed")
  })
  const failed = report.testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter(({ status }) => status === "failed").map(({ fullName }) => fullName)
  )
  return {
    version,
    date,
    passed: report.numPassedTests,
    skipped: report.numPendingTests,
    failed: report.numFailedTests + broken.length,
    notes: [
      ...failed,
      ...broken.map(({ message, name }) => `${name.slice(root.length + 1)}: ${message.split("\n")[0]}`)
    ]
  }
}

/** The results with this one instead of an older one of the same version, the newest version first. */
export const withResult = (results: ReadonlyArray<Result>, result: Result): ReadonlyArray<Result> =>
  [...results.filter(({ version }) => version !== result.version), result].toSorted((a, b) =>
    compareVersions(b.version, a.version)
  )

/** The table in docs/gateway.md. */
export const resultsTable = (results: ReadonlyArray<Result>): string =>
  markdownTable(
    ["OpenClaw", "tested on", "passed", "not applicable", "failed"],
    results.map(({ date, failed, notes, passed, skipped, version }) => [
      version,
      date,
      String(passed),
      String(skipped),
      [String(failed), ...notes].join("; ")
    ])
  )

/** The page with its table written again; it must have the two marks. */
export const pageWith = (page: string, results: ReadonlyArray<Result>): string => {
  if (!tablePart.test(page)) throw new Error("docs/gateway.md has no <!-- results --> and <!-- end of results -->")
  return page.replace(tablePart, (_, begin: string, end: string) => `${begin}\n${resultsTable(results)}\n${end}`)
}

/** Stores a result, and writes the table in docs/gateway.md again. */
export const recordResult = (result: Result): void => {
  const results = withResult(readResults(), result)
  writeFileSync(resultsFile, `${JSON.stringify(results, null, 2)}\n`)
  writeFileSync(pageFile, pageWith(readFileSync(pageFile, "utf8"), results))
}
