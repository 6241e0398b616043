import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { contextOf, complete, makeTask, seededPlane } from "./controlPlane.ts"

describe("the fence mark of a session", () => {
  it("is the same in every run of a generation, and different in the next", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    const marks: Array<string> = []
    for (let run = 0; run < 2; run += 1) {
      await plane.post(taskId, `@engineer ${run}`)
      const claimed = await plane.takeOne()
      marks.push(contextOf(claimed).fenceMark)
      await complete(plane, claimed)
    }
    await plane.mutate(api.service.sessions.rotate, { agent: "engineer" })
    await plane.post(taskId, "@engineer again")
    const rotated = contextOf(await plane.takeOne())
    expect(marks[0]).toMatch(/^[0-9a-f]{16}$/)
    expect(marks[1]).toBe(marks[0])
    expect(rotated.generation).toBe(2)
    expect(rotated.fenceMark).not.toBe(marks[0])
  })

  it("differs between agents", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer, plane.lead])
    const { runs } = await plane.take()
    expect(new Set(runs.map((run) => contextOf(run).fenceMark)).size).toBe(2)
  })
})
