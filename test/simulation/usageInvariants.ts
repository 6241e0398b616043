/** I16: what each turn spent is recorded once, exactly where the gateway answered, and the sums agree with the records. */
import { isSteady } from "./world.ts"
import type { World } from "./world.ts"

/** I17 at this moment: what is spent and reserved stays within the budget, but for requests that exceeded allowances. */
export const judgeReservations = (world: World): void => {
  const { sessions, usage } = world.account.queue
  if (usage.budget === null) return
  const window = usage.window(world.now)
  const inWindow = [...usage.records.values()].filter((each) => each.window === window)
  const spent = inWindow.reduce((sum, { tokens }) => sum + tokens, 0)
  const exceeded = inWindow.reduce((sum, { allowance, tokens }) => sum + Math.max(0, tokens - (allowance ?? 0)), 0)
  const reserved = [...sessions.values()].reduce((sum, { lease }) => sum + (lease?.allowance ?? 0), 0)
  if (reserved > 0) world.cover("reserved", "usage")
  if (spent + reserved > usage.budget.limit + exceeded) {
    const parts = `${spent} spent, of which ${exceeded} beyond allowances, and ${reserved} reserved`
    world.violate("I17", `${parts} of ${usage.budget.limit}`)
  }
}

/** I17: work waits for the next window only if its share of the budget is spent, and not if others reserved the rest. */
export const judgeHold = (
  world: World,
  held: { readonly run: string; readonly until: number; readonly share: number }
) => {
  const { usage } = world.account.queue
  if (usage.budget === null) return
  const left = usage.budget.limit * held.share - usage.spentIn(usage.window(world.now))
  world.cover(left < 1 ? "held, spent" : "held, reserved", "claim")
  if (left >= 1 && held.until > world.now + 60_000) {
    world.violate("I17", `${held.run} was held for ${held.until - world.now} ms although ${left} tokens are not spent`)
  }
}

/** I17 after a claim: nothing begins unless what is spent and reserved is within the budget. */
export const judgeGrant = (world: World): void => {
  const { sessions, usage } = world.account.queue
  if (usage.budget === null) return
  const spent = usage.spentIn(usage.window(world.now))
  const reserved = [...sessions.values()].reduce((sum, { lease }) => sum + (lease?.allowance ?? 0), 0)
  if (spent + reserved > usage.budget.limit) {
    world.violate("I17", `a run began with ${spent} spent and ${reserved} reserved of ${usage.budget.limit}`)
  }
}

/** I17: a run exceeds its allowance by one request at most, and a window its budget by no more than its runs do. */
const judgeBudget = (world: World): void => {
  const { budgetWas, usage } = world.account.queue
  if (budgetWas === null) return
  const windows = new Map<number, { spent: number; exceeded: number }>()
  for (const { allowance, epoch, request, run, session, tokens, window } of usage.records.values()) {
    if (allowance === null) continue
    const { largest = 0 } = world.turns.find((turn) => turn.session === session && turn.epoch === epoch) ?? {}
    const exceeded = Math.max(0, tokens - allowance)
    // Of an unanswered request the process may have seen model calls, and one more is estimated.
    if (exceeded > (request > 0 ? request + largest : largest)) {
      world.violate("I17", `${run} was allowed ${allowance} tokens in epoch ${epoch} and spent ${tokens}`)
    }
    const before = windows.get(window) ?? { spent: 0, exceeded: 0 }
    windows.set(window, { spent: before.spent + tokens, exceeded: before.exceeded + exceeded })
  }
  for (const [window, { exceeded, spent }] of windows) {
    if (window >= 0 && spent > budgetWas.limit + exceeded) {
      world.violate("I17", `window ${window} spent ${spent} of ${budgetWas.limit}, its runs exceeded by ${exceeded}`)
    }
  }
}

/** Judges the records at the end, when nothing is left to do. */
export const judgeUsage = (world: World): void => {
  const { sessions, usage } = world.account.queue
  const records = new Map([...usage.records.values()].map((each) => [`${each.session} ${each.epoch}`, each]))
  for (const turn of world.turns) {
    const { epoch, run, session } = turn
    const record = records.get(`${session} ${epoch}`)
    // A heartbeat's lease that no runtime was left to rescue.
    const isHeld = sessions.get(session)?.lease?.epoch === epoch
    if (record === undefined) {
      if (turn.hasSpent && !isHeld) world.violate("I16", `what ${run} spent in epoch ${epoch} is not recorded`)
      continue
    }
    world.cover(record.isEstimated ? "estimated" : "exact", "usage")
    if (record.run !== run) world.violate("I16", `what ${run} spent is recorded as that of ${record.run}`)
    // A request of the turn can be larger than the one by which it was estimated.
    const larger = Math.max(0, turn.largest - record.request)
    if (record.isEstimated && record.allowance !== null && turn.tokens - larger > record.tokens) {
      world.violate("I17", `${run} spent ${turn.tokens} tokens in epoch ${epoch}, estimated are ${record.tokens}`)
    }
    if (record.isEstimated && isSteady(world.profile)) {
      if (record.tokens < turn.tokens || record.tokens > turn.tokens + record.request) {
        const known = `${turn.tokens} tokens and at most one request`
        world.violate("I16", `${run} spent ${known} in epoch ${epoch}, recorded are ${record.tokens}`)
      }
    }
    if (record.isEstimated) continue
    if (record.tokens !== turn.tokens || turn.hasUnknown) {
      const spent = `${turn.tokens} tokens${turn.hasUnknown ? " and a request without an answer" : ""}`
      world.violate("I16", `${run} spent ${spent} in epoch ${epoch}, recorded are exactly ${record.tokens}`)
    }
  }
  for (const { epoch, isEstimated, run, session } of records.values()) {
    const hasTurn = world.turns.some((turn) => turn.session === session && turn.epoch === epoch)
    if (!hasTurn && !isEstimated) world.violate("I16", `${run} had no turn in epoch ${epoch}, and has exact usage`)
  }
  judgeBudget(world)
  const sum = [...records.values()].reduce((left, { tokens }) => left + tokens, 0)
  if (sum !== usage.total) world.violate("I16", `the attempts spent ${sum} tokens, their running sum is ${usage.total}`)
}
