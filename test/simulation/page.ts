/** The page docs/how-it-is-tested.md, from the files of the tests and from what the simulation measured. */
import { globSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { knownVersions } from "../../local/gateway/release.ts"
import { markdownTable } from "../../src/domain/text/MarkdownTable.ts"
import { plantedMistakes } from "./plantedMistakes.ts"

const root = resolve(import.meta.dirname, "../..")
const read = (path: string): string => readFileSync(join(root, path), "utf8")

/** Where the page and the numbers in it are stored. */
export const pageFile = join(root, "docs/how-it-is-tested.md")
export const measuredFile = join(import.meta.dirname, "measured.json")

/** What runs of the simulation met. */
export interface Measured {
  readonly seeds: number
  readonly notifications: number
  readonly turns: number
  readonly violations: number
  /** How often each cell of the coverage, `what|where`, was met. */
  readonly cells: Readonly<Record<string, number>>
  /** The first seed that shows a planted mistake. */
  readonly foundAt: Readonly<Record<string, number | null>>
}

/** The numbers of the last measurement. */
export const readMeasured = (): Measured => JSON.parse(readFileSync(measuredFile, "utf8"))

const number = (value: number): string => value.toLocaleString("en-US")

/** The invariants as the architecture has them. */
const invariants = (): ReadonlyArray<readonly [name: string, says: string]> =>
  [...read("docs/architecture.md").matchAll(/^\| (I\d+) +\| (.+?) +\|$/gm)].map(([, name = "", says = ""]) => [
    name,
    says
  ])

/** What planted mistakes break that is no invariant. */
const otherRules: Readonly<Record<string, string>> = {
  classes: "a turn's outcome does not match its failure class",
  decision: "an agent's older turn changes what a person decided",
  turns: "agents have more turns on a task than `MAX_AGENT_TURNS_PER_TASK`, or no one is told",
  quiet: "updates wait too short or too long",
  questions: "a person's answer to an agent's question notifies that agent never or twice"
}

const invariantRows = () => {
  const mistakesOf = (name: string) => String(plantedMistakes.filter(({ breaks }) => breaks === name).length)
  return [
    ...invariants().map(([name, says]) => [name, says, mistakesOf(name)]),
    ...Object.entries(otherRules).map(([name, broken]) => [name, `Broken if ${broken}.`, mistakesOf(name)])
  ]
}

const cellRows = ({ cells }: Measured) => {
  const byKind = Map.groupBy(Object.entries(cells), ([cell]) => cell.split("|")[0] ?? cell)
  return [...byKind].map(([kind, met]) => [
    kind,
    met.map(([cell, times]) => `${cell.split("|")[1] ?? ""} ${number(times)}`).join(", ")
  ])
}

/** Tests that kill or freeze a process, by the words of their names. */
const killTests = () =>
  globSync("test/{process,local}/**/*.test.ts", { cwd: root })
    .toSorted()
    .flatMap((path) => {
      const source = read(path)
      const subject = /^describe\("([^"]+)"/m.exec(source)?.[1] ?? ""
      return [...source.matchAll(/\bit(?:\.live)?\(\s*"([^"]*\b(?:killed|kill|frozen|SIGKILL)\b[^"]*)"/g)].map(
        ([, name = ""]) => [`[${path.split("/").at(-1)}](../${path})`, `${subject}: ${name}`]
      )
    })

const properties = () => {
  const counts = globSync("test/**/*.test.ts", { cwd: root, exclude: ["**/node_modules/**"] }).map(
    (path) => read(path).match(/\.prop\(/g)?.length ?? 0
  )
  return {
    files: counts.filter((count) => count > 0).length,
    properties: counts.reduce((sum, count) => sum + count, 0)
  }
}

const longProperties = () =>
  globSync("test/**/*.properties.test.ts", { cwd: root })
    .toSorted()
    .map((path) => `[${path.split("/").at(-1)}](../${path})`)

/** The soak's lines in docs/performance.md that say when it ran, and how it ended. */
const soak = (): ReadonlyArray<string> => {
  const part = /<!-- soak -->([\s\S]*?)<!-- end of soak -->/.exec(read("docs/performance.md"))?.[1] ?? ""
  return part.split("\n").filter((line) => /^\d{4}-|^- (Gone wrong|Notifications to agents|Answers)/.test(line))
}

/** The page as it must be for these numbers. */
export const pageOf = (measured: Measured): string => {
  const { notifications, seeds, turns, violations } = measured
  const counts = properties()
  return `<!-- Written by node test/simulation/measure.ts. -->

# How it is tested

This page lists the rules that the tests check, and the results of their runs. \`node test/simulation/measure.ts\` runs the
simulation and writes the page; with \`--page\` it only writes the page, with the stored results.
[CONTRIBUTING.md](../CONTRIBUTING.md#tests) lists the tests' directories and scripts.

- [Invariants](#invariants)
- [Simulation](#simulation)
- [Planted mistakes](#planted-mistakes)
- [The model and the control plane](#the-model-and-the-control-plane)
- [Kills](#kills)
- [The gateway's contract](#the-gateways-contract)
- [Properties](#properties)
- [Soak](#soak)

## Invariants

The simulation checks each invariant. The last column counts the [planted mistakes](#planted-mistakes) that
break it. The lower rows are rules that the [architecture](architecture.md#what-is-guaranteed-and-what-is-not) does not
number.

${markdownTable(["invariant", "says", "mistakes"], invariantRows())}

## Simulation

One seed is one account with people, one or two runtimes and a gateway, all in one process and in virtual time. Random
faults hit their calls; then the faults stop, and all work must end. \`npm run simulate -- --seed 17\` prints the
trace of a seed. Equal seeds have equal traces, which \`npm run test:node\` compares on two major versions of Node.

Seeds ${number(seeds)}, notifications ${number(notifications)}, turns ${number(turns)}, violations ${number(violations)}.

The table lists the faults, outcomes and situations of these runs, and where and how often they occurred. The test fails
if one that [expectedCells.ts](../test/simulation/expectedCells.ts) lists is missing.

${markdownTable(["what", "where, and how often"], cellRows(measured))}

## Planted mistakes

Each mistake is planted into the runtime or into the model of the control plane. The simulation must find each within 80
seeds, by the invariant that it breaks, and the same seed without the mistake must pass. \`npm run test:simulation\`
checks this.

${markdownTable(
  ["mistake", "breaks", "first seed that shows it"],
  plantedMistakes.map(({ breaks, name }) => [name, breaks, String(measured.foundAt[name] ?? "none")])
)}

## The model and the control plane

The simulation's model states the control plane's rules a second time. \`npm run test:simulation\` plays random histories
on the model and on the functions of \`convex/\`, and compares answers, notifications, sessions, heartbeats, tasks,
requests for approval and pushes after each call.

The same comparison judges what happened on a real local control plane. \`npm run plane -- --data FILE --history\` stores
each call of a mutation with its answer and what it wrote, in the transaction of the call and without tokens. After the
plane has ended, \`npm run simulate -- --history FILE\` prints the first call that contradicts the model, with the expected
and the found values, and exits with 1. It also counts the calls that the model has no rule for. The comparison ends
at the first call that the model cannot follow: a budget holds work, an agent has other flags than the model assumes, a
policy applies to single agents, roles or arguments, or an agent asks a person of an account with several.

## Kills

These tests kill or freeze real processes and then check that no notification, reply or effect is lost or doubled, or that
no process is left behind.

${markdownTable(["file", "test"], killTests())}

## The gateway's contract

One suite ([test/gateway-contract](../test/gateway-contract)) describes the gateway's HTTP interface and the events of
its runs. \`npm test\` runs it against the scripted gateway as each of these releases, and \`npm run test:openclaw\`
against the real ones. The second also compares the WebSocket's protocol, as the installed package publishes it, with
the requests and fields that the runtime uses. It prints every difference, and fails if a used one is gone or changed:

${markdownTable(
  ["OpenClaw", "run by"],
  knownVersions.map((version) => [
    version,
    `\`npm run test:openclaw${read(".ci/run").includes(`--version ${version}`) ? ` -- --version ${version}` : ""}\``
  ])
)}

## Properties

${number(counts.properties)} properties in ${number(counts.files)} files are checked with 100 random values each, some of them for each tool. The files below
have the slow properties, and those about random histories of single parts:

${longProperties()
  .map((link) => `- ${link}`)
  .join("\n")}

## Soak

The soak runs processes for 20 minutes under mixed load and faults
([performance.md](performance.md#the-soak) has its resources):

${soak().join("\n").replace("passed**.\n", "passed**.\n\n")}
`
}
