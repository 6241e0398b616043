/** People's calls about agents' tools: they set policies, decide about requests, and race each other and stops. */
import { Effect } from "effect"
import type { AccountModel } from "./accountModel.ts"
import type { Dice } from "./dice.ts"
import { Refusal } from "./queueState.ts"
import type { World } from "./world.ts"

/** The tools of the simulated agents that change data. */
const tools = [
  "task_status",
  "task_create",
  "document_upsert",
  "response_request",
  "task_message",
  "task_assign",
  "task_delete"
]

/** One of a person's calls, each in a separate transaction. A refusal changes nothing. */
type Deed = () => void

const refusable =
  (deed: Deed): Deed =>
  () => {
    try {
      deed()
    } catch (cause) {
      if (!(cause instanceof Refusal)) throw cause
    }
  }

const setPolicy =
  (account: AccountModel, dice: Dice, world: World): Deed =>
  () => {
    const waiting = account.approvals.flatMap(({ state, tool }) => (state === "pending" ? [tool] : []))
    const isOfWaiting = waiting.length > 0 && dice.chance(0.5)
    const tool = dice.pick(isOfWaiting ? waiting : tools)
    const effect = dice.weighted({ ask: 6, allow: isOfWaiting ? 8 : 1, deny: 1 })
    world.trace(`policy: ${tool} ${effect}`)
    account.setPolicy(world.now, tool, effect)
  }

/** Decisions of several people at once, and often a stop of what they decide about. */
const decide = (account: AccountModel, dice: Dice, world: World): ReadonlyArray<Deed> => {
  const pending = account.approvals.filter(({ state }) => state === "pending")
  const [any] = account.approvals
  if (any === undefined) return []
  const { id, run, task } = dice.pick(pending.length > 0 && dice.chance(0.8) ? pending : account.approvals)
  const deeds: Readonly<Record<string, Deed>> = {
    approve: () => account.approve(world.now, id),
    "approve again": () => account.approve(world.now, id),
    deny: () => account.deny(world.now, id),
    archive: () => account.archive(world.now, task),
    assign: () => account.assign(world.now, task, [dice.pick(account.agents).id]),
    stop: () => void account.stop(world.now, { type: "person", id: "person" }, { run: run.id })
  }
  const count = dice.weighted({ one: 5, two: 3, three: 1 })
  const chosen = Array.from({ length: { one: 1, two: 2, three: 3 }[count] }, () =>
    dice.weighted({ approve: 6, "approve again": 2, deny: 3, archive: 0.3, assign: 0.7, stop: 0.7 })
  )
  world.trace(`people on ${id}: ${chosen.join(", ")}`)
  return chosen.flatMap((name) => deeds[name] ?? [])
}

/** From now on no call needs an approval. */
const allowAll = (account: AccountModel, now: number): void => {
  for (const tool of account.policies?.keys() ?? []) account.setPolicy(now, tool, "allow")
}

/** People who set policies from the beginning, and decide about requests until the faults are over. */
export const approvers = Effect.fnUntraced(function* (
  account: AccountModel,
  dice: Dice,
  world: World,
  transact: (deed: Deed) => Effect.Effect<void>
) {
  const policies = Array.from({ length: dice.between(3, 6) }, () => setPolicy(account, dice, world))
  yield* Effect.forEach(policies, transact, { discard: true })
  while (!world.isCalm) {
    yield* Effect.sleep(dice.pick([300, 2_000, 8_000, 30_000]))
    const deeds = dice.chance(0.3) ? [setPolicy(account, dice, world)] : decide(account, dice, world)
    yield* Effect.forEach(deeds.map(refusable), transact, { discard: true })
    yield* transact(() => account.expire(world.now))
  }
  allowAll(account, world.now)
  while (account.approvals.some(({ state }) => state === "pending")) {
    yield* Effect.sleep(5_000)
    yield* transact(() => account.expire(world.now))
  }
})
