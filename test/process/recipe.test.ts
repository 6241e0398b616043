import { execFile } from "node:child_process"
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"
import { blocksIn } from "../documentCommands.ts"

const run = promisify(execFile)
const root = resolve(import.meta.dirname, "../..")

/** What a contributor would try first: the function on a control plane, then the tool with that function. */
const trial = `
import { Effect, Layer, Ref } from "effect"
import { expect, it } from "vitest"
import { api } from "../convex/_generated/api.js"
import { noSpending } from "../src/domain/usage/Spending.ts"
import { RuntimeConfig } from "../src/layers/Config.ts"
import { Metrics } from "../src/layers/Metrics.ts"
import { Redactor } from "../src/layers/secrets/Redactor.ts"
import { AgentTools } from "../src/services/AgentTools.ts"
import { ControlPlane } from "../src/services/ControlPlane.ts"
import { toolContextOf } from "../src/services/tools/AgentTool.ts"
import { sampleRun } from "./domain/delivery/sampleContext.ts"
import { makeTask, seededPlane } from "./convex/controlPlane.ts"

it("counts", async () => {
  const plane = await seededPlane()
  const taskId = await makeTask(plane)
  await plane.post(taskId, "one")
  await plane.post(taskId, "two")
  const answer = await plane.query(api.service.tasks.size, { taskId })
  expect(answer).toEqual({ taskId, messages: 2 })
  const layer = AgentTools.layer.pipe(
    Layer.provideMerge(Layer.mock(ControlPlane, { bootId: "boot", taskSize: () => Effect.succeed(answer) })),
    Layer.provide([Metrics.layer, Redactor.layer]),
    Layer.provide(RuntimeConfig.layerTest())
  )
  const called = Effect.gen(function* () {
    const tools = yield* AgentTools
    const context = toolContextOf(sampleRun())
    const spending = yield* Ref.make(noSpending)
    const fence = { run: "n", session: "s", epoch: 1 }
    const call = { callId: "c", name: "task_size", arguments: JSON.stringify({ taskId }) }
    return yield* tools.executeAgentTool({ context, fence, spending }, call)
  })
  const { json } = await Effect.runPromise(Effect.provide(called, layer))
  expect(JSON.parse(json)).toMatchObject({ success: true, messages: 2 })
})
`

describe("the recipe for a tool with a new function of the control plane", () => {
  it("touches five files of the product, type checks, and works", async () => {
    const blocks = blocksIn("CONTRIBUTING.md").filter(({ kind }) => kind === "ts")
    const [fn = "", path = "", answer = "", tool = "", line = ""] = blocks.map(({ text }) => text)
    const copy = await mkdtemp(join(tmpdir(), "recipe-"))
    try {
      for (const part of ["src", "convex", "local", "test", "package.json", "tsconfig.json"]) {
        await cp(join(root, part), join(copy, part), { recursive: true })
      }
      await symlink(join(root, "node_modules"), join(copy, "node_modules"))
      const touched: Array<string> = []
      const edit = async (file: string, change: (text: string) => string) => {
        touched.push(file)
        const before = await readFile(join(copy, file), "utf8").catch(() => "")
        const after = change(before)
        expect([file, after === before]).toEqual([file, false])
        await writeFile(join(copy, file), after)
      }
      const after = (mark: string, added: string) => (text: string) => text.replace(mark, `${mark}\n${added.trimEnd()}`)
      await edit("convex/service/tasks.ts", (text) => `${text}\n${fn}`)
      await edit("src/domain/controlPlane/ControlPlaneFunctions.ts", after("export const functions = {", path))
      await edit("src/domain/tasks/ToolAnswer.ts", after("export const toolReads = {", answer))
      await edit("src/services/tools/TaskSizeTool.ts", () => tool)
      await edit(
        "src/services/tools/AllTools.ts",
        (text) => `import { taskSizeTool } from "./TaskSizeTool.ts"\n${after("export const allTools = [", line)(text)}`
      )
      expect(touched).toHaveLength(5)

      await writeFile(join(copy, "product.json"), '{"extends":"./tsconfig.json","include":["src","convex"]}')
      const bin = (name: string) => join(root, "node_modules/.bin", name)
      await run(bin("tsc"), ["-p", "product.json", "--noEmit"], { cwd: copy })
      await writeFile(join(copy, "test/trial.test.ts"), trial)
      await run(bin("vitest"), ["run", "--root", copy, "test/trial.test.ts"], { cwd: copy })
    } finally {
      await rm(copy, { recursive: true })
    }
  }, 120_000)
})
