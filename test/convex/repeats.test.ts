import { globSync } from "node:fs"
import { basename, join } from "node:path"
import { getFunctionName } from "convex/server"
import type { FunctionReference } from "convex/server"
import { describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import schema from "../../convex/schema.ts"
import { PROTOCOL } from "../../src/domain/shared/Protocol.ts"
import { minute, pass, stopTime } from "./clock.ts"
import { codeOf, fenceOf, first, leaseOf, makeTask, spent, type Plane, seededPlane, settings } from "./controlPlane.ts"

stopTime()

const { service } = api

/** A plane in which a run on a separate task has leased the orchestrator's session. */
const held = async () => {
  const plane = await seededPlane()
  const taskId = await makeTask(plane, [plane.lead], "Own")
  const leased = await plane.takeOne()
  return { plane, taskId, leased, fence: fenceOf(leased), run: { ...fenceOf(leased), settings } }
}
type Held = Awaited<ReturnType<typeof held>>

const boot = { runtimeId: "r1", bootId: "b1" }
const failure = { class: "TurnTimeout", error: "late", silence: false, silenceLimit: 3 }

/** A call that is sent twice. */
interface Sent {
  readonly f: FunctionReference<"mutation">
  readonly args: object
}

const dead = async ({ fence, leased, plane }: Held) => {
  await plane.mutate(service.notifications.fail, { ...fence, ...failure })
  return { id: leased.id }
}

/** The arguments of a claim that names the leases it holds. */
const claimOf = ({ leased }: Held) => ({
  ...boot,
  protocol: PROTOCOL,
  number: 100,
  limit: 8,
  heartbeatLimit: 8,
  leaseMs: 90_000,
  maxAttempts: 8,
  maxTurns: 40,
  held: [leaseOf(leased)],
  abandoned: [],
  recoverUnnamed: false
})

const usage = { ...spent(100), outputTokens: 10, model: null }

/** Every mutation that a runtime may call, with arguments that change something the first time. */
const mutations: Readonly<Record<string, (held: Held) => Promise<Sent>>> = {
  "notifications:claim": async (held) => {
    await held.plane.post(held.taskId, "@qa please")
    return { f: service.notifications.claim, args: claimOf(held) }
  },
  "notifications:renew": async ({ leased }) => ({
    f: service.notifications.renew,
    args: { ...boot, leases: [leaseOf(leased)], leaseMs: 60_000 }
  }),
  "notifications:join": async ({ plane, run, taskId }) => {
    await plane.post(taskId, "one more thing")
    return { f: service.notifications.join, args: { ...run, known: 0 } }
  },
  "notifications:release": async ({ fence }) => ({
    f: service.notifications.release,
    args: { ...fence, nextAttemptAt: Date.now() + 5_000, class: "ProviderFailed", error: "429" }
  }),
  "notifications:complete": async ({ run }) => ({
    f: service.notifications.complete,
    args: { ...run, outcome: "replied", turn: "answered", reply: "@engineer done" }
  }),
  "notifications:fail": async ({ fence }) => ({ f: service.notifications.fail, args: { ...fence, ...failure } }),
  "notifications:retryDeadLetter": async (held) => ({
    f: service.notifications.retryDeadLetter,
    args: await dead(held)
  }),
  "notifications:discardDeadLetter": async (held) => ({
    f: service.notifications.discardDeadLetter,
    args: { ...(await dead(held)), reason: "obsolete" }
  }),
  "pauses:pause": async () => ({ f: service.pauses.pause, args: { agent: "qa" } }),
  "pauses:resume": async ({ plane }) => {
    await plane.mutate(service.pauses.pause, { agent: "qa" })
    return { f: service.pauses.resume, args: { agent: "qa" } }
  },
  "runs:stop": async ({ leased }) => ({ f: service.runs.stop, args: { run: leased.id, reason: "wrong branch" } }),
  "runs:again": async ({ leased, plane }) => {
    await plane.mutate(service.runs.stop, { run: leased.id })
    return { f: service.runs.again, args: { run: leased.id } }
  },
  "runs:progress": async ({ leased }) => {
    const turn = { ...leaseOf(leased), tool: "exec", stepMs: 5_000, quietMs: 1_000, isStuck: false }
    return { f: service.runs.progress, args: { runtimeId: "r1", turns: [turn] } }
  },
  "sessions:rotate": async () => ({ f: service.sessions.rotate, args: { agent: "lead" } }),
  "agents:updateAgentHeartbeat": async (held) => {
    pass(2 * minute)
    const { runs } = await held.plane.mutate(service.notifications.claim, claimOf(held))
    return {
      f: service.agents.updateAgentHeartbeat,
      args: { ...fenceOf(first(runs)), settings, status: "idle", currentTaskId: null }
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
  "usage:allow": async ({ fence }) => ({ f: service.usage.allow, args: { ...fence, usedTokens: 50_000 } }),
  "usage:record": async ({ fence }) => ({ f: service.usage.record, args: { ...fence, usage } }),
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

/** Calls whose second arrival changes only times. */
const storesCurrentTime = new Set(["notifications:renew", "runs:progress", "runtimes:pulse"])

/** All tables except effects, which a repeated setter writes again. */
const everything = (plane: Plane) =>
  plane.t.run(async (ctx) => {
    const tables = Object.keys(schema.tables) as Array<keyof typeof schema.tables>
    const rows: Record<string, unknown> = {}
    for (const table of tables) if (table !== "effects") rows[table] = await ctx.db.query(table).collect()
    // Each pulse schedules another job that detects a missing pulse.
    const runtimes = await ctx.db.query("runtimes").collect()
    rows["runtimes"] = runtimes.map((row) => ({ ...row, lapseJobId: null }))
    return rows
  })

describe("a mutation that arrives twice", () => {
  it("covers every mutation that a runtime may call", async () => {
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

  it.each(Object.entries(mutations))("changes data once: %s", async (name, prepare) => {
    const world = await held()
    const { args, f } = await prepare(world)
    expect(getFunctionName(f)).toBe(`service/${name}`)
    const untouched = await everything(world.plane)
    await world.plane.mutate(f, args as never)
    const once = await everything(world.plane)
    // Time passes between the two calls, except for fields that store the current time.
    if (!storesCurrentTime.has(name)) vi.setSystemTime(Date.now() + 1_000)
    expect(once).not.toEqual(untouched)
    // The second call is refused, like an operator's second click. Nothing else may change.
    const code = await codeOf(world.plane.mutate(f, args as never))
    expect([null, "conflict"]).toContain(code)
    expect(await everything(world.plane)).toEqual(once)
  })
})
