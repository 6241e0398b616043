import { spawn } from "node:child_process"
import { cpSync, globSync, lstatSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Profiles } from "../../src/domain/gateway/ProfilePlan.ts"
import { syncOnce } from "./fixtures/syncOnce.ts"

const fixture = (name: string) => join(import.meta.dirname, "fixtures", name)

const profiles = (soul: string, skills: ReadonlyArray<string>): Profiles => ({
  revision: 1,
  agents: [
    {
      id: "a1",
      slug: "alpha",
      name: "Alpha",
      role: "builds",
      model: null,
      soul,
      identity: "",
      userText: "",
      skillSlugs: skills
    }
  ],
  skills: skills.map((slug) => ({ slug, name: slug, description: "does it", content: `${slug}. `.repeat(500) }))
})

interface Run {
  readonly isKilled: boolean
  readonly code: number | null
  readonly operations: number
  readonly errors: string
}

/** One run in its own process, killed at that operation; 0 is never. */
const sync = (folder: string, wanted: Profiles, killAt: number): Effect.Effect<Run> =>
  Effect.callback<Run>((resume) => {
    const child = spawn(
      process.execPath,
      ["--import", fixture("killAt.ts"), fixture("syncOnce.ts"), folder, JSON.stringify(wanted)],
      { env: { ...process.env, KILL_AT: String(killAt) }, stdio: ["ignore", "pipe", "pipe"] }
    )
    let output = ""
    let errors = ""
    child.stdout.on("data", (chunk) => (output += String(chunk)))
    child.stderr.on("data", (chunk) => (errors += String(chunk)))
    child.on("close", (code, signal) =>
      resume(Effect.succeed({ isKilled: signal === "SIGKILL", code, operations: Number(output), errors }))
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** Every file's text by its path. */
const texts = (folder: string): ReadonlyMap<string, string> =>
  new Map(
    ["**/*", "**/.*"]
      .flatMap((pattern) => globSync(pattern, { cwd: folder }))
      .filter((path) => lstatSync(join(folder, path)).isFile())
      .map((path) => [path, readFileSync(join(folder, path), "utf8")])
  )

describe("profile sync that is killed", () => {
  it.live(
    "at any operation leaves each file old or new, and the next run completes it",
    () =>
      Effect.gen(function* () {
        const folder = mkdtempSync(join(tmpdir(), "mission-control-kill-"))
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
        const before = join(folder, "before")
        const after = join(folder, "after")
        const [old, wanted] = [profiles("old ".repeat(500), ["triage"]), profiles("new ".repeat(700), ["release"])]
        assert.deepStrictEqual(yield* Effect.promise(() => syncOnce(before, old)), [])
        cpSync(before, after, { recursive: true })
        const whole = yield* sync(after, wanted, 0)
        assert.strictEqual(whole.code, 0, whole.errors)
        assert.isAbove(whole.operations, 20)
        const [oldTexts, newTexts] = [texts(before), texts(after)]
        // The paths in the configuration differ by their folder.
        const normal = (text: string | undefined, from: string) => text?.replaceAll(from, "FOLDER")
        yield* Effect.forEach(
          Array.from({ length: whole.operations }, (_, index) => index + 1),
          Effect.fnUntraced(function* (operation) {
            const here = join(folder, `killed-${operation}`)
            // An agent's workspace is configured by its absolute path, so it is created in the folder of the kill.
            yield* Effect.promise(() => syncOnce(here, old))
            const killed = yield* sync(here, wanted, operation)
            assert.isTrue(killed.isKilled, `operation ${operation}`)
            for (const [path, text] of texts(here)) {
              if (path.endsWith(".mission-control.tmp") || path.endsWith(".mission-control.json")) continue
              assert.include(
                [normal(oldTexts.get(path), before), normal(newTexts.get(path), after)],
                normal(text, here),
                `${path} after operation ${operation}`
              )
            }
            assert.deepStrictEqual(yield* Effect.promise(() => syncOnce(here, wanted)), [])
            assert.deepStrictEqual(
              [...texts(here)].map(([path, text]) => [path, normal(text, here)]).toSorted(),
              [...newTexts].map(([path, text]) => [path, normal(text, after)]).toSorted()
            )
            rmSync(here, { recursive: true, force: true })
          }),
          { concurrency: 4 }
        )
      }).pipe(Effect.scoped),
    { timeout: 240_000 }
  )
})
