import { globSync } from "node:fs"
import { join } from "node:path"
import { convexTest } from "convex-test"
import type { FunctionArgs, FunctionReference, FunctionReturnType } from "convex/server"
import { ConvexError } from "convex/values"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import type { NamedLease } from "../../convex/model/queue/leases.ts"
import type { NeedsApproval } from "../../convex/model/tools/agentTool.ts"
import schema from "../../convex/schema.ts"
import { internalsOf } from "../../local/plane/convexInternals.ts"
import { countReadIntervals } from "../../local/plane/readIntervals.ts"
import { PROTOCOL } from "../../src/domain/shared/Protocol.ts"

const root = join(import.meta.dirname, "../../convex")
const modules = Object.fromEntries(
  globSync("**/*.{ts,js}", { cwd: root, exclude: (name) => name.endsWith(".d.ts") }).map((path) => [
    `./${path}`,
    () => import(join(root, path))
  ])
)

/** A function's arguments without the token, which the account under test adds. */
type Bare<F extends FunctionReference<any>> = Omit<FunctionArgs<F>, "accountId" | "serviceToken">
export type ClaimArgs = Bare<typeof api.service.notifications.claim>
/** A claim of deliveries only, by a process that holds no lease. */
export const plainClaim = {
  protocol: PROTOCOL,
  limit: 8,
  heartbeatLimit: 0,
  leaseMs: 90_000,
  maxAttempts: 8,
  maxTurns: 40,
  held: [],
  abandoned: [],
  recoverUnnamed: false
}
export type ClaimAnswer = FunctionReturnType<typeof api.service.notifications.claim>
export type Run = ClaimAnswer["runs"][number]
export type DeliveryContext = Extract<Run, { kind: "notification"; context: unknown }>["context"]
export type HeartbeatContext = Extract<Run, { kind: "heartbeat"; context: unknown }>["context"]

const meteredPlane = () => {
  const t = convexTest({ schema, modules, transactionLimits: true })
  return { t, metrics: countReadIntervals(internalsOf(t as never)) }
}

/** The control plane's functions on an empty database, with production's limits. */
export const emptyPlane = () => meteredPlane().t

