/**
 * The commands of the documents, by the language of their block:
 * `sh` runs in a checkout, `sh account` beside an account (tests give it stand-ins), `console` is never run by a test,
 * because it needs a machine or an account that no test has.
 */
import { globSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"

const root = resolve(import.meta.dirname, "..")

/** The page whose commands create the account that the commands of later pages use. */
export const gettingStarted = "docs/getting-started.md"

/** Pages at the root that code hosts and coding agents look for by name. */
export const forVisitors: ReadonlyArray<string> = ["AGENTS.md", "LLMS.md", "SECURITY.md"]

/** Every document for readers, in an order in which their commands can run. */
export const documents: ReadonlyArray<string> = [
  "README.md",
  gettingStarted,
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  ...forVisitors,
  ...globSync("{docs,deploy}/**/*.md", { cwd: root, exclude: [gettingStarted] }).toSorted()
]

export interface CommandBlock {
  readonly path: string
  readonly line: number
  /** What follows the fence: the language, and for whom it is. */
  readonly kind: string
  readonly text: string
}

/** Every fenced block of a document, in its order; those inside of lists without their indentation. */
export const blocksIn = (path: string): ReadonlyArray<CommandBlock> => {
  const source = readFileSync(join(root, path), "utf8")
  return [...source.matchAll(/^( *)```([^\n]*)\n([\s\S]*?)^\1```$/gm)].map((match) => {
    const [, indent = "", kind = "", text = ""] = match
    return {
      path,
      line: source.slice(0, match.index).split("\n").length,
      kind,
      text: indent === "" ? text : text.replaceAll(new RegExp(`^${indent}`, "gm"), "")
    }
  })
}

/** The commands of a block: its lines, with those that go on after a backslash in one. */
export const commandsOf = ({ text }: CommandBlock): ReadonlyArray<string> =>
  text
    .replace(/\\\n\s*/g, "")
    .split("\n")
    .map((line) => line.replace(/ {2,}#.*$/, "").trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
