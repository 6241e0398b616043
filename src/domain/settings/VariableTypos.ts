import { allVariables, variables } from "./Variables.ts"

/** Prefixes that only the runtime uses. `OPENCLAW_` is not among them, because the gateway has such variables too. */
const ownPrefixes = ["DELIVERY_", "AGENT_HTTP_", "DROPLET_", "TASK_STATUS_"]

/** The edit distance: the minimum number of insertions, deletions and replacements between two texts. */
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
/** Similar variables of other programs. */
const foreign: ReadonlyArray<string> = ["HTTP_PROXY", "http_proxy", "https_proxy", "no_proxy"]

/** One line for each name in the environment that is probably a misspelt variable. Values are not read. */
export const variableTypos = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.flatMap((name) => {
    if (known.includes(name) || foreign.includes(name)) return []
    const base = name.endsWith("_FILE") ? name.slice(0, -"_FILE".length) : null
    if (base !== null && Object.hasOwn(variables, base)) {
      return [`${name} is set, but only secrets are read from files: set ${base} itself`]
    }
    const upper = name.toUpperCase()
    const isOurs = ownPrefixes.some((prefix) => upper.startsWith(prefix))
    // Names that differ too much in length are not compared letter by letter.
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
