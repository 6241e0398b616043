/** How many turns one `@all` causes among agents that always answer `@all`. Events join while the agents are busy. */
import { PROTOCOL } from "../../src/domain/shared/Protocol.ts"
import { AccountModel } from "../simulation/accountModel.ts"
import { Dice } from "../simulation/dice.ts"
import type { ClaimAnswer } from "../simulation/queueModel.ts"
import type { Fence } from "../simulation/queueState.ts"

const settings = { maxHops: 12, quietTimeMs: 60_000, quietLimitMs: 300_000 }
const SHORTEST_MILLIS = 200
const LONGEST_MILLIS = 20_000
const SLUGS = ["lead", "engineer", "qa"]

/** The control plane as a storm needs it: the real functions or the model, at a given time. */
export interface StormPlane {
  readonly claim: (now: number, request: object) => Promise<ReadonlyArray<Fence>> | ReadonlyArray<Fence>
  readonly complete: (now: number, end: object) => unknown
}

/** Runs a storm that a person has begun. Returns the number of turns. */
export const playStorm = async (plane: StormPlane, seed: number, start: number): Promise<number> => {
  const dice = new Dice(`storm ${seed}`)
  const ends: Array<Fence & { readonly at: number }> = []
  let turns = 0
  let now = start
  for (;;) {
    const held = ends.map(({ epoch, session }) => ({ session, epoch }))
    const limits = { limit: 100, heartbeatLimit: 0, leaseMs: 90_000, maxAttempts: 8, maxTurns: 10_000 }
    const named = {
      protocol: PROTOCOL,
      runtimeId: "r1",
      bootId: "b1",
      number: turns + 1,
      held,
      abandoned: [],
      recoverUnnamed: false
    }
    for (const run of await plane.claim(now, { ...named, ...limits })) {
      ends.push({ ...run, at: now + dice.between(SHORTEST_MILLIS, LONGEST_MILLIS) })
      turns += 1
    }
    ends.sort((left, right) => left.at - right.at)
    const next = ends.shift()
    if (next === undefined) return turns
    const { at, epoch, run, session } = next
    now = at
    const end = { outcome: "replied", turn: "answered", reply: "@all I agree", settings }
    await plane.complete(now, { run, session, epoch, ...end })
  }
}

/** A storm on the model of the account. */
export const modelStorm = (seed: number): Promise<number> => {
  const account = new AccountModel({
    agents: SLUGS.map((slug) => {
      return { id: slug, slug, name: slug, isOrchestrator: slug === "lead", canReview: false, heartbeat: 15 }
    }),
    scope: "agent"
  })
  account.queue.boot(0, "r1", "b1")
  account.write(0, account.createTask(0, []), "@all what do you think?")
  return playStorm(
    {
      claim: (now, request) => {
        const { runs } = account.call(now, "service/notifications:claim", request) as ClaimAnswer
        return runs.map(({ epoch, id, session }) => ({ run: id, session, epoch }))
      },
      complete: (now, end) => account.call(now, "service/notifications:complete", end)
    },
    seed,
    0
  )
}

/** The minimum, median and maximum of the turns. */
export const summaryOf = (
  turns: ReadonlyArray<number>
): { readonly min: number; readonly median: number; readonly max: number } => {
  const sorted = turns.toSorted((left, right) => left - right)
  const at = (index: number) => sorted[index] ?? 0
  return { min: at(0), median: at(Math.floor(sorted.length / 2)), max: at(sorted.length - 1) }
}
