import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { afterEach, assert, beforeEach, describe, expect, it, vi } from "vitest"
import { installedOpenClaw, installOpenClaw } from "../../../local/openclaw/install.ts"

/** A release that does not exist, and its folder. */
const version = "0.0.0-test"
const home = join(import.meta.dirname, "../../openclaw/.versions", version)
let bin = ""

/** Puts an `npm` first in the path that runs these lines of shell. */
const npmRuns = (...lines: ReadonlyArray<string>): void => {
  writeFileSync(join(bin, "npm"), ["#!/bin/sh", ...lines].join("\n"), { mode: 0o755 })
  vi.stubEnv("PATH", [bin, process.env["PATH"]].join(delimiter))
}

const writesPackage = `mkdir -p node_modules/openclaw && echo '{"version":"${version}"}' > node_modules/openclaw/package.json`
const writesList = "echo '{}' > node_modules/.package-lock.json"

beforeEach(() => {
  bin = mkdtempSync(join(tmpdir(), "mission-control-npm-"))
})
afterEach(() => {
  for (const folder of [bin, home]) rmSync(folder, { recursive: true, force: true })
})

describe("the installation of OpenClaw", () => {
  it("reports each fetched package, and does not run npm again", async () => {
    npmRuns(
      "echo 'npm http fetch GET 200 https://registry.example/openclaw 80ms' >&2",
      "echo 'npm http fetch GET 200 https://registry.example/openclaw/-/openclaw-1.tgz 80ms' >&2",
      "echo 'npm http cache https://registry.example/zod/-/zod-1.tgz 0ms' >&2",
      writesPackage,
      writesList
    )
    const fetched: Array<number> = []
    const { command } = await installOpenClaw(version, { onPackage: (count) => fetched.push(count) })
    assert.deepStrictEqual(fetched, [1, 2])
    assert.strictEqual(command, join(home, "node_modules/openclaw/openclaw.mjs"))
    npmRuns("exit 1")
    assert.strictEqual((await installOpenClaw(version)).command, command)
  })

  it.each([
    [["echo 'npm error code EAI_AGAIN' >&2", "exit 1"], "npm cannot reach its registry (EAI_AGAIN): check the network"],
    [
      ["echo 'npm error code ENOSPC' >&2", "echo 'npm error no space left' >&2", "exit 228"],
      "npm ended with exit code 228: code ENOSPC no space left"
    ]
  ])("fails with npm's reason in one line", async (lines, message) => {
    npmRuns(...lines)
    await expect(installOpenClaw(version)).rejects.toThrow(new Error(message))
  })

  it("does not use an installation that npm did not complete", async () => {
    npmRuns(writesPackage, "kill -9 $$")
    await expect(installOpenClaw(version)).rejects.toThrow("npm ended with exit code null")
    assert.isUndefined(installedOpenClaw(version))
  })

  it("stops npm if it is aborted", async () => {
    const mark = join(bin, "started")
    npmRuns(`echo $$ > ${mark}`, "exec sleep 600")
    const abort = new AbortController()
    const installing = installOpenClaw(version, { signal: abort.signal })
    while (!existsSync(mark)) await new Promise((resolve) => setTimeout(resolve, 20))
    abort.abort()
    await expect(installing).rejects.toThrow("aborted")
  })
})