/** An account with an owner, a service token, a booted runtime and three agents: lead, engineer and qa. */
export const seededPlane = async (settings: { readonly sessionScope?: "agent" | "task" } = {}) => {
  const { t, metrics } = meteredPlane()
  const person = t.withIdentity({ subject: "ana", name: "Ana" })
  const { accountId, memberId } = await person.mutation(api.app.accounts.create, { name: "Acme" })
  const { serviceToken } = await person.mutation(api.app.tokens.provision, { accountId })
  if (settings.sessionScope !== undefined) {
    await person.mutation(api.app.accounts.configure, { accountId, sessionScope: settings.sessionScope })
  }
  const query = <F extends FunctionReference<"query">>(f: F, args: Bare<F>): Promise<FunctionReturnType<F>> =>
    t.query(f as any, { ...args, accountId, serviceToken })
  /** Without the answer of accounts with policies, which their tests read with `askedOf`. */
  const mutate = <F extends FunctionReference<"mutation">>(
    f: F,
    args: Bare<F>
  ): Promise<Exclude<FunctionReturnType<F>, NeedsApproval>> =>
    t.mutation(f as any, { ...args, accountId, serviceToken })
  const asPerson = <F extends FunctionReference<"mutation">>(
    f: F,
    args: Omit<FunctionArgs<F>, "accountId">
  ): Promise<FunctionReturnType<F>> => person.mutation(f as any, { ...args, accountId })
  const seen = <F extends FunctionReference<"query">>(
    f: F,
    args: Omit<FunctionArgs<F>, "accountId">
  ): Promise<FunctionReturnType<F>> => person.query(f as any, { ...args, accountId })

  const pulse = (runtimeId = "r1", bootId = "b1", more: object = {}) =>
    mutate(api.service.runtimes.pulse, {
      runtimeId,
      bootId,
      status: "online",
      reasons: [],
      versions: { runtime: "1.0.0", openclaw: null },
      infrastructure: { dropletId: null, ipAddress: null, region: null },
      intervalMs: 60_000,
      ...more
    })
  await pulse()
  const lead = (
    await asPerson(api.app.agents.create, { slug: "lead", name: "Squad Lead", role: "Lead", isOrchestrator: true })
  ).agentId
  const engineer = (await asPerson(api.app.agents.create, { slug: "engineer", name: "Engineer", role: "Engineer" }))
    .agentId
  const qa = (
    await asPerson(api.app.agents.create, { slug: "qa", name: "QA", role: "QA", flags: { canReviewTasks: true } })
  ).agentId

  let claims = 0
  /** Claims with the next number and without naming leases. Claims heartbeats only on request. */
  const claim = (more: Partial<ClaimArgs> = {}) =>
    mutate(api.service.notifications.claim, {
      ...plainClaim,
      runtimeId: "r1",
      bootId: "b1",
      number: (claims += 1),
      ...more
    })
  const leased = new Map<string, Array<NamedLease>>()
  /** Claims like a process that names every lease it received. Naming one that has ended has no effect. */
  const take = async (more: Partial<ClaimArgs> = {}) => {
    const boot = `${more.runtimeId ?? "r1"} ${more.bootId ?? "b1"}`
    const held = leased.get(boot) ?? []
    const answer = await claim({ held, ...more })
    leased.set(boot, [...held, ...answer.runs.map(leaseOf)].slice(-200))
    return answer
  }
  /** Claims the only due run. */
  const takeOne = async (more: Partial<ClaimArgs> = {}) => only((await take(more)).runs)
  /** Claims all due runs, and returns the agent's only one. */
  const takeOf = async (slug: "lead" | "engineer" | "qa") =>
    only((await take()).runs.filter((run) => contextOf(run).agent.slug === slug))
  const row = async (id: string) => {
    const found = await t.run((ctx) => ctx.db.get("notifications", id as Id<"notifications">))
    if (found === null) throw new Error("no such notification")
    return found
  }
  const wakes = async () => (await query(api.service.notifications.wake, {})).count
  const post = (taskId: string, content: string) => asPerson(api.app.messages.post, { taskId, content })
  const thread = (taskId: string) => seen(api.app.messages.list, { taskId })
  const notifications = (taskId?: string) => seen(api.app.notifications.list, taskId === undefined ? {} : { taskId })
  /** Another person's account with its own token. */
  const secondAccount = async () => {
    const stranger = t.withIdentity({ subject: "mallory", name: "Mallory" })
    const made = await stranger.mutation(api.app.accounts.create, { name: "Other" })
    const token = await stranger.mutation(api.app.tokens.provision, { accountId: made.accountId })
    return { accountId: made.accountId, serviceToken: token.serviceToken }
  }
  /** What the last call used of a deployment's limits. */
  const usage = () => {
    const used = metrics()
    if (used === undefined) throw new Error("no transaction has run")
    const { databaseQueries: readIntervals, ...rest } = used
    return { readIntervals, ...rest }
  }
  return {
    secondAccount,
    t,
    usage,
    accountId,
    memberId,
    serviceToken,
    query,
    mutate,
    asPerson,
    seen,
    pulse,
    claim,
    take,
    takeOne,
    takeOf,
    wakes,
    row,
    post,
    thread,
    notifications,
    lead,
    engineer,
    qa
  }
}
export type Plane = Awaited<ReturnType<typeof seededPlane>>

/** The first item of a list that must not be empty. */
export const first = <A>(items: ReadonlyArray<A>): A => {
  const [item] = items
  if (item === undefined) throw new Error("expected at least one")
  return item
}

/** The only item of a list. */
export const only = <A>(items: ReadonlyArray<A>): A => {
  if (items.length !== 1) throw new Error(`expected one, got ${items.length}`)
  return first(items)
}

/** The fields that identify a run. */
export type Leased = Pick<Run, "id" | "session" | "epoch">

/** The fence of a run. */
export const fenceOf = ({ epoch, id, session }: Leased) => ({ run: id, session, epoch })

/** A run's lease as a process names it. */
export const leaseOf = ({ epoch, session }: NamedLease): NamedLease => ({ session, epoch })

/** The context of a notification's run. */
export const contextOf = (run: Run): DeliveryContext => {
  if (run.kind !== "notification" || !("context" in run)) throw new Error(`no notification with its context: ${run.id}`)
  return run.context
}

