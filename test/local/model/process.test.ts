import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { afterAll, describe } from "vitest"
import { launch, launchModel } from "../../../local/launcher.ts"

const folder = mkdtempSync(join(tmpdir(), "model-process-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const entry = fileURLToPath(new URL("../../../local/model/main.ts", import.meta.url))
const failing = (args: ReadonlyArray<string>) =>
  Effect.flip(launch({ name: "model", command: process.execPath, args: [entry, ...args], readyTimeout: 20_000 })).pipe(
    Effect.scoped
  )

describe("the model's process", () => {
  it.live("plays its script file and exits with 0 on SIGTERM", () =>
    Effect.gen(function* () {
      const path = join(folder, "script.json")
      writeFileSync(path, JSON.stringify({ fallback: { text: "from the file" } }))
      const model = yield* launchModel({ args: ["--script", path] })
      const answer = yield* Effect.promise(() =>
        fetch(`${model.url}/v1/chat/completions`, {
          method: "POST",
          body: JSON.stringify({ model: "m", messages: [] })
        }).then((response) => response.json())
      )
      expect((answer as any).choices[0].message.content).toBe("from the file")
      yield* model.signal("SIGTERM")
      expect(yield* model.exit).toEqual({ code: 0, signal: null })
    })
  )

  it.live("exits with 1 and one line if its port is in use or its script is invalid", () =>
    Effect.gen(function* () {
      const model = yield* launchModel()
      const { port } = new URL(model.url)
      const taken = yield* failing(["--port", port])
      expect([taken.exitCode, taken.output.trim()]).toEqual([1, `model: port ${port} is already in use`])
      const path = join(folder, "broken.json")
      writeFileSync(path, '{"rules":[{}]}')
      const broken = yield* failing(["--script", path])
      expect([broken.exitCode, broken.output.trim()]).toEqual([
        1,
        `model: script ${path}: rules[0].actions must be a non-empty array`
      ])
    })
  )
})
