/**
 * Random accounts of agents that mention and ask each other and create tasks, until none of them is notified any more.
 */
import { PROTOCOL } from "../../src/domain/shared/Protocol.ts"
import type { Dice } from "../simulation/dice.ts"
import type { Fence } from "../simulation/queueState.ts"

export const slugs = ["lead", "engineer", "qa"] as const
export const maxTurns = 4
const settings = { maxHops: 100, quietTimeMs: 60_000, quietLimitMs: 300_000 }

/** A claimed run: its agent and task. */
export interface Turn extends Fence {
  readonly agent: string
  readonly task: string
}

/** The control plane as these agents need it: the real functions or the model. */
export interface GraphPlane {
  readonly claim: (
    now: number,
    request: object
  ) => Promise<{ readonly runs: ReadonlyArray<Turn>; readonly nextDueAt: number | null }>
  /** Calls a function of the service. Returns null if the call was refused. */
  readonly call: (now: number, path: string, args: object) => Promise<object | null>
}

/** The turns in order, and how many tasks each run created. */
export interface Played {
  readonly turns: ReadonlyArray<Turn>
  readonly created: ReadonlyMap<string, number>
}

/** The probability of each action in a turn. */
const profileOf = (dice: Dice) => ({
  mentions: dice.between(0, 10) / 10,
  asks: dice.between(0, 5) / 10,
  creates: dice.pick([0, 1, 3, 25])
})

/** Runs what a person's message to all agents causes. Stops after `most` turns, in case a limit is missing. */
export const playGraph = async (plane: GraphPlane, dice: Dice, start: number, most = 3_000): Promise<Played> => {
  const profiles = new Map(slugs.map((slug) => [slug as string, profileOf(dice)]))
  const turns: Array<Turn> = []
  const created = new Map<string, number>()
  let now = start
  let number = 0
  while (turns.length < most) {
    const limits = { limit: 100, heartbeatLimit: 0, leaseMs: 90_000, maxAttempts: 8, maxTurns }
    const named = {
      protocol: PROTOCOL,
      runtimeId: "r1",
      bootId: "b1",
      number: (number += 1),
      held: [],
      abandoned: [],
      recoverUnnamed: false
    }
    const { nextDueAt, runs } = await plane.claim(now, { ...named, ...limits })
    if (runs.length === 0) {
      if (nextDueAt === null) break
      now = nextDueAt
    }
    for (const turn of runs) {
      turns.push(turn)
      now += dice.between(1, 5_000)
      const { epoch, run, session } = turn
      const fence = { run, session, epoch }
      const profile = profiles.get(turn.agent) ?? profileOf(dice)
      const randomAgent = () => dice.pick(slugs)
      for (let count = 0; count < profile.creates; count += 1) {
        const more = turn.agent === "lead" ? { assigneeSlugs: [randomAgent()] } : {}
        const args = { ...fence, settings, title: `task ${count} of ${turns.length}`, ...more }
        if ((await plane.call(now, "tasks:create", args)) !== null) created.set(run, (created.get(run) ?? 0) + 1)
      }
      if (dice.chance(profile.asks)) {
        const asked = { recipientSlugs: [randomAgent()], message: `help ${turns.length}`, taskId: turn.task }
        await plane.call(now, "responseRequests:create", { ...fence, settings, ...asked })
      }
      const reply = dice.chance(profile.mentions) ? `@${randomAgent()} @${randomAgent()} and you?` : "my part is done"
      const end = dice.chance(0.1) ? { outcome: "skipped" } : { outcome: "replied", reply }
      await plane.call(now, "notifications:complete", { ...fence, settings, turn: "answered", ...end })
    }
  }
  return { turns, created }
}
