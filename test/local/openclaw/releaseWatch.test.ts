/** `npm run check:openclaw`: which release it finds, what it compares, and which results it stores. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join, resolve } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { compareConfig, usedSettings } from "../../openclaw/configSchema.ts"
import type { ConfigSchema } from "../../openclaw/configSchema.ts"
import { pageWith, resultOf, withResult } from "../../openclaw/results.ts"
import type { Result } from "../../openclaw/results.ts"

const root = resolve(import.meta.dirname, "../../..")

describe("npm run check:openclaw", () => {
  const unknown = "9999.1.10"
  let bin = ""
  beforeEach(() => {
    bin = mkdtempSync(join(tmpdir(), "mission-control-npm-"))
  })
  afterEach(() => {
    rmSync(bin, { recursive: true, force: true })
    rmSync(join(root, "test/openclaw/.versions", unknown), { recursive: true, force: true })
  })

  /** Runs the check with an `npm` that knows these releases and installs none. */
  const check = (...versions: ReadonlyArray<string>) => {
    const npm = `#!/bin/sh\n[ "$1 $2" = "view openclaw" ] || { echo 'npm error code E404' >&2; exit 1; }\n`
    writeFileSync(join(bin, "npm"), `${npm}echo '${JSON.stringify(versions)}'\n`, { mode: 0o755 })
    const { status, stderr, stdout } = spawnSync(process.execPath, [join(root, "test/openclaw/check.ts")], {
      env: { ...process.env, PATH: [bin, process.env["PATH"]].join(delimiter) },
      encoding: "utf8"
    })
    return { status, stdout, stderr }
  }

  it("ends if the newest release is supported, whatever was published last, and ignores previews", () => {
    const { status, stderr, stdout } = check("2026.9.7-beta.1", "2026.9.6", "2026.8.2")
    assert.strictEqual(status, 0, stderr)
    assert.strictEqual(
      stdout,
      "The newest OpenClaw is 2026.9.6. The supported range, 2026.8.2 to 2026.9.6, includes it.\n"
    )
  })

  it("takes the release with the highest number, and fails with npm's reason if it cannot be installed", () => {
    const { status, stderr, stdout } = check("2026.9.6", unknown, "9999.1.9")
    assert.strictEqual(status, 1)
    assert.include(stdout, `OpenClaw ${unknown} is newer than the supported range, 2026.8.2 to 2026.9.6.`)
    assert.include(stderr, "npm ended with exit code 1: code E404")
  })
})

describe("the comparison of configurations", () => {
  /** A schema with these settings. */
  const schemaWith = (paths: ReadonlyArray<string>): ConfigSchema => {
    const byKey = Map.groupBy(paths, (path) => path.split(".")[0] ?? "")
    const properties: Record<string, ConfigSchema> = {}
    let additionalProperties: ConfigSchema | boolean = false
    for (const [key, all] of byKey) {
      const inner = schemaWith(all.flatMap((path) => (path.includes(".") ? [path.slice(key.length + 1)] : [])))
      if (key === "*") additionalProperties = inner
      else properties[key] = inner
    }
    return { anyOf: [{ properties, additionalProperties }] }
  }

  it("knows the settings that profile sync writes", () => {
    assert.includeMembers(
      [...usedSettings],
      ["tools.toolSearch", "agents.entries.*.workspace", "gateway.auth.token", "session.resetByType.direct.mode"]
    )
  })

  it("names settings that are new or gone, and those among them that the runtime uses", () => {
    const older = schemaWith([...usedSettings, "logging.file"])
    const newer = schemaWith([
      ...usedSettings.filter((path) => path !== "tools.toolSearch"),
      "logging.level",
      "logging.level.*.name"
    ])
    assert.deepStrictEqual(compareConfig(older, newer), {
      broken: ["tools.toolSearch"],
      removed: ["tools.toolSearch", "logging.file"],
      added: ["logging.level"]
    })
  })
})

describe("the results of test:openclaw", () => {
  const result = (version: string, more: Partial<Result> = {}): Result => ({
    version,
    date: "2026-11-29",
    passed: 9,
    skipped: 1,
    failed: 0,
    notes: [],
    ...more
  })

  it("name failed tests, and files that could not run", () => {
    const report = {
      numPassedTests: 5,
      numPendingTests: 2,
      numFailedTests: 1,
      testResults: [
        {
          name: join(root, "test/openclaw/stops.test.ts"),
          message: "",
          assertionResults: [
            { fullName: "stops end a turn", status: "failed" },
            { fullName: "stops name the person", status: "passed" }
          ]
        },
        { name: join(root, "test/openclaw/joins.test.ts"), message: "no gateway\n  at line 1", assertionResults: [] }
      ]
    }
    assert.deepStrictEqual(
      resultOf("2026.9.6", "2026-11-29", report),
      result("2026.9.6", {
        passed: 5,
        skipped: 2,
        failed: 2,
        notes: ["stops end a turn", "test/openclaw/joins.test.ts: no gateway"]
      })
    )
  })

  it("replace those of the same version, and are in the order of versions", () => {
    const results = [result("2026.9.6"), result("2026.8.2")]
    const versions = withResult(withResult(results, result("2026.9.10")), result("2026.8.2", { passed: 10 }))
    assert.deepStrictEqual(
      versions.map(({ passed, version }) => [version, passed]),
      [
        ["2026.9.10", 9],
        ["2026.9.6", 9],
        ["2026.8.2", 10]
      ]
    )
  })

  it("are written between the marks of the page, and nowhere else", () => {
    const page = "before\n\n<!-- results -->\n\nold\n\n<!-- end of results -->\n\nafter\n"
    const written = pageWith(page, [result("2026.9.6", { failed: 1, notes: ["stops end a turn"] })])
    assert.match(written, /^before\n\n<!-- results -->\n\n\| OpenClaw/)
    assert.match(
      written,
      /\| 2026\.9\.6 +\| 2026-11-29 +\| 9 +\| 1 +\| 1; stops end a turn \|\n\n<!-- end of results -->\n\nafter\n$/
    )
    assert.throws(() => pageWith("no marks", []), "docs/gateway.md has no <!-- results -->")
  })
})
