import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { refusal } from "../access/refusal.ts"
import { cut } from "../database/cut.ts"
import { sha256 } from "../database/sha256.ts"
import type { Run } from "./runs.ts"

const maxSummaryLength = 300

const effectsListed = 50

/** What the run has done so far, oldest first, at most 50 effects. Reads one row each. */
export const effectsOf = async (ctx: Pick<QueryCtx, "db">, runId: string) => {
  const effects = await ctx.db
    .query("effects")
    .withIndex("by_run", (q) => q.eq("runId", runId))
    .take(effectsListed)
  return effects.map(({ _creationTime: at, summary, tool }) => ({ tool, summary, at }))
}

/** The maximum number of effects of a run, far beyond what a working agent needs. */
const maxEffects = 200
/** The maximum number of tasks created by one run, and by all runs of one chain of agents' turns. */
const maxTasks = { run: 20, chain: 100 }

/** JSON with sorted keys and without absent fields, so that equal arguments give equal texts. */
export const canonical = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null"
  const entries = Object.entries(value)
    .filter(([, each]) => each !== undefined)
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
  return `{${entries.map(([name, each]) => `${JSON.stringify(name)}:${canonical(each)}`).join(",")}}`
}

/** Fails with `limit` if the run or its chain may not create another task. Reads at most 120 small rows. */
export const mustHaveTasksLeft = async (ctx: MutationCtx, { chain, id }: Run): Promise<void> => {
  const ofRun = await ctx.db
    .query("effects")
    .withIndex("by_key", (q) => q.eq("runId", id).eq("tool", "task_create"))
    .take(maxTasks.run)
  if (ofRun.length === maxTasks.run) {
    throw refusal(
      "limit",
      `This turn has created ${maxTasks.run} tasks, which is the limit of one turn. Leave the others for later.`
    )
  }
  const ofChain = await ctx.db
    .query("effects")
    .withIndex("by_chain", (q) => q.eq("chain", chain))
    .take(maxTasks.chain)
  if (ofChain.length === maxTasks.chain) {
    throw refusal(
      "limit",
      `This chain of agents' turns has created ${maxTasks.chain} tasks, which is the limit. ` +
        "Write in the thread what else is needed, and wait for a person to answer."
    )
  }
}

/** Records an effect that sets a value and may repeat. */
export const recordEffect = async (ctx: MutationCtx, run: Run, tool: string, summary: string): Promise<void> => {
  const effects = await ctx.db
    .query("effects")
    .withIndex("by_run", (q) => q.eq("runId", run.id))
    .take(maxEffects)
  if (effects.length === maxEffects) {
    throw refusal("limit", `This run has had ${maxEffects} effects, which is the limit. End the turn.`)
  }
  await ctx.db.insert("effects", {
    accountId: run.accountId,
    runId: run.id,
    tool,
    summary: cut(summary, maxSummaryLength),
    result: null,
    epoch: run.epoch
  })
}

/** The key of arguments in the ledger. */
const keyOf = (args: Readonly<Record<string, unknown>>): Promise<string> => sha256(canonical(args))

const entryOf = (ctx: Pick<QueryCtx, "db">, runId: string, tool: string, key: string) =>
  ctx.db
    .query("effects")
    .withIndex("by_key", (q) => q.eq("runId", runId).eq("tool", tool).eq("key", key))
    .first()

/** The stored result of an identical creation of this run; null if there was none. Reads at most one row. */
export const earlierResult = async (
  ctx: Pick<QueryCtx, "db">,
  run: Run,
  tool: string,
  args: Readonly<Record<string, unknown>>
): Promise<unknown> => (await entryOf(ctx, run.id, tool, await keyOf(args)))?.result ?? null

/**
 * Creates something once per run and arguments. The first call acts and records the effect in the same transaction. An
 * identical call returns the first result with `repeated: true`.
 */
export const createOnce = async <A extends Record<string, unknown>>(
  ctx: MutationCtx,
  run: Run,
  tool: string,
  args: Readonly<Record<string, unknown>>,
  act: (key: string) => Promise<{ readonly result: A; readonly summary: string }>
): Promise<A & { repeated: boolean }> => {
  const key = await keyOf(args)
  const found = await entryOf(ctx, run.id, tool, key)
  if (found !== null) return { ...(found.result as A), repeated: true }
  const effects = await ctx.db
    .query("effects")
    .withIndex("by_run", (q) => q.eq("runId", run.id))
    .take(maxEffects)
  if (effects.length === maxEffects) {
    throw refusal("limit", `This run has had ${maxEffects} effects, which is the limit. End the turn.`)
  }
  const { result, summary } = await act(key)
  await ctx.db.insert("effects", {
    accountId: run.accountId,
    runId: run.id,
    tool,
    key,
    summary: cut(summary, maxSummaryLength),
    result,
    epoch: run.epoch,
    ...(tool === "task_create" ? { chain: run.chain } : {})
  })
  return { ...result, repeated: false }
}
