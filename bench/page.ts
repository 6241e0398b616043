import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const page = fileURLToPath(new URL("../docs/performance.md", import.meta.url))

/** Replaces a part of docs/performance.md, between the comments that name it, and formats the page. */
export const writeSection = (name: "figures" | "soak", text: string): void => {
  const before = readFileSync(page, "utf8")
  const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`]
  const [from, to] = [before.indexOf(begin), before.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`${page} has no place for ${name}`)
  writeFileSync(page, `${before.slice(0, from)}${begin}\n\n${text.trim()}\n\n${before.slice(to)}`)
  execFileSync("npx", ["oxfmt", page])
}
