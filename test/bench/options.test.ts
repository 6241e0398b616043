import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"

const project = join(import.meta.dirname, "..", "..")

describe("a command that measures", () => {
  it.each([
    ["bench/main.ts", ["--frob"], /^bench: Unknown option '--frob'/],
    ["bench/main.ts", ["nonsense"], /^bench: unknown nonsense/],
    ["bench/main.ts", ["plane", "--against", "."], /^bench: --against needs names out of lone, /],
    ["bench/main.ts", ["lone", "--against", "docs"], /^bench: docs has no src\/main\.ts/],
    ["bench/soak/main.ts", ["--frob"], /^soak: Unknown option '--frob'/],
    ["bench/soak/main.ts", ["--minutes", "-1"], /^soak: .*--minutes/],
    ["bench/soak/main.ts", ["--minutes", "soon"], /^soak: --minutes is "soon": give a number above 0/],
    ["bench/soak/main.ts", ["--minutes", "Infinity"], /^soak: --minutes is "Infinity": give a number above 0/],
    ["bench/soak/main.ts", ["--seed", "x"], /^soak: --seed is "x": give a whole number/]
  ])("%s %j is refused with what is wrong and how it is used", (file, args, words) => {
    const { status, stderr, stdout } = spawnSync(process.execPath, [file, ...args], { cwd: project, encoding: "utf8" })
    assert.match(stderr, words)
    assert.include(stderr, "usage: npm run ")
    assert.notMatch(stderr, /^\s+at /m)
    assert.strictEqual(stdout, "")
    assert.strictEqual(status, 64)
  })
})
