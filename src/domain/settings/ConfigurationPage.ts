import { allVariables, ruleOf, usualOf, variableGroups } from "./Variables.ts"
import type { Variable, VariableName } from "./Variables.ts"

type Row = readonly [VariableName, Variable]

const isSecret = ([, { kind }]: Row): boolean => kind === "secret"

/** A Markdown table whose columns are as wide as their widest cell, as the formatter leaves it. */
const tableOf = (header: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = header.map((title, column) =>
    Math.max(3, title.length, ...rows.map((row) => row[column]?.length ?? 0))
  )
  const line = (cells: ReadonlyArray<string>) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`
  return [line(header), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n")
}

const sectionOf = (group: string): string => {
  const rows = allVariables.filter(([, variable]) => variable.group === group)
  return [
    `## ${group}`,
    "",
    tableOf(
      ["name", "default", "rule", "meaning"],
      rows.map(([name, variable]) => [`\`${name}\``, usualOf(variable), ruleOf(variable), variable.meaning])
    )
  ].join("\n")
}

/** The text of docs/configuration.md. */
export const configurationPage: string = [
  "# Configuration",
  "",
  "Every variable of the environment. This page is printed by `mission-control-runtime config print --markdown`.",
  "",
  "An empty value counts as absent. Every problem is told at once, with the variable, its value and its rule, and the",
  "process ends with exit code 78. Names that look like a misspelt variable are pointed out.",
  "`mission-control-runtime config print` shows what holds now and where it comes from.",
  "",
  "White space, a line end of Windows and a pair of quotation marks around a value do not belong to it. `~`, `$HOME` and",
  "`${HOME}` at the start of a path are the home folder of the user that runs the process. No other variable, quotation",
  "mark or comment inside a value is interpreted: a value that needs it is refused. An address without a scheme is http on",
  "this machine and https under `convex.cloud`, and refused elsewhere.",
  "",
  "## Secrets",
  "",
  "A secret is given by its variable, or by the same name with `_FILE` behind it: the path of the file that holds it.",
  "The variable wins over the file. The file holds the secret alone, or as one line `NAME=secret`.",
  "",
  ...allVariables.filter(isSecret).map(([name]) => `- \`${name}\`, \`${name}_FILE\``),
  "",
  "The files of `SERVICE_TOKEN` and `OPENCLAW_GATEWAY_TOKEN` are read again on SIGHUP, and whenever the deployment or",
  "the gateway refuses what was read before. So a secret is changed by writing the new one into its file while the old",
  "one is still good: no restart, and no request is lost.",
  "",
  variableGroups.map(sectionOf).join("\n\n"),
  "",
  "## On the deployment",
  "",
  "The control plane itself reads `GITHUB_TOKEN` and `GITHUB_REPO`, to link pull requests to tasks. They are set on the",
  "Convex deployment, not here.",
  ""
].join("\n")
