import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** The page with the results. */
export const page = fileURLToPath(new URL("../docs/performance.md", import.meta.url))

/** Replaces one part of the page's text, between the comments with its name. */
export const replaced = (before: string, name: "figures" | "soak", text: string): string => {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`]
  const [from, to] = [before.indexOf(begin), before.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`${page} has no place for ${name}`)
  return `${before.slice(0, from)}${begin}\n\n${text.trim()}\n\n${before.slice(to)}`
}

/** Replaces a part of docs/performance.md and formats it. */
export const writeSection = (name: "figures" | "soak", text: string): void => {
  writeFileSync(page, replaced(readFileSync(page, "utf8"), name, text))
  execFileSync("npx", ["oxfmt", page])
}
