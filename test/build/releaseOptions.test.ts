import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { describe, expect, it } from "vitest"

const scripts = [
  ["build/release.ts", "npm run release"],
  ["test/openclaw/check.ts", "npm run check:openclaw"]
] as const

const call = (script: string, option: string) => {
  const path = join(import.meta.dirname, "../..", script)
  const { status, stderr, stdout } = spawnSync(process.execPath, [path, option], { encoding: "utf8" })
  return { status, stderr, stdout }
}

describe("the scripts for releases", () => {
  it.each(scripts)("%s explains its options, and refuses others before it does anything", (script, command) => {
    const help = call(script, "--help")
    expect(help).toMatchObject({ status: 0, stderr: "" })
    expect(help.stdout).toContain(`Usage: ${command} -- [options]`)
    const stderr = `Unknown option '--frob'. See ${command} -- --help.\n`
    expect(call(script, "--frob")).toEqual({ status: 1, stdout: "", stderr })
  })
})
