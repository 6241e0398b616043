import { execFileSync, spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, beforeEach, describe, expect, it } from "vitest"

const script = fileURLToPath(new URL("../../deploy/apply-upgrade.sh", import.meta.url))

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

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`
/** Images that may start: an upgrade, a rollback, one that the registry does not have, and one without a signature. */
const listed = [
  `images.example.com/runtime:1.1.0@${digest("1")}`,
  `images.example.com/runtime:0.9.0@${digest("2")}`,
  `images.example.com/runtime:gone@${digest("3")}`,
  `images.example.com/runtime:unsigned@${digest("4")}`,
  `images.example.com/openclaw:2026.9.6@${digest("5")}`,
  `images.example.com/openclaw:gone@${digest("6")}`
]

let folder: string
const at = (name: string): string => join(folder, name)
const program = (name: string, text: string): void => writeFileSync(at(name), text, { mode: 0o755 })

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mc-upgrade-"))
  // Each writes its calls down. Compose's container has exited after the second look, and is then started again.
  program(
    "docker",
    `#!/bin/sh
echo "$*" >> "${at("calls")}"
case $* in
  pull*gone*) echo "manifest unknown" >&2; exit 1 ;;
  compose*" ps "*) echo container ;;
  compose*--wait*) [ ! -e "${at("broken")}" ] ;;
  *Running*) cat "${at("running")}" ;;
  *StartedAt*)
    echo look >> "${at("looks")}"
    if [ "$(wc -l < "${at("looks")}")" -lt 3 ]; then echo 2020-01-01T00:00:00.5Z; else echo 2100-01-01T00:00:00.5Z; fi ;;
