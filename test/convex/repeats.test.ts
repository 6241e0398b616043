import { globSync } from "node:fs"
import { basename, join } from "node:path"
import { getFunctionName } from "convex/server"
import type { FunctionReference } from "convex/server"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import schema from "../../convex/schema.ts"
import { codeOf, fenceOf, first, type Plane, seededPlane } from "./controlPlane.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

const { service } = api

/** A plane in which the orchestrator's session is held by a run on a task of its own. */
const held = async () => {
  const plane = await seededPlane()
  const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "Own", assigneeIds: [plane.lead] })
  const delivery = first((await plane.claim()).deliveries)
  return { plane, taskId, delivery, fence: fenceOf(delivery), run: { ...fenceOf(delivery), maxHops: 12 } }
}
type Held = Awaited<ReturnType<typeof held>>

const boot = { runtimeId: "r1", bootId: "b1" }
const failure = { class: "TurnTimeout", error: "late", silence: false, silenceLimit: 3, maxHops: 12 }

/** What is sent twice. */
interface Sent {
  readonly f: FunctionReference<"mutation">
  readonly args: object
}

const dead = async ({ delivery, fence, plane }: Held) => {
  await plane.mutate(service.notifications.fail, { ...fence, ...failure })
  return { id: first(delivery.notificationIds) }
}

/** Every mutation that a runtime may call, with arguments that do something the first time. */
const mutations: Readonly<Record<string, (held: Held) => Promise<Sent>>> = {
  "notifications:claim": async ({ plane, taskId }) => {
    await plane.post(taskId, "@qa please")
    const limits = { limit: 8, leaseMs: 90_000, maxAttempts: 8, parkedAgents: [] }
    return { f: service.notifications.claim, args: { ...boot, ...limits, requestId: "twice" } }
  },
  "notifications:renew": async ({ fence }) => ({
    f: service.notifications.renew,
    args: { ...fence, ...boot, leaseMs: 60_000 }
  }),
  "notifications:release": async ({ fence }) => ({
    f: service.notifications.release,
    args: { ...fence, nextAttemptAt: Date.now() + 5_000, class: "ProviderFailed", error: "429" }
  }),
  "notifications:complete": async ({ run }) => ({
    f: service.notifications.complete,
    args: { ...run, outcome: "replied", reply: "@engineer done" }
  }),
  "notifications:fail": async ({ fence }) => ({ f: service.notifications.fail, args: { ...fence, ...failure } }),
  "notifications:retryDeadLetter": async (held) => ({
    f: service.notifications.retryDeadLetter,
    args: await dead(held)
  }),
  "notifications:discardDeadLetter": async (held) => ({
    f: service.notifications.discardDeadLetter,
    args: { ...(await dead(held)), reason: "nobody waits" }
  }),
  "sessions:claimBeat": async ({ plane }) => {
    const args = { ...boot, agentId: plane.qa, requestId: "twice", leaseMs: 90_000, parkedAgents: [] }
    await plane.mutate(service.sessions.claimBeat, { ...args, requestId: "when" })
    vi.setSystemTime(Date.now() + 120_000)
    return { f: service.sessions.claimBeat, args }
  },
  "sessions:rotate": async () => ({ f: service.sessions.rotate, args: { agent: "lead" } }),
  "agents:updateAgentHeartbeat": async (held) => {
    const { args } = await mutations["sessions:claimBeat"]!(held)
    const answer = await held.plane.mutate(service.sessions.claimBeat, args as never)
    if (!("claimed" in answer)) throw new Error(`expected a beat, got ${answer.reason}`)
    return {
      f: service.agents.updateAgentHeartbeat,
      args: { ...fenceOf(answer.claimed), maxHops: 12, status: "idle", currentTaskId: null }
    }
  },
  "tasks:create": async ({ plane, run }) => {
    await plane.asPerson(api.app.accounts.configure, { agentFlags: { canCreateTasks: true } })
    return { f: service.tasks.create, args: { ...run, title: "New", assigneeSlugs: ["qa"] } }
  },
  "tasks:setStatus": async ({ run, taskId }) => ({
    f: service.tasks.setStatus,
    args: { ...run, taskId, status: "review" }
  }),
  "tasks:update": async ({ run, taskId }) => ({
    f: service.tasks.update,
    args: { ...run, taskId, title: "Better", labels: ["web"], assigneeSlugs: ["qa", "lead"], status: "in_progress" }
  }),
  "tasks:assign": async ({ run, taskId }) => ({
    f: service.tasks.assign,
    args: { ...run, taskId, assigneeSlugs: ["engineer", "qa"] }
  }),
  "tasks:remove": async ({ plane, run }) => {
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "Wrong", assigneeIds: [plane.qa] })
    return { f: service.tasks.remove, args: { ...run, taskId, reason: "made twice" } }
  },
  "tasks:linkPullRequest": async ({ run, taskId }) => ({
    f: service.tasks.linkPullRequest,
    args: { ...run, taskId, prNumber: 17 }
  }),
  "documents:upsert": async ({ run }) => ({
    f: service.documents.upsert,
    args: { ...run, title: "D", content: "c", type: "note" }
  }),
  "messages:post": async ({ run, taskId }) => ({
    f: service.messages.post,
    args: { ...run, taskId, content: "@qa please look" }
  }),
  "responseRequests:create": async ({ run }) => ({
    f: service.responseRequests.create,
    args: { ...run, recipientSlugs: ["qa"], message: "Is it right?" }
  }),
  "runtimes:pulse": async () => ({
    f: service.runtimes.pulse,
    args: {
      runtimeId: "r1",
      bootId: "b2",
      status: "online",
      reasons: [],
      versions: { runtime: "1.0.0", openclaw: null },
      infrastructure: { dropletId: null, ipAddress: null, region: null },
      intervalMs: 60_000
    }
  }),
  "runtimes:acknowledge": async ({ plane }) => {
    await plane.asPerson(api.app.runtimes.restart, { runtimeId: "r1" })
    const { commands } = await plane.pulse()
    return { f: service.runtimes.acknowledge, args: { ...boot, command: commands.restart?.id, result: "taken" } }
  }
}

