import { execFile } from "node:child_process"
import { cp, mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"

const run = promisify(execFile)
const root = join(import.meta.dirname, "../..")
const convex = join(root, "convex")

const sources = async (): Promise<Array<string>> => {
  const entries = await readdir(convex, { recursive: true })
  return entries.filter((path) => path.endsWith(".ts") && !path.startsWith("_generated"))
}

describe("convex/", () => {
  it("has the generated files that codegen writes offline", async () => {
    const copy = await mkdtemp(join(tmpdir(), "codegen-"))
    try {
      await cp(convex, join(copy, "convex"), { recursive: true })
      await cp(join(root, "src/domain"), join(copy, "src/domain"), { recursive: true })
      await cp(join(root, "package.json"), join(copy, "package.json"))
      await symlink(join(root, "node_modules"), join(copy, "node_modules"))
      await rm(join(copy, "convex/_generated"), { recursive: true })
      const cli = join(root, "node_modules/convex/bin/main.js")
      const args = [cli, "codegen", "--system-udfs", "--typecheck", "disable"]
      await run(process.execPath, args, { cwd: copy, timeout: 25_000 })
      const names = (await readdir(join(convex, "_generated"))).toSorted()
      expect((await readdir(join(copy, "convex/_generated"))).toSorted()).toEqual(names)
      for (const name of names) {
        const [kept, made] = await Promise.all(
          [convex, join(copy, "convex")].map((folder) => readFile(join(folder, "_generated", name), "utf8"))
        )
        expect(made).toBe(kept)
      }
    } finally {
      await rm(copy, { recursive: true })
    }
  })

  it("imports nothing that a deployment lacks: no module of Node, no test code, and from src only the shared files", async () => {
    const allowed = [
      /^\.{1,2}\/[\w./]+\.(ts|js)$/,
      /^convex\/(server|values)$/,
      /^convex-helpers\/server\/customFunctions$/,
      /^effect\/(Cron|Result)$/
    ]
    const shared = new Set<string>()
    for (const path of await sources()) {
      const text = await readFile(join(convex, path), "utf8")
      for (const [, from = ""] of text.matchAll(/from "([^"]+)"/g)) {
        expect([path, from, allowed.some((form) => form.test(from))]).toEqual([path, from, true])
        if (from.includes("src/domain/")) shared.add(from.split("src/domain/")[1] ?? "")
        else expect([path, from.includes("src/")]).toEqual([path, false])
      }
    }
    for (const name of shared) {
      expect([name, await readFile(join(root, "src/domain", name), "utf8")]).toEqual([
        name,
        name === "shared/Mention.ts"
          ? expect.stringMatching(/^import MarkdownIt from "markdown-it"\n(?![\s\S]*^import )/)
          : expect.not.stringMatching(/^import /m)
      ])
    }
    const files = await readdir(join(root, "src/domain/shared"))
    expect([...shared].toSorted()).toEqual(files.map((name) => `shared/${name}`).toSorted())
  })

  it("documents for every public function who may call it and what it reads", async () => {
    for (const path of await sources()) {
      if (!/^(service|app)\//.test(path)) continue
      const text = await readFile(join(convex, path), "utf8")
      for (const [, comment = "", name] of text.matchAll(
        /(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)?export const (\w+) = (?:service|member|manager)?(?:[qQ]uery|[mM]utation)\(/g
      )) {
        expect([
          path,
          name,
          /For (runtimes|operators|members|owners|anyone)/.test(comment.replaceAll(/\s+\*?\s*/g, " "))
        ]).toEqual([path, name, true])
      }
    }
  })
})
