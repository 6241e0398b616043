import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Option } from "effect"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { Upgrader } from "../../../src/layers/host/Upgrader.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"

const secret = "0123456789abcdef".repeat(4)
const change = {
  id: "c1",
  kind: "upgrade",
  runtimeVersion: "1.1.0",
  openclawVersion: null,
  requestedAt: 5
} as const
const from = { bootId: "b1", runtime: "1.0.0", openclaw: "2026.9.1" }

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "mission-control-upgrader-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const upgraderOf = (settings: { readonly command?: string; readonly file?: string }) =>
  Effect.map(
    Layer.build(
      Upgrader.layer.pipe(
        Layer.provide(Redactor.layer),
        Layer.provide([
          RuntimeConfig.layerTest({
            upgradeCommand: Option.fromNullishOr(settings.command?.split(/\s+/)),
            upgradeFile: settings.file ?? "/nonexistent/upgrade.json"
          }),
          NodeServices.layer,
          Logger.layer([])
        ])
      )
    ),
    (context) => Effect.runSync(Effect.provideContext(Upgrader, context))
  )

const program = (at: string, text: string): string => {
  const path = join(at, "program")
  writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
  return path
}

describe("the upgrade command", () => {
  it.live("gets its arguments unchanged and the versions in its environment, without a shell", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const command = program(at, 'for each; do echo "$each"; done > "$0.args"; env > "$0.env"')
      const { handOver } = yield* upgraderOf({ command: `${command}  --to  $UPGRADE_RUNTIME_VERSION ;reboot` })
      yield* handOver({ ...change, runtimeVersion: "$(reboot)" }, from)
      assert.strictEqual(readFileSync(`${command}.args`, "utf8"), "--to\n$UPGRADE_RUNTIME_VERSION\n;reboot\n")
      const env = readFileSync(`${command}.env`, "utf8").split("\n")
      assert.includeMembers(env, [
        "UPGRADE_ID=c1",
        "UPGRADE_KIND=upgrade",
        "UPGRADE_RUNTIME_VERSION=$(reboot)",
        "UPGRADE_OPENCLAW_VERSION=",
        "UPGRADE_FROM_RUNTIME_VERSION=1.0.0",
        "UPGRADE_FROM_OPENCLAW_VERSION=2026.9.1"
      ])
      assert.isTrue(env.some((line) => line.startsWith("PATH=")))
    }).pipe(Effect.scoped)
  )

  it.live.each([
    ["exit 0", null],
    ["echo one; echo two; exit 7", "UPGRADE_COMMAND ended with exit code 7: two"],
    ["exit 1", "UPGRADE_COMMAND ended with exit code 1: no output"],
    ["echo last >&2; kill -9 $$", "UPGRADE_COMMAND was killed by a signal: last"],
    [
      `echo mc_service_k57account_${secret}; exit 1`,
      "UPGRADE_COMMAND ended with exit code 1: mc_service_k57account_<redacted>"
    ]
  ] as const)("that is %j fails with %j", ([text, detail]) =>
    Effect.gen(function* () {
      const at = yield* folder
      const { handOver } = yield* upgraderOf({ command: program(at, text) })
      const failure = yield* Effect.match(handOver(change, from), {
        onFailure: (failed) => failed.detail,
        onSuccess: () => null
      })
      assert.strictEqual(failure, detail)
    }).pipe(Effect.scoped)
  )

  it.live("that is missing or not executable fails with the reason", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const plain = join(at, "plain")
      writeFileSync(plain, "no program")
      for (const command of [join(at, "missing"), plain]) {
        const { handOver } = yield* upgraderOf({ command })
        const { detail } = yield* Effect.flip(handOver(change, from))
        assert.match(detail, /^UPGRADE_COMMAND is ".*", which cannot be started \((NotFound|PermissionDenied)\)$/)
      }
    }).pipe(Effect.scoped)
  )
})

describe("the upgrade file", () => {
  it.live("has the whole target, replaces an older one, follows no link, and is removed", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const file = join(at, "new", "upgrade.json")
      const { clear, handOver } = yield* upgraderOf({ file })
      yield* handOver({ ...change, runtimeVersion: "1.0.5" }, from)
      const victim = join(at, "victim")
      writeFileSync(victim, "untouched")
      symlinkSync(victim, `${file}.mission-control.tmp`)
      yield* handOver(change, from)
      assert.deepStrictEqual(JSON.parse(readFileSync(file, "utf8")), {
        id: "c1",
        kind: "upgrade",
        runtimeVersion: "1.1.0",
        openclawVersion: null,
        requestedAt: 5,
        from: { runtimeVersion: "1.0.0", openclawVersion: "2026.9.1" }
      })
      assert.strictEqual(readFileSync(victim, "utf8"), "untouched")
      assert.isFalse(existsSync(`${file}.mission-control.tmp`))
      yield* clear
      yield* clear
      assert.isFalse(existsSync(file))
    }).pipe(Effect.scoped)
  )

  it.live("that cannot be written fails with its path", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const file = join(at, "upgrade.json")
      mkdirSync(file)
      const { handOver } = yield* upgraderOf({ file })
      const { detail } = yield* Effect.flip(handOver(change, from))
      assert.include(detail, `UPGRADE_FILE cannot be written: ${file}`)
    }).pipe(Effect.scoped)
  )
})
