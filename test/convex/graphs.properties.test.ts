import { makeFunctionReference } from "convex/server"
import { ConvexError } from "convex/values"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { AccountModel } from "../simulation/accountModel.ts"
import { Dice } from "../simulation/dice.ts"
import type { ClaimAnswer } from "../simulation/queueModel.ts"
import { Refusal } from "../simulation/queueState.ts"
import type { Mistake } from "../simulation/queueState.ts"
import { contextOf, makeTask, seededPlane } from "./controlPlane.ts"
import { maxTurns, playGraph, slugs } from "./graphs.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

const SEEDS = 25
const RUN_TASKS = 20
const CHAIN_TASKS = 100

/** Runs a random account on the model and returns the limits that did not hold. */
const onModel = async (seed: number, mistakes: ReadonlySet<Mistake> = new Set(), most?: number) => {
  const account = new AccountModel({
    agents: slugs.map((slug) => {
      return { id: slug, slug, name: slug, isOrchestrator: slug === "lead", canReview: false, heartbeat: 15 }
    }),
    scope: seed % 2 === 0 ? "task" : "agent",
    mistakes
  })
  account.queue.boot(0, "r1", "b1")
  const task = account.createTask(0, [])
  account.write(0, task, "@all what do you think?")
  const played = await playGraph(
    {
      claim: async (now, request) => {
        const { nextDueAt, runs } = account.call(now, "service/notifications:claim", request) as ClaimAnswer
        const turns = runs.map(({ epoch, id, session }) => {
          const { agent, task: of } = account.queue.row(id)
          return { run: id, session, epoch, agent, task: of }
        })
        return { runs: turns, nextDueAt }
      },
      call: async (now, path, args) => {
        try {
          return account.call(now, `service/${path}`, args)
        } catch (error) {
          if (error instanceof Refusal) return null
          throw error
        }
      }
    },
    new Dice(`graph ${seed}`),
    0,
    most
  )
  const broken: Array<string> = []
  const turnsOf = Map.groupBy(played.turns, (turn) => turn.task)
  for (const [of, turns] of turnsOf) if (turns.length > maxTurns) broken.push(`turns on ${of}: ${turns.length}`)
  for (const [run, count] of played.created) if (count > RUN_TASKS) broken.push(`tasks of ${run}: ${count}`)
  const all = [...played.created.values()].reduce((sum, count) => sum + count, 0)
  // The person's message began one chain for each agent.
  if (all > slugs.length * CHAIN_TASKS) broken.push(`tasks of all chains: ${all}`)
  const closed = [...turnsOf].filter(([, turns]) => turns.length >= maxTurns).length
  const notices = account.messages.filter(({ author }) => author.type === "system").length
  if (notices !== closed) broken.push(`${closed} tasks closed, ${notices} with a notice`)
  return { played, broken, closed, all }
}

/** Runs the same on the real functions and returns the turns. */
const onPlane = async (seed: number) => {
  const plane = await seededPlane({ sessionScope: seed % 2 === 0 ? "task" : "agent" })
  await plane.asPerson(api.app.accounts.configure, { agentFlags: { canCreateTasks: true } })
  const start = Date.now()
  await plane.post(await makeTask(plane), "@all what do you think?")
  return await playGraph(
    {
      claim: async (now, request) => {
        vi.setSystemTime(now)
        const answer = await plane.mutate(api.service.notifications.claim, request as never)
        const runs = answer.runs.map((run) => {
          const { agent, task } = contextOf(run)
          return { run: run.id, session: run.session, epoch: run.epoch, agent: agent.slug, task: task?.id ?? "" }
        })
        return { runs, nextDueAt: answer.nextDueAt }
      },
      call: async (now, path, args) => {
        vi.setSystemTime(now)
        try {
          return (await plane.mutate(makeFunctionReference<"mutation">(`service/${path}`), args as never)) ?? {}
        } catch (error) {
          if (error instanceof ConvexError) return null
          throw error
        }
      }
    },
    new Dice(`graph ${seed}`),
    start
  )
}

describe("agents that mention and ask each other and create tasks", () => {
  it("end within every limit, whatever they do", async () => {
    const seeds = Array.from({ length: SEEDS }, (_, index) => index + 1)
    let [closed, most] = [0, 0]
    for (const seed of seeds) {
      const result = await onModel(seed)
      expect(result.broken, `seed ${seed}`).toEqual([])
      closed += result.closed
      most = Math.max(most, result.all)
    }
    // The limits were reached.
    expect(closed).toBeGreaterThan(SEEDS)
    expect(most).toBeGreaterThan(CHAIN_TASKS)
  }, 60_000)

  it.each<Mistake>(["turns without a limit", "turns that every message forgives", "creations without a limit"])(
    "would not with %s",
    async (mistake) => {
      const broken: Array<string> = []
      for (let seed = 1; seed <= SEEDS && broken.length === 0; seed += 1) {
        broken.push(...(await onModel(seed, new Set([mistake]), 200)).broken)
      }
      expect(broken).not.toEqual([])
    },
    60_000
  )

  it.each([3, 5])(
    "take the same turns on the real functions and on the model, seed %i",
    async (seed) => {
      const [real, model] = [await onPlane(seed), (await onModel(seed)).played]
      expect(real.turns.map(({ agent }) => agent)).toEqual(model.turns.map(({ agent }) => agent))
      expect([...real.created.values()]).toEqual([...model.created.values()])
    },
    60_000
  )
})
