import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { planConfig, readGatewayConfig, readGatewaySettings } from "../../../src/layers/gateway/GatewayConfigFile.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "gateway-config-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

describe("the gateway's configuration file", () => {
  it.effect("is read as JSON5", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "openclaw.json")
      writeFileSync(path, "{ tools: { deny: ['exec'] }, // a comment\n}")
      const settings = { tools: { deny: ["exec"] } }
      assert.deepStrictEqual(yield* readGatewayConfig(path), { _tag: "Read", settings })
      assert.deepStrictEqual(yield* readGatewaySettings(path), settings)
    }).pipe(Effect.provide(NodeServices.layer), Effect.scoped)
  )

  it.effect("is read through a symbolic link, as the gateway reads it, but not changed", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const path = join(at, "openclaw.json")
      writeFileSync(join(at, "managed.json"), "{ tools: {} }")
      symlinkSync(join(at, "managed.json"), path)
      assert.deepStrictEqual(yield* readGatewayConfig(path), { _tag: "Read", settings: { tools: {} } })
      const target = { configPath: path, bindsLoopback: true, defersBootOnly: false }
      const refusal = yield* Effect.flip(
        Effect.tryPromise({ try: () => planConfig(target, [], []), catch: (error) => (error as Error).message })
      )
      assert.include(refusal, `${path} is a symbolic link`)
    }).pipe(Effect.provide(NodeServices.layer), Effect.scoped)
  )

  it.effect("has no settings while it is absent", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "openclaw.json")
      assert.deepStrictEqual(yield* readGatewayConfig(path), { _tag: "Absent" })
      assert.deepStrictEqual(yield* readGatewaySettings(path), {})
    }).pipe(Effect.provide(NodeServices.layer), Effect.scoped)
  )

  it.effect("is broken with the place of the error if it is not JSON5, and quotes nothing", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "openclaw.json")
      writeFileSync(path, '{"apiKey": sk-abcdef}')
      const detail = `${path} is not valid JSON5 at line 1, column 12`
      assert.deepStrictEqual(yield* readGatewayConfig(path), { _tag: "Broken", detail })
      assert.deepStrictEqual(yield* readGatewaySettings(path), {})
    }).pipe(Effect.provide(NodeServices.layer), Effect.scoped)
  )

  it.effect("is broken if it is a folder or a device", () =>
    Effect.gen(function* () {
      const at = yield* folder
      mkdirSync(join(at, "folder"))
      symlinkSync("/dev/zero", join(at, "device"))
      for (const name of ["folder", "device"]) {
        const path = join(at, name)
        assert.deepStrictEqual(yield* readGatewayConfig(path), { _tag: "Broken", detail: `${path} is not a file` })
      }
    }).pipe(Effect.provide(NodeServices.layer), Effect.scoped)
  )
})