/** The context of a heartbeat's run. */
export const heartbeatOf = (run: Run): HeartbeatContext => {
  if (run.kind !== "heartbeat" || !("context" in run)) throw new Error(`no heartbeat with its context: ${run.id}`)
  return run.context
}

/** Deletes every agent's heartbeat, for tests about other due times. */
export const withoutHeartbeats = async (plane: Plane): Promise<Plane> => {
  await plane.t.run(async (ctx) => {
    for (const { _id } of await ctx.db.query("heartbeats").collect()) await ctx.db.delete("heartbeats", _id)
  })
  return plane
}

/** The runtime's settings in calls of runs. Updates do not wait for quiet. */
export const settings = { maxHops: 12, quietTimeMs: 0, quietLimitMs: 0 }

/** Ends the run after an answered turn, as skipped by default. */
export const complete = (plane: Plane, run: Leased, more: object = {}) =>
  plane.mutate(api.service.notifications.complete, {
    ...fenceOf(run),
    outcome: "skipped",
    turn: "answered",
    settings,
    ...more
  })

/** Ends the run's attempt with its own failure, for good unless the next attempt is given. */
export const fail = (plane: Plane, run: Leased, more: object = {}) =>
  plane.mutate(api.service.notifications.fail, {
    ...fenceOf(run),
    class: "TurnTimeout",
    error: "took too long",
    silence: false,
    silenceLimit: 3,
    ...more
  })

/** Ends the run's attempt as a silence, retried at once by default. */
export const silence = (plane: Plane, run: Leased, more: object = {}) =>
  fail(plane, run, { class: "TurnSilent", error: "", silence: true, nextAttemptAt: Date.now(), ...more })

/** Releases the run without counting its attempt. */
export const release = (plane: Plane, run: Leased, more: object = {}) =>
  plane.mutate(api.service.notifications.release, { ...fenceOf(run), ...more })

/** The report of an attempt without steps. */
export const noSteps = { isDelta: false, steps: [], stepsLeftOut: 0 }

/** The report of an attempt that spent this many price-weighted tokens in one round. */
export const spent = (tokens: number) => ({
  inputTokens: tokens,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  rounds: 1,
  unanswered: 0,
  contextTokens: tokens,
  model: "m",
  price: null,
  ...noSteps
})

/** Ends a heartbeat. */
export const finish = (plane: Plane, run: Leased, more: object = {}) =>
  plane.mutate(api.service.agents.updateAgentHeartbeat, { ...fenceOf(run), settings, status: "ok", ...more })

/** Creates a task with these assignees. Returns its id. */
export const makeTask = async (plane: Plane, assigneeIds: ReadonlyArray<string> = [], title = "T") =>
  (await plane.asPerson(api.app.tasks.create, { title, assigneeIds: [...assigneeIds] })).taskId

/** The engineer's running turn on a new task. */
export const runningTurn = async (options: Parameters<typeof seededPlane>[0] = {}) => {
  const plane = await seededPlane(options)
  const taskId = await makeTask(plane, [plane.engineer])
  return { plane, taskId, run: await plane.takeOne() }
}

/** A task that the engineer is assigned to and has worked on, so that messages notify it and nothing is due. */
export const taskWorkedOn = async (plane: Plane) => {
  const taskId = await makeTask(plane, [plane.engineer])
  await complete(plane, await plane.takeOne())
  return taskId
}

/** The refusal of a call; null if it succeeded. Rethrows any other failure. */
export const refusalOf = async (
  call: Promise<unknown>
): Promise<{ readonly code: string; readonly reason?: string } | null> => {
  try {
    await call
    return null
  } catch (error) {
    if (error instanceof ConvexError) return error.data as { readonly code: string; readonly reason?: string }
    throw error
  }
}

/** The code with which a call was refused; null if it succeeded. */
export const codeOf = async (call: Promise<unknown>): Promise<string | null> => (await refusalOf(call))?.code ?? null

/** Lets the next row have an earlier creation time than the last one, as a deployment may. */
export const resetLastCreationTime = ({ t }: Plane) => {
  internalsOf(t as never).components[""]!.db._lastCreationTime = 0
}
