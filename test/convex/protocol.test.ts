import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { missingFunctions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { PROTOCOL, servedProtocols } from "../../src/domain/shared/Protocol.ts"
import { stopTime } from "./clock.ts"
import { makeTask, refusalOf, seededPlane } from "./controlPlane.ts"

stopTime()

describe("a runtime's protocol", () => {
  it.each([
    ["newer", servedProtocols.newest + 1, "deployment"],
    ["older", servedProtocols.oldest - 1, "runtime"]
  ])("that is %s than the deployment's is refused at the claim, with the side to upgrade", async (...given) => {
    const [, protocol, whom] = given
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    const refused = await refusalOf(plane.claim({ protocol }))
    expect(refused).toMatchObject({ code: "conflict", reason: "protocol" })
    expect(String((refused as { message?: string } | null)?.message)).toContain(`Upgrade the ${whom} first`)
    expect((await plane.claim()).runs).toHaveLength(1)
  })

  it("is served from the oldest to the newest version", async () => {
    const plane = await seededPlane()
    for (let protocol = servedProtocols.oldest; protocol <= servedProtocols.newest; protocol += 1) {
      expect(await refusalOf(plane.claim({ protocol }))).toBeNull()
    }
    expect(servedProtocols.newest).toBe(PROTOCOL)
  })

  it.each([servedProtocols.newest + 5, servedProtocols.oldest - 1, undefined])(
    "%s still sends pulses, and sees and takes commands",
    async (protocol) => {
      const plane = await seededPlane()
      await plane.asPerson(api.app.runtimes.restart, { runtimeId: "r1" })
      await plane.asPerson(api.app.runtimes.upgrade, { runtimeVersion: "1.1.0" })
      const answer = await plane.pulse("r1", "b1", protocol === undefined ? {} : { protocol })
      expect(answer.protocol).toEqual(servedProtocols)
      const { restart, upgrade } = answer.commands
      for (const command of [restart, upgrade]) {
        const acknowledge = { runtimeId: "r1", bootId: "b1", command: command?.id ?? "", result: "taken" as const }
        expect(await refusalOf(plane.mutate(api.service.runtimes.acknowledge, acknowledge))).toBeNull()
      }
    }
  )

  it("can be read before any other call", async () => {
    const plane = await seededPlane()
    expect(await plane.query(api.service.runtimes.protocol, {})).toEqual(servedProtocols)
  })
})

describe("the list of functions", () => {
  it("has every function that the runtime calls", async () => {
    const plane = await seededPlane()
    expect(missingFunctions(await plane.query(api.service.functions.list, {}))).toEqual([])
  })
})
