import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { shippedVariables } from "../../bench/subject.ts"
import { allVariables } from "../../src/domain/settings/Variables.ts"
import { debianProgram } from "./debianProgram.ts"

const name = "mission-control-runtime@.service"
const unit = readFileSync(new URL(`../../deploy/systemd/${name}`, import.meta.url), "utf8")
/** The values of a setting, in order. */
const valuesOf = (setting: string): ReadonlyArray<string> =>
  unit.split("\n").flatMap((line) => (line.startsWith(`${setting}=`) ? [line.slice(setting.length + 1)] : []))

describe("the systemd unit", () => {
  it("has the settings that the page on operations requires", () => {
    const page = readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8")
    const section = page.slice(page.indexOf("## Under systemd"), page.indexOf("## Dead letters"))
    const settings = [...section.matchAll(/`([A-Z][A-Za-z]+=[^`]+)`/g)]
      .map(([, setting]) => setting!)
      .filter((setting) => !setting.startsWith("STATUS="))
    assert.isAtLeast(settings.length, 7)
    for (const setting of settings) assert.include(unit, `\n${setting}\n`)
  })

  it("sets only variables of the runtime, and those of Node.js and glibc that the image sets", () => {
    const known = [
      ...allVariables.flatMap(([each, { kind }]) => (kind === "secret" ? [each, `${each}_FILE`] : [each])),
      ...Object.keys(shippedVariables)
    ]
    for (const value of valuesOf("Environment")) assert.include(known, value.slice(0, value.indexOf("=")))
  })
})

const missing = await debianProgram("systemd-analyze", "systemd")
const suite = missing === null ? describe : describe.skip
if (missing !== null) process.stderr.write(`skipped systemd's checks of the unit: ${missing}\n`)

suite("systemd itself", () => {
  const analyze = (...args: ReadonlyArray<string>) => {
    const folder = mkdtempSync(join(tmpdir(), "mc-unit-"))
    try {
      // The command is not installed on a test machine, so another is in its place.
      writeFileSync(join(folder, name), unit.replace("/usr/local/bin/mission-control-runtime", "/bin/true"))
      const { status, stderr, stdout } = spawnSync("systemd-analyze", [...args, join(folder, name)], {
        encoding: "utf8"
      })
      return { status, text: stdout + stderr }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }

  it("finds no problem in the unit", () => {
    assert.deepStrictEqual(analyze("verify", "--man=no"), { status: 0, text: "" })
  })

  it("rates its exposure as low", () => {
    const { status, text } = analyze("security", "--offline=true", "--threshold=25")
    assert.strictEqual(status, 0, text)
  })
})
