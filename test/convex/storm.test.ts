import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { seededPlane } from "./controlPlane.ts"
import { modelStorm, playStorm, summaryOf } from "./storm.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

const SEEDS = 30

/** A storm on the real functions, in virtual time. */
const planeStorm = async (seed: number): Promise<number> => {
  const plane = await seededPlane()
  const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [] })
  await plane.post(taskId, "@all what do you think?")
  return await playStorm(
    {
      claim: async (now, request) => {
        vi.setSystemTime(now)
        const { runs } = await plane.mutate(api.service.notifications.claim, request as never)
        return runs.map(({ epoch, id, session }) => ({ run: id, session, epoch }))
      },
      complete: (now, end) => {
        vi.setSystemTime(now)
        return plane.mutate(api.service.notifications.complete, end as never)
      }
    },
    seed,
    Date.now()
  )
}

describe("one @all among three agents that always answer @all", () => {
  it("causes at most 150 turns with a hop limit of 12, and 80 in the median", async () => {
    const turns = await Promise.all(Array.from({ length: SEEDS }, (_, index) => modelStorm(index + 1)))
    const { max, median, min } = summaryOf(turns)
    console.log(`turns of a storm over ${SEEDS} seeds: ${min} to ${max}, median ${median}`)
    expect(max).toBeLessThanOrEqual(150)
    expect(median).toBeLessThanOrEqual(80)
  })

  it.each(Array.from({ length: 5 }, (_, index) => index + 1))(
    "takes as many turns on the real functions as on the model, seed %i",
    async (seed) => {
      expect(await planeStorm(seed)).toBe(await modelStorm(seed))
    },
    30_000
  )
})