esac
`
  )
  program(
    "cosign",
    `#!/bin/sh\necho "cosign $*" >> "${at("calls")}"\ncase $* in *${digest("4")}) echo "no signatures" >&2; exit 10 ;; esac\n`
  )
  program("sleep", "#!/bin/sh\n")
  writeFileSync(at("running"), "true\n")
  writeFileSync(at("images"), listed.join("\n"))
  if (spawnSync("jq", ["--version"]).error !== undefined) {
    program("jq", jq)
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
const apply = (...more: ReadonlyArray<string>) =>
  spawnSync("sh", [script, at("upgrade.json"), at("versions.env"), ...more], {
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

describe("the upgrade that a host applies", () => {
  it("is nothing if no upgrade was left", () => {
    const before = readFileSync(at("versions.env"), "utf8")
    expect(apply()).toMatchObject({ status: 0, stderr: "" })
    expect(readFileSync(at("versions.env"), "utf8")).toBe(before)
    expect(calls()).toBe("")
  })

  it("is pulled by the digest of the list and is what starts, keeping the other part", () => {
    leave({ id: "u1", kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: null })
    expect(apply().status).toBe(0)
    expect(calls()).toBe(`pull --quiet images.example.com/runtime:1.1.0@${digest("1")}\n`)
    expect(versions()).toMatchObject({ RUNTIME_TAG: `1.1.0@${digest("1")}`, OPENCLAW_TAG: "2026.9.5" })
    expect(readFileSync(at("versions.env"), "utf8")).toContain("# kept\n")
    expect(readFileSync(at("versions.env.before"), "utf8")).toContain("RUNTIME_TAG=1.0.0")
    expect(execFileSync("stat", ["-c", "%a", at("versions.env")], { encoding: "utf8" }).trim()).toBe("640")
  })

  it("changes both parts, or neither", () => {
    leave({ id: "u1", kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: "gone" })
    const failed = apply()
    expect(failed.status).toBe(0)
    expect(failed.stderr).toContain("cannot be pulled: nothing is changed")
    expect(versions()).toMatchObject({ RUNTIME_TAG: "1.0.0", OPENCLAW_TAG: "2026.9.5" })
    leave({ id: "u2", kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: "2026.9.6" })
    expect(apply().status).toBe(0)
    expect(versions()).toMatchObject({
      RUNTIME_TAG: `1.1.0@${digest("1")}`,
      OPENCLAW_TAG: `2026.9.6@${digest("5")}`
    })
  })

  it("is tried once per request, and may be a rollback", () => {
    leave({ id: "u1", kind: "upgrade", runtimeVersion: "gone", openclawVersion: null })
    apply()
    expect(apply().stderr).toContain("u1 was tried before")
    expect(calls().trimEnd().split("\n")).toHaveLength(1)
    leave({ id: "u2", kind: "rollback", runtimeVersion: "0.9.0", openclawVersion: null })
    apply()
    expect(versions()["RUNTIME_TAG"]).toBe(`0.9.0@${digest("2")}`)
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

  it.each([
    ["is not in the list", () => undefined, "1.1.1"],
    ["is in the list under another name", () => undefined, "2026.9.6"],
    ["has no list", () => rmSync(at("images")), "1.1.0"]
  ])("is nothing for an image that %s", (_, prepare, version) => {
    prepare()
    leave({ id: "u1", kind: "upgrade", runtimeVersion: version, openclawVersion: null })
    const refused = apply()
    expect(refused.status).toBe(0)
    expect(refused.stderr).toContain(`has no digest of images.example.com/runtime:${version}: nothing is changed`)
    expect(calls()).toBe("")
    expect(versions()["RUNTIME_TAG"]).toBe("1.0.0")
  })

  it("needs a signature if a key is set, and pulls nothing without one", () => {
    writeFileSync(at("versions.env"), `${readFileSync(at("versions.env"), "utf8")}COSIGN_KEY=/keys/cosign.pub\n`)
    leave({ id: "u1", kind: "upgrade", runtimeVersion: "unsigned", openclawVersion: null })
    const refused = apply()
    expect(refused.status).toBe(0)
    expect(refused.stderr).toContain("has no signature of /keys/cosign.pub: nothing is changed")
    expect(calls()).not.toContain("pull")
    expect(versions()["RUNTIME_TAG"]).toBe("1.0.0")
    rmSync(at("calls"))
    leave({ id: "u2", kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: null })
    expect(apply().status).toBe(0)
    expect(calls().split("\n")).toEqual([
      `cosign verify --private-infrastructure --key /keys/cosign.pub images.example.com/runtime@${digest("1")}`,
      `pull --quiet images.example.com/runtime:1.1.0@${digest("1")}`,
      ""
    ])
  })

  it("starts the Compose project with the new images after the runtime has exited", () => {
    leave({ id: "u1", kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: null })
    expect(apply("/compose.yml")).toMatchObject({ status: 0 })
    const project = `compose --env-file ${at("versions.env")} --file /compose.yml`
    expect(readFileSync(at("looks"), "utf8").trim().split("\n")).toHaveLength(3)
    expect(calls().trimEnd().split("\n").slice(-3)).toEqual([
      `${project} stop runtime`,
      `${project} up --detach --no-build --no-deps --wait --wait-timeout 120 runtime`,
      `${project} up --detach --no-build`
    ])
    expect(versions()["RUNTIME_TAG"]).toBe(`1.1.0@${digest("1")}`)
    rmSync(at("calls"))
    apply("/compose.yml")
    expect(calls(), "a request that was tried restarts nothing").toBe("")
  })

  it("starts the Compose project with the previous images if the new runtime does not start", () => {
    writeFileSync(at("broken"), "")
    leave({ id: "u1", kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: "2026.9.6" })
    const applied = apply("/compose.yml")
    expect(applied.status).toBe(0)
    expect(applied.stderr).toContain(`runtime 1.1.0@${digest("1")} does not start: starting the previous images`)
    expect(versions()).toMatchObject({ RUNTIME_TAG: "1.0.0", OPENCLAW_TAG: "2026.9.5" })
    expect(calls().trimEnd().split("\n").at(-1)).toMatch(/ up --detach --no-build$/)
  })

  it("does not start a Compose project that a person has stopped", () => {
    writeFileSync(at("running"), "false\n")
    leave({ id: "u1", kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: null })
    const applied = apply("/compose.yml")
    expect(applied.stderr).toContain("the runtime was stopped: its next start uses the new images")
    expect(versions()["RUNTIME_TAG"]).toBe(`1.1.0@${digest("1")}`)
    expect(calls()).not.toContain(" up ")
  })

  it("ends with 78 if no file names the images", () => {
    leave({ id: "u1", kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: null })
    rmSync(at("versions.env"))
    expect(apply()).toMatchObject({ status: 78 })
  })
})
