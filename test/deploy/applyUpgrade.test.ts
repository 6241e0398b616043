import { execFileSync, spawnSync } from "node:child_process"
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, beforeEach, describe, expect, it } from "vitest"

const script = fileURLToPath(new URL("../../deploy/droplet/apply-upgrade.sh", import.meta.url))

/** What of jq the script asks, for machines that have none: a field of a file, a text or nothing. */
const jq = `#!/usr/bin/env node
const name = process.argv[process.argv.indexOf("name") + 1]
try {
  const value = JSON.parse(require("node:fs").readFileSync(process.argv.at(-1), "utf8"))[name] ?? ""
  if (typeof value !== "string") process.exit(5)
  console.log(value)
} catch {
  process.exit(2)
}
`

let folder: string
const at = (name: string): string => join(folder, name)

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mc-upgrade-"))
  // Notes each call; an image whose tag says so is not to be had.
  writeFileSync(
    at("docker"),
    `#!/bin/sh\necho "$*" >> "${at("calls")}"\ncase $* in *missing*) echo "manifest unknown" >&2; exit 1 ;; esac\n`
  )
  chmodSync(at("docker"), 0o755)
  if (spawnSync("jq", ["--version"]).error !== undefined) {
    writeFileSync(at("jq"), jq)
    chmodSync(at("jq"), 0o755)
  }
  writeFileSync(
    at("versions.env"),
    "RUNTIME_IMAGE=images.example.com/runtime\nRUNTIME_TAG=1.0.0\nOPENCLAW_IMAGE=images.example.com/openclaw\nOPENCLAW_TAG=2026.9.5\n# kept\n",
    { mode: 0o640 }
  )
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const leave = (upgrade: unknown): void =>
  writeFileSync(at("upgrade.json"), typeof upgrade === "string" ? upgrade : JSON.stringify(upgrade))
const apply = () =>
  spawnSync("sh", [script, at("upgrade.json"), at("versions.env")], {
    encoding: "utf8",
    env: { ...process.env, PATH: `${folder}${delimiter}${process.env["PATH"]}` }
  })
const versions = (): Record<string, string> =>
  Object.fromEntries(
    readFileSync(at("versions.env"), "utf8")
      .split("\n")
      .filter((line) => line.includes("="))
      .map((line) => line.split("=") as [string, string])
  )
const calls = (): string => (existsSync(at("calls")) ? readFileSync(at("calls"), "utf8") : "")

describe("what a Droplet does before each start", () => {
  it("is nothing when no upgrade was left", () => {
    const before = readFileSync(at("versions.env"), "utf8")
    expect(apply()).toMatchObject({ status: 0, stderr: "" })
    expect(readFileSync(at("versions.env"), "utf8")).toBe(before)
    expect(calls()).toBe("")
  })

  it("is to pull what was asked for and to make it what starts, keeping what stays", () => {
    leave({ id: "u1", kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: null })
    expect(apply().status).toBe(0)
    expect(calls()).toBe("pull --quiet images.example.com/runtime:1.1.0\n")
    expect(versions()).toMatchObject({ RUNTIME_TAG: "1.1.0", OPENCLAW_TAG: "2026.9.5" })
    expect(readFileSync(at("versions.env"), "utf8")).toContain("# kept\n")
    expect(readFileSync(at("versions.env.before"), "utf8")).toContain("RUNTIME_TAG=1.0.0")
    expect(execFileSync("stat", ["-c", "%a", at("versions.env")], { encoding: "utf8" }).trim()).toBe("640")
  })

  it("is to upgrade both parts, or neither", () => {
    leave({ id: "u1", kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: "missing" })
    const failed = apply()
    expect(failed.status).toBe(0)
    expect(failed.stderr).toContain("openclaw:missing cannot be pulled: nothing is changed")
    expect(versions()).toMatchObject({ RUNTIME_TAG: "1.0.0", OPENCLAW_TAG: "2026.9.5" })
    leave({ id: "u2", kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: "2026.9.6" })
    expect(apply().status).toBe(0)
    expect(versions()).toMatchObject({ RUNTIME_TAG: "1.1.0", OPENCLAW_TAG: "2026.9.6" })
  })

  it("is to try each request once, and to go back when that is asked for", () => {
    leave({ id: "u1", kind: "upgrade", runtimeVersion: "missing", openclawVersion: null })
    apply()
    expect(apply().stderr).toContain("u1 was tried before")
    expect(calls().trimEnd().split("\n")).toHaveLength(1)
    leave({ id: "u2", kind: "rollback", runtimeVersion: "0.9.0", openclawVersion: null })
    apply()
    expect(versions()["RUNTIME_TAG"]).toBe("0.9.0")
  })

  it.each([
    ["a shell's words", "1.0;reboot"],
    ["a command in the middle", "$(reboot)"],
    ["another image", "../other:1"],
    ["a digest", "1@sha256:00"],
    ["an option", "--help"],
    ["two lines", "1.0\nRUNTIME_IMAGE=evil"],
    ["a space", "1 0"],
    ["no end", "1".repeat(65)]
  ])("is nothing for a version that is no tag: %s", (_, version) => {
    leave({ id: "u1", kind: "upgrade", runtimeVersion: version, openclawVersion: null })
    const before = readFileSync(at("versions.env"), "utf8")
    const refused = apply()
    expect(refused.status).toBe(0)
    expect(refused.stderr).toContain("nothing is changed")
    expect(calls()).toBe("")
    expect(readFileSync(at("versions.env"), "utf8")).toBe(before)
  })

  it.each([
    ["is cut off", '{"id":"u1","runtime'],
    ["is no object", '"u1"'],
    ["has numbers for texts", '{"id":"u1","runtimeVersion":1}'],
    ["has no id", '{"runtimeVersion":"1.1.0"}'],
    ["is empty", ""]
  ])("is nothing when the file %s", (_, text) => {
    leave(text)
    const refused = apply()
    expect(refused.status).toBe(0)
    expect(refused.stderr).toContain("cannot be read as an upgrade: nothing is changed")
    expect(versions()["RUNTIME_TAG"]).toBe("1.0.0")
  })

  it("ends with 78 when nothing says what to start", () => {
    leave({ id: "u1", kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: null })
    rmSync(at("versions.env"))
    expect(apply()).toMatchObject({ status: 78 })
  })
})
