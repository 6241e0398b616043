import { markdownTable } from "../text/MarkdownTable.ts"
import { variableGroups } from "./VariableKinds.ts"
import type { Variable } from "./VariableKinds.ts"
import { allVariables, ruleOf, usualOf } from "./Variables.ts"
import type { VariableName } from "./Variables.ts"

type Row = readonly [VariableName, Variable]

const isSecret = ([, { kind }]: Row): boolean => kind === "secret"

const sectionOf = (group: string): string => {
  const rows = allVariables.filter(([, variable]) => variable.group === group)
  return [
    `## ${group}`,
    "",
    markdownTable(
      ["name", "default", "rule", "meaning"],
      rows.map(([name, variable]) => [`\`${name}\``, usualOf(variable), ruleOf(variable), variable.meaning])
    )
  ].join("\n")
}

/** The text of docs/configuration.md. */
export const configurationPage: string = [
  "# Configuration",
  "",
  "All environment variables. `mission-control-runtime config print --markdown` prints this page.",
  "",
  "An empty value counts as absent. The runtime reports all problems at once, each with variable, value and rule, and",
  "exits with 78. It also lists names that look like misspelt variables.",
  "`mission-control-runtime config print` shows the current values and where they come from.",
  "",
  "White space, a Windows line end and a pair of quotation marks around a value are removed. `~`, `$HOME` and",
  "`${HOME}` at the start of a path are the home folder of the user that runs the process. A value with any other",
  "variable, a quotation mark inside it or a comment is refused. An address without a scheme is http on this machine",
  "and https under `convex.cloud`, and refused elsewhere.",
  "",
  "## Secrets",
  "",
  "Set a secret by its variable, or by the same name followed by `_FILE`: the path of a file that contains the secret.",
  "The variable takes precedence. The file contains only the secret, or one line `NAME=secret`.",
  "",
  ...allVariables.filter(isSecret).map(([name]) => `- \`${name}\`, \`${name}_FILE\``),
  "",
  "The runtime reads the files of `SERVICE_TOKEN` and `OPENCLAW_GATEWAY_TOKEN` again on SIGHUP, and if the deployment or",
  "the gateway refuses the secret. To change a secret, write the new one into its file while the old one is still",
  "valid: the runtime needs no restart and loses no request.",
  "",
  variableGroups.map(sectionOf).join("\n\n"),
  "",
  "## On the deployment",
  "",
  "The control plane reads `GITHUB_TOKEN` and `GITHUB_REPO` to link pull requests to tasks. Set them on the",
  "Convex deployment, not here.",
  ""
].join("\n")
