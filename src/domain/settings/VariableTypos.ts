import { allVariables, variables } from "./Variables.ts"

/** Families of names that are ours alone; `OPENCLAW_` is not, since the gateway has variables of its own. */
const ownPrefixes = ["DELIVERY_", "AGENT_HTTP_", "DROPLET_", "TASK_STATUS_"]

/** The fewest insertions, deletions and replacements that make one text the other. */
const distance = (from: string, to: string): number => {
  let above = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const replaced = (above[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1)
      current.push(Math.min((above[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, replaced))
    }
    above = current
  }
  return above[to.length] ?? 0
}

const secretFiles = allVariables.flatMap(([name, { kind }]) => (kind === "secret" ? [`${name}_FILE`] : []))
const known: ReadonlyArray<string> = [...allVariables.map(([name]) => name), ...secretFiles]
/** Other programs' variables, which look like ours. */
const foreign: ReadonlyArray<string> = ["HTTP_PROXY", "http_proxy", "https_proxy", "no_proxy"]

/** One line for each name of the environment that was probably meant to be a variable of ours; values are not looked at. */
export const variableTypos = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.flatMap((name) => {
    if (known.includes(name) || foreign.includes(name)) return []
    const base = name.endsWith("_FILE") ? name.slice(0, -"_FILE".length) : null
    if (base !== null && Object.hasOwn(variables, base)) {
      return [`${name} is set, but only secrets are read from files: set ${base} itself`]
    }
    const upper = name.toUpperCase()
    const isOurs = ownPrefixes.some((prefix) => upper.startsWith(prefix))
    // An environment holds many names: what differs by more in length alone is not compared letter by letter.
    const most = isOurs ? 8 : 2
    const nearest = known
      .filter((candidate) => Math.abs(candidate.length - upper.length) <= most)
      .map((candidate) => ({ candidate, steps: distance(upper, candidate) }))
      .toSorted((a, b) => a.steps - b.steps)[0]
    if (nearest !== undefined && nearest.steps <= 2 && name.length >= 6) {
      return [`${name} is set, but no such variable is read: did you mean ${nearest.candidate}?`]
    }
    return isOurs
      ? [
          `${name} is set, but no such variable is read${nearest !== undefined && nearest.steps <= most ? `: did you mean ${nearest.candidate}?` : ""}`
        ]
      : []
  })
