/** A soak's result as text. */
import type { Machine } from "../machine.ts"
import type { Ledger } from "./ledger.ts"
import type { Observed } from "./sample.ts"
import type { Trend } from "./trend.ts"

/** The result of a soak, as in bench/results/soak.json. */
export type SoakResult = {
  readonly at: string
  readonly minutes: number
  readonly seed: number
  readonly machine: Machine
  /** Whether every notification had ended within ten minutes of the load's end. */
  readonly isQuiet: boolean
  /** Seconds from the load's end until then. */
  readonly restedAfter: number
  /** Exit codes of the watched runtimes. */
  readonly exits: ReadonlyArray<number | null>
  readonly load: Readonly<Record<string, number>>
  readonly mishaps: Readonly<Record<string, number>>
  readonly ledger: Ledger
  readonly trends: ReadonlyArray<{ readonly id: string; readonly trends: ReadonlyArray<Trend> }>
  /** Lines of the watched runtimes' logs that report a defect. */
  readonly warnings: ReadonlyArray<string>
  readonly samples: Readonly<Record<string, ReadonlyArray<Observed>>>
}

/** Every failure of the soak, one line each. */
export const problemsOf = (result: SoakResult): ReadonlyArray<string> => [
  ...(result.isQuiet ? [] : ["notifications were still open ten minutes after the load"]),
  ...result.ledger.wrong,
  ...result.warnings,
  ...result.exits.filter((code) => code !== 0).map((code) => `a watched runtime ended with ${code}`),
  ...result.trends.flatMap(({ id, trends }) =>
    trends.filter(({ isFlat }) => !isFlat).map(({ name }) => `grows: ${name} of ${id}`)
  )
]

const rounded = (value: number, unit = ""): string => {
  const number = value.toLocaleString("en-US", { maximumFractionDigits: 1 })
  return unit === "" ? number : `${number} ${unit}`
}

const listed = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([name, count]) => `${name} ${count.toLocaleString("en-US")}`)
    .join(", ")

/** The result as Markdown. */
export const soakMarkdown = (result: SoakResult): string => {
  const { ledger, machine } = result
  const problems = problemsOf(result)
  const rows = result.trends.flatMap(({ id, trends }) =>
    trends.map(
      ({ first, isFlat, last, limit, name, slope, unit }) =>
        `| ${id} | ${name} | ${rounded(first, unit)} | ${rounded(last, unit)} | ${rounded(slope)} | ${rounded(limit)} | ${isFlat ? "flat" : "grows"} |`
    )
  )
  return [
    `${result.at.slice(0, 10)}, ${machine.cpus} × ${machine.model}, Node ${machine.node}, commit ${machine.commit}, load ${machine.loadAtStart} at the start: ${result.minutes} minutes, **${problems.length === 0 ? "passed" : "failed"}**.`,
    "",
    `- Done by people: ${listed(result.load)}.`,
    `- Gone wrong: ${listed(result.mishaps)}.`,
    `- Notifications to agents: ${ledger.notifications.toLocaleString("en-US")} (${listed(ledger.byType)}).`,
    `- They ended: ${listed(ledger.byEnd)}; all of them ${rounded(result.restedAfter)} s after the load's end.`,
    `- Answers ${ledger.replies.toLocaleString("en-US")}, creations ${ledger.creations.toLocaleString("en-US")}; lost or doubled: ${ledger.wrong.length}.`,
    ...problems.map((problem) => `- Problem: ${problem}.`),
    "",
    "| runtime | quantity | at first | at last | growth an hour | flat up to | |",
    "| --- | --- | --- | --- | --- | --- | --- |",
    ...rows
  ].join("\n")
}