/** Their second arrival is a second sign of life. */
const tellsThePresent = new Set(["notifications:renew", "runtimes:pulse"])

/** Everything that stands in the database, but the list of what runs did, where a repeated setter stands again. */
const everything = (plane: Plane) =>
  plane.t.run(async (ctx) => {
    const tables = Object.keys(schema.tables) as Array<keyof typeof schema.tables>
    const rows: Record<string, unknown> = {}
    for (const table of tables) if (table !== "effects") rows[table] = await ctx.db.query(table).collect()
    // The job that notices silence is another one after each pulse.
    const runtimes = await ctx.db.query("runtimes").collect()
    rows["runtimes"] = runtimes.map((row) => ({ ...row, lapseJobId: null }))
    return rows
  })

describe("a mutation that arrives twice", () => {
  it("is each one that a runtime may call", async () => {
    const folder = join(import.meta.dirname, "../../convex/service")
    const found: Array<string> = []
    for (const file of globSync("*.ts", { cwd: folder })) {
      const module: Record<string, { readonly isMutation?: boolean }> = await import(join(folder, file))
      for (const [name, exported] of Object.entries(module)) {
        if (exported.isMutation === true) found.push(`${basename(file, ".ts")}:${name}`)
      }
    }
    expect(Object.keys(mutations).toSorted()).toEqual(found.toSorted())
  })

  it.each(Object.entries(mutations))("changes what it changes once: %s", async (name, prepare) => {
    const world = await held()
    const { args, f } = await prepare(world)
    expect(getFunctionName(f)).toBe(`service/${name}`)
    const untouched = await everything(world.plane)
    await world.plane.mutate(f, args as never)
    const once = await everything(world.plane)
    // Time goes on between the two, but for what tells the present.
    if (!tellsThePresent.has(name)) vi.setSystemTime(Date.now() + 1_000)
    expect(once).not.toEqual(untouched)
    // What is over answers so, as an operator's second click; nothing else may change.
    const code = await codeOf(world.plane.mutate(f, args as never))
    expect([null, "conflict"]).toContain(code)
    expect(await everything(world.plane)).toEqual(once)
  })
})
