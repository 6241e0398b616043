import type { Figure, Goal } from "./figure.ts"
import { isMet } from "./figure.ts"
import type { Result } from "./results.ts"

const shown = (value: number): string =>
  Math.abs(value) >= 100
    ? Math.round(value).toLocaleString("en-US")
    : value.toLocaleString("en-US", { maximumSignificantDigits: 3 })

const goalShown = (goal: Goal | undefined, unit: string): string => {
  if (goal === undefined) return ""
  const ofUnit = unit === "ratio" ? "" : ` ${unit}`
  return "below" in goal ? `under ${shown(goal.below)}${ofUnit}` : `at least ${shown(goal.atLeast)}${ofUnit}`
}

const verdict = (figure: Figure): string => {
  const met = isMet(figure)
  return met === null ? "" : met ? "met" : "missed"
}

/** A figure as one line of a terminal. */
export const lineOf = (bench: string, figure: Figure): string => {
  const [least, most] = figure.spread
  const goal = figure.goal === undefined ? "" : `  ${verdict(figure)}: ${goalShown(figure.goal, figure.unit)}`
  const spread = least === most ? "" : `(${shown(least)} to ${shown(most)})`
  return `${bench.padEnd(10)} ${figure.name.padEnd(64)} ${shown(figure.median).padStart(8)} ${figure.unit.padEnd(9)} ${spread}${goal}`
}

/** Results as a Markdown section: the machines, and one table of all figures. */
export const markdownOf = (results: ReadonlyArray<Result>): string => {
  const machines = new Map<string, Array<Result>>()
  for (const result of results) {
    const { commit, cpus, memoryGigabytes, model, node, system } = result.machine
    const quick = result.shortened === "" ? "" : `, shortened (${result.shortened})`
    const machine = `${cpus} × ${model}, ${memoryGigabytes} GB, ${system}, Node ${node}, commit ${commit}${quick}`
    machines.set(machine, [...(machines.get(machine) ?? []), result])
  }
  const measured = [...machines].map(([machine, of]) => {
    const loads = of.map(({ machine: { loadAtStart } }) => loadAtStart)
    const [least, most] = [Math.min(...loads), Math.max(...loads)]
    const load = `load at the start ${least === most ? least : `of each ${least} to ${most}`}`
    return `- ${of[0]?.at.slice(0, 10)}, ${machine}; ${load}: ${of.map(({ bench }) => `\`${bench}\``).join(", ")}`
  })
  const rows = results.flatMap(({ bench, figures }) =>
    figures.map((figure) => {
      const [least, most] = figure.spread
      const spread = least === most ? "" : `${shown(least)} to ${shown(most)}`
      const goal = goalShown(figure.goal, figure.unit)
      return `| \`${bench}\` | ${figure.name} | ${shown(figure.median)} ${figure.unit} | ${spread} | ${goal} | ${verdict(figure)} |`
    })
  )
  return [
    ...measured,
    "",
    "| bench | what | median | spread | goal | |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows
  ].join("\n")
}
