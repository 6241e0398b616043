import { globSync } from "node:fs"
import { join } from "node:path"
import { convexTest } from "convex-test"
import type { FunctionArgs, FunctionReference, FunctionReturnType } from "convex/server"
import { ConvexError } from "convex/values"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import schema from "../../convex/schema.ts"
import { internalsOf } from "../../local/plane/convexInternals.ts"
import { countReadIntervals } from "../../local/plane/readIntervals.ts"

const root = join(import.meta.dirname, "../../convex")
const modules = Object.fromEntries(
  globSync("**/*.{ts,js}", { cwd: root, exclude: (name) => name.endsWith(".d.ts") }).map((path) => [
    `./${path}`,
    () => import(join(root, path))
  ])
)

/** A function's arguments without the token that the account under test adds. */
type Bare<F extends FunctionReference<any>> = Omit<FunctionArgs<F>, "accountId" | "serviceToken">

const meteredPlane = () => {
  const t = convexTest({ schema, modules, transactionLimits: true })
  return { t, metrics: countReadIntervals(internalsOf(t as never)) }
}

/** The control plane's own functions on an empty database, with production's limits. */
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
  const mutate = <F extends FunctionReference<"mutation">>(f: F, args: Bare<F>): Promise<FunctionReturnType<F>> =>
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

  let requests = 0
  const claim = (more: Partial<Bare<typeof api.service.notifications.claim>> = {}) =>
    mutate(api.service.notifications.claim, {
      requestId: `request-${(requests += 1)}`,
      runtimeId: "r1",
      bootId: "b1",
      limit: 8,
      leaseMs: 90_000,
      maxAttempts: 8,
      parkedAgents: [],
      ...more
    })
  const row = async (id: string) => {
    const found = await t.run((ctx) => ctx.db.get("notifications", id as Id<"notifications">))
    if (found === null) throw new Error("no such notification")
    return found
  }
  const post = (taskId: string, content: string) => asPerson(api.app.messages.post, { taskId, content })
  const thread = (taskId: string) => seen(api.app.messages.list, { taskId })
  const notifications = (taskId?: string) => seen(api.app.notifications.list, taskId === undefined ? {} : { taskId })
  /** Another person's account with a token of its own. */
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

/** The first of a list, which the test says is there. */
export const first = <A>(items: ReadonlyArray<A>): A => {
  const [item] = items
  if (item === undefined) throw new Error("expected at least one")
  return item
}

/** The fence of a delivery. */
export const fenceOf = (delivery: { readonly session: string; readonly epoch: number }) => ({
  session: delivery.session,
  epoch: delivery.epoch
})

/** The code with which a call was refused; null when it was not. Any other failure is the test's. */
export const codeOf = async (call: Promise<unknown>): Promise<string | null> => {
  try {
    await call
    return null
  } catch (error) {
    if (error instanceof ConvexError) return (error.data as { readonly code: string }).code
    throw error
  }
}
