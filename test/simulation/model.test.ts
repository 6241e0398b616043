import { makeFunctionReference } from "convex/server"
import { ConvexError } from "convex/values"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import { orchestratorChatLabel } from "../../convex/model/tasks/taskView.ts"
import { PROTOCOL } from "../../src/domain/shared/Protocol.ts"
import { taskStatuses } from "../../src/domain/shared/TaskStatus.ts"
import { first, seededPlane } from "../convex/controlPlane.ts"
import { AccountModel } from "./accountModel.ts"
import { comparable, firstDifference, Ids, renamed } from "./comparison.ts"
import type { PlaneRows } from "./comparison.ts"
import { Dice } from "./dice.ts"
import type { ClaimAnswer } from "./queueModel.ts"
import { Refusal } from "./queueState.ts"
import type { Fence, LeaseName } from "./queueState.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

/** The answer of a call, or the code of its refusal. */
const outcomeOf = async (call: () => unknown): Promise<unknown> => {
  try {
    return await call()
  } catch (error) {
    if (error instanceof ConvexError) return { refused: (error.data as { readonly code: string }).code }
    if (error instanceof Refusal) return { refused: error.code }
    throw error
  }
}

const schedules = ["*/2 * * * *", "*/30 * * * *", 1, 15]
const leaseMs = 30_000
const DAY = 24 * 3_600_000

/** One random history on the control plane's functions and on the model, compared after each step. */
const play = async (seed: number, length: number) => {
  const dice = new Dice(`model ${seed}`)
  /** Every third history is mostly of heartbeats, since notifications otherwise go first. */
  const isOfHeartbeats = seed % 3 === 0
  const scope = dice.pick(["agent", "task"] as const)
  const quiet = { quietTimeMs: dice.pick([0, 5_000, 30_000]), quietLimitMs: dice.pick([20_000, 120_000]) }
  const maxTurns = dice.pick([3, 6, 40])
  const settings = { maxHops: dice.between(1, 4), ...quiet }
  const plane = await seededPlane({ sessionScope: scope })
  const { t } = plane
  await plane.asPerson(api.app.accounts.configure, { agentFlags: { canCreateTasks: true } })
  const heartbeats = () => t.run((ctx) => ctx.db.query("heartbeats").collect())
  /** When an agent's first heartbeat is due: the plane spreads them by a digest. */
  const firstHeartbeats = new Map((await heartbeats()).map(({ agentId, dueAt }) => [agentId as string, dueAt]))
  let newTask = "none"
  const model = new AccountModel({
    agents: (["lead", "engineer", "qa"] as const).map((slug) => {
      const role = { isOrchestrator: slug === "lead", canReview: slug === "qa" }
      return { id: plane[slug], slug, name: slug, heartbeat: 15, ...role }
    }),
    scope,
    personId: plane.memberId,
    personName: "Ana",
    nextTaskId: () => newTask,
    now: Date.now(),
    firstHeartbeatAt: (agent) => firstHeartbeats.get(agent) ?? 0
  })
  const { queue } = model
  queue.boot(Date.now(), "r1", "b1")
  const boots = new Map([["r1", "b1"]])
  const numbers = new Map<string, number>()
  /** Every lease that was given, live or not, with its boot. */
  const leases: Array<Fence & { readonly bootId: string }> = []
  const isLive = ({ epoch, session }: LeaseName) => queue.sessions.get(session)?.lease?.epoch === epoch
  const seen = { notification: 0, heartbeat: 0, again: 0, joins: 0, decided: 0, calls: 0 }
  /** The last accounts have policies for tools. */
  const hasPolicies = seed > 12

  const ids = new Ids()
  const contents = new Map<string, string>()
  const read = async (): Promise<PlaneRows> => {
    const rows = await t.run(async (ctx) => ({
      notifications: await ctx.db.query("notifications").collect(),
      sessions: await ctx.db.query("sessions").collect(),
      heartbeats: await ctx.db.query("heartbeats").collect(),
      tasks: await ctx.db.query("tasks").collect(),
      taskLoops: await ctx.db.query("taskLoops").collect(),
      approvals: await ctx.db.query("approvals").collect(),
      messages: await ctx.db.query("messages").collect()
    }))
    for (const { _id, content } of rows.messages) contents.set(_id, content)
    ids.note(rows, queue.notifications.keys())
    return { ...rows, contents }
  }

  /** The same call on both sides, with the model's ids; answers what they answer. */
  const both = async (path: string, args: object): Promise<unknown> => {
    const name = `service/${path}`
    await read()
    const onPlane = (await outcomeOf(() =>
      plane.mutate(makeFunctionReference<"mutation">(name), {
        ...renamed(args, ids.ofPlane)
      })
    )) as { readonly taskId?: string } | null
    if (path === "tasks:create") newTask = onPlane?.taskId ?? newTask
    const onModel = await outcomeOf(() => model.call(Date.now(), name, args))
    await read()
    const found = comparable(renamed(onPlane, ids.ofModel))
    expect(found, `${path} ${JSON.stringify(args)}`).toEqual(comparable(onModel))
    seen.calls += 1
    return onModel
  }
  /** As both, and once more: the second call answers alike too. */
  const twice = async (path: string, args: object): Promise<unknown> => {
    const answer = await both(path, args)
    await both(path, args)
    return answer
  }
  /** What a person does, on both sides. */
  const deed = async (onPlane: () => Promise<unknown>, onModel: () => unknown) => {
    const refused = await outcomeOf(async () => void (await onPlane()))
    expect(await outcomeOf(() => void onModel())).toEqual(refused)
  }

  const someTask = () => dice.pick([...model.tasks.keys()])
  const someAgents = (least: number) => [
    ...new Set(Array.from({ length: dice.between(least, 3) }, () => dice.pick(model.agents)))
  ]
  const words = () => {
    const mentioned = dice.weighted({ none: 4, one: 4, two: 1, all: 1 })
    const slug = () => `@${dice.pick(model.agents).slug}`
    const whom = { none: "", one: ` ${slug()}`, two: ` ${slug()} and ${slug()}`, all: " @all" }[mentioned]
    return `words ${dice.between(1, 1_000_000)}${whom}, please`
  }
  const someFence = (): Fence => {
    const live = leases.filter(isLive)
    const prefersLive = hasPolicies && live.length > 0 && dice.chance(0.7)
    const { epoch, run, session } = prefersLive
      ? dice.pick(live)
      : dice.chance(0.7)
        ? first(leases.slice(-1))
        : dice.pick(leases)
    return { run, session, epoch }
  }
  /** Verdicts of the policy, now and then of an event that does not exist. */
  const refused = () => (dice.chance(0.3) ? { refused: [{ event: dice.between(0, 3), reason: "policy" }] } : {})
  /** What a process names: mostly all that it holds; it forgets some and abandons some. */
  const named = (bootId: string) => {
    const recoverUnnamed = dice.chance(0.5)
    const names = { held: [] as Array<LeaseName>, abandoned: [] as Array<LeaseName>, recoverUnnamed }
    for (const lease of leases) {
      const { bootId: own, epoch, session } = lease
      const how = dice.weighted({ held: 8, forgotten: 2, abandoned: 1 })
      if (own === bootId && (isLive(lease) || dice.chance(0.1)) && how !== "forgotten")
        names[how].push({ session, epoch })
    }
    return names
  }
  const later = (most: number) => ({ nextAttemptAt: Date.now() + dice.between(1, most) })

  const steps = {
    create: () => {
      const assigneeIds = someAgents(0).map(({ id }) => id)
      const isChat = dice.chance(0.2)
      const labels = isChat ? [orchestratorChatLabel] : []
      return deed(
        async () =>
          (newTask = (await plane.asPerson(api.app.tasks.create, { title: "A task", assigneeIds, labels })).taskId),
        () => model.createTask(Date.now(), assigneeIds, isChat)
      )
    },
    write: () => {
      const asked = model.questions.filter(({ state }) => state === "open")
      const taskId = asked.length > 0 && dice.chance(0.7) ? dice.pick(asked).task : someTask()
      const content = words()
      return deed(
        () => plane.post(taskId, content),
        () => model.write(Date.now(), taskId, content)
      )
    },
    assign: () => {
      const [taskId, assigneeIds] = [someTask(), someAgents(0).map(({ id }) => id)]
      return deed(
        () => plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds }),
        () => model.assign(Date.now(), taskId, assigneeIds)
      )
    },
    status: async () => {
      const taskId = someTask()
      // A review notifies most agents. A refused move changes nothing, which the comparison of the tasks shows.
      const status = dice.chance(0.4) ? "review" : dice.pick(taskStatuses)
      await outcomeOf(() => plane.asPerson(api.app.tasks.setStatus, { taskId, status, blockedReason: "waits" }))
      model.setStatus(Date.now(), taskId, status)
    },
    remove: async () => {
      if (model.agents.length < 3) return
      const { id } = dice.pick(model.agents)
      await plane.asPerson(api.app.agents.remove, { agentId: id })
      model.remove(Date.now(), id)
    },
    reschedule: async () => {
      const [{ id }, heartbeat] = [dice.pick(model.agents), dice.pick(schedules)]
      await plane.asPerson(api.app.agents.update, { agentId: id, heartbeat })
      for (const { agentId, dueAt } of await heartbeats()) firstHeartbeats.set(agentId, dueAt)
      model.reschedule(Date.now(), id, heartbeat)
    },
    pause: async () => {
      const agent = dice.chance(0.3) && !queue.isPaused ? null : dice.pick(model.agents).id
      const isPaused = agent === null ? queue.isPaused : queue.paused.has(agent)
      const of = agent === null || queue.isPaused ? {} : { agent }
      if (isPaused || queue.isPaused) await twice("pauses:resume", of)
      else await twice("pauses:pause", { ...of, release: dice.chance(0.5) })
    },
    stop: async () => {
      const row = dice.pick([...queue.notifications.values()])
      const heartbeat = dice.pick([...queue.heartbeats.values()])
      const live = leases.filter(isLive)
      const of = dice.pick([
        { run: live.length > 0 ? dice.pick(live).run : row.id },
        { run: dice.chance(0.7) ? row.id : `${heartbeat.agent}:${heartbeat.dueAt}` },
        { task: row.task },
        { agent: heartbeat.agent }
      ])
      await twice("runs:stop", of)
    },
    again: async () => {
      const rows = [...queue.notifications.values()]
      const stopped = rows.filter(({ outcome }) => outcome === "stopped")
      const { id } = dice.pick(stopped.length > 0 && dice.chance(0.9) ? stopped : rows)
      await twice("runs:again", { run: id })
    },
    claim: async () => {
      const runtimeId = dice.pick([...boots.keys()])
      const bootId = dice.chance(0.95) ? (boots.get(runtimeId) ?? "none") : "b0"
      const last = numbers.get(bootId) ?? 0
      const number = dice.chance(0.9) ? last + 1 : Math.max(1, last - dice.between(0, 2))
      numbers.set(bootId, Math.max(last, number))
      const limits = { limit: dice.chance(0.03) ? 0 : dice.between(1, 3), heartbeatLimit: dice.between(0, 2) }
      const request = { protocol: PROTOCOL, runtimeId, bootId, number, ...limits, leaseMs, maxAttempts: 3, maxTurns }
      const answer = (await twice("notifications:claim", { ...request, ...named(bootId) })) as Partial<ClaimAnswer>
      for (const { epoch, id, kind, session } of answer.runs ?? []) {
        seen[kind] += 1
        if (leases.some((lease) => lease.run === id && lease.bootId === bootId)) seen.again += 1
        leases.push({ run: id, session, epoch, bootId })
      }
    },
    renew: () => {
      const [runtimeId, bootId] = dice.pick([...boots])
      return twice("notifications:renew", { runtimeId, bootId, leaseMs, leases: named(bootId).held })
    },
    join: async () => {
      // Preferably in a run behind which a person's message waits.
      const fences = leases.filter((lease) => isLive(lease) && queue.sessions.get(lease.session)?.news !== null)
      const { epoch, run, session } = fences.length > 0 && dice.chance(0.8) ? dice.pick(fences) : someFence()
      const known = dice.chance(0.7) ? 0 : dice.between(1, 2)
      const answer = await twice("notifications:join", { run, session, epoch, known, settings })
      seen.joins += (answer as { readonly events?: ReadonlyArray<object> }).events?.length ?? 0
    },
    complete: () => {
      const turn = dice.pick(["answered", "answered", "failed", "none"])
      const replied = { outcome: "replied", reply: words() }
      const stopped = { outcome: "stopped", note: words() }
      const others = [{ outcome: "replied" }, { outcome: "acted", note: words() }, { outcome: "skipped", reason: "r" }]
      const end = dice.pick([replied, replied, ...others, { outcome: "acted" }, { outcome: "fallback" }, stopped])
      const joined = dice.chance(0.5) ? { joined: dice.between(0, 2) } : {}
      const first = dice.between(1, 1_000)
      const grown = dice.chance(0.3)
        ? { requestTokens: { first, least: dice.between(1, first) }, isHistoryLong: dice.chance(0.5) }
        : {}
      return twice("notifications:complete", {
        ...someFence(),
        ...end,
        turn,
        ...grown,
        ...joined,
        ...refused(),
        settings
      })
    },
    fail: () => {
      const how = {
        silence: dice.chance(0.4),
        silenceLimit: dice.between(1, 3),
        rotate: dice.chance(0.2),
        ...(dice.chance(0.5) ? { joined: dice.between(0, 2) } : {}),
        ...refused()
      }
      const retry = dice.chance(0.75) ? later(60_000) : {}
      const failure = { class: "TurnTimeout", error: "too long", ...how, ...retry }
      return twice("notifications:fail", { ...someFence(), ...failure })
    },
    release: () => {
      const limited = { class: "ProviderFailed", error: "429", sharedLimitMs: DAY }
      const shared = dice.chance(0.7) ? limited : { class: "GatewayUnreachable", error: "503" }
      return twice("notifications:release", {
        ...someFence(),
        ...(dice.chance(0.6) ? { ...later(60_000), ...shared } : {})
      })
    },
    finish: () => twice("agents:updateAgentHeartbeat", { ...someFence(), settings, status: "idle" }),
    tool: () => {
      const fence = { ...someFence(), settings }
      const taskId = queue.notifications.get(fence.run)?.task ?? someTask()
      const slugs = (least: number) => someAgents(least).map(({ slug }) => slug)
      const status = dice.pick(["in_progress", "review", "done", "blocked"])
      const calls: Record<string, object> = {
        "tasks:setStatus": { taskId, status, blockedReason: "waits" },
        "responseRequests:create": {
          recipientSlugs: [...slugs(1), ...(dice.chance(0.5) ? ["ana"] : [])],
          message: `help ${dice.between(1, 3)}`,
          taskId
        },
        "tasks:create": { title: `made ${dice.between(1, 1_000_000)}` },
        "messages:post": { taskId, content: words() },
        "tasks:assign": { taskId, assigneeSlugs: slugs(0) },
        // Without it most tasks would soon be archived.
        ...(model.policies?.get("task_delete") === "ask" ? { "tasks:remove": { taskId, reason: "over" } } : {})
      }
      const path = dice.pick(Object.keys(calls))
      return both(path, { ...fence, ...calls[path] })
    },
    policy: async () => {
      const tools = [
        "task_status",
        "response_request",
        "task_create",
        "task_message",
        "task_assign",
        "task_delete"
      ] as const
      const [tool, effect] = [dice.pick(tools), dice.weighted({ ask: 4, allow: 1, deny: 1 })]
      await plane.asPerson(api.app.policies.set, { tool, effect })
      model.setPolicy(Date.now(), tool, effect)
    },
    decide: async () => {
      await read()
      const pending = model.approvals.filter(({ state }) => state === "pending")
      const { id } = dice.pick(pending.length > 0 && dice.chance(0.9) ? pending : model.approvals)
      const planeId = ids.ofPlane.get(id) ?? id
      if (dice.chance(0.3)) {
        return deed(
          () => plane.asPerson(api.app.approvals.deny, { id: planeId }),
          () => model.deny(Date.now(), id)
        )
      }
      await deed(
        async () => {
          const { result } = await plane.asPerson(api.app.approvals.approve, { id: planeId })
          newTask = JSON.parse(result ?? "{}").taskId ?? newTask
        },
        () => model.approve(Date.now(), id)
      )
      if (model.approvals.find((each) => each.id === id)?.state === "approved") seen.decided += 1
    },
    expire: async () => {
      for (const { _id, expiresAt } of (await read()).approvals) {
        if (expiresAt <= Date.now()) await t.mutation(internal.scheduled.approvals.expire, { id: _id })
      }
      model.expire(Date.now())
    },
    pulse: () => {
      const runtimeId = dice.pick(["r1", "r2"])
      const hasEnded = queue.boots.get(runtimeId)?.hasEnded !== false
      const isNew = !boots.has(runtimeId) || dice.chance(hasEnded ? 0.9 : 0.4)
      if (isNew) boots.set(runtimeId, `b${seen.calls + 2}`)
      return steps["pulse of"](runtimeId, boots.get(runtimeId))
    },
    "pulse of": (runtimeId = "r1", bootId = "b1") => {
      const presence = { status: "online", reasons: [], intervalMs: 60_000 }
      const versions = { runtime: "1.0.0", openclaw: null }
      const infrastructure = { dropletId: null, ipAddress: null, region: null }
      return both("runtimes:pulse", { runtimeId, bootId, ...presence, versions, infrastructure })
    },
    letter: () => {
      const rows = [...queue.notifications.values()]
      const dead = rows.filter(({ state }) => state === "dead")
      const { id } = dice.pick(dead.length > 0 && dice.chance(0.8) ? dead : rows)
      return twice(`notifications:${dice.chance(0.6) ? "retry" : "discard"}DeadLetter`, { id })
    },
    rotate: () => both("sessions:rotate", { agent: dice.pick(model.agents).id })
  }

  const compare = async (name: string) => {
    expect(firstDifference(model, await read(), ids), `after ${name}`).toBeUndefined()
  }

  await steps.create()
  for (const _ of hasPolicies ? [1, 2, 3, 4, 5, 6] : []) await steps.policy()
  for (let count = 0; count < length; count += 1) {
    // Mostly moments, now and then beyond the lease, rarely beyond the day that shared failures may last.
    const pause = dice.weighted({ moment: 12, while: 4, lease: isOfHeartbeats ? 6 : 2, day: 0.3 })
    const millis = { moment: 1_000, while: 20_000, lease: 150_000, day: 25 * 3_600_000 }[pause]
    vi.setSystemTime(Date.now() + dice.between(1, millis))
    const wakesOf = async () => (await plane.query(api.service.notifications.wake, {})).count
    const before = { plane: await wakesOf(), model: queue.wakes }
    const people = isOfHeartbeats ? 0.2 : 1
    const runs = leases.length > 0 ? 1 : 0
    const ofPeople = { create: people, write: 5 * people, assign: people, status: people, remove: 0.1, reschedule: 0.3 }
    const ofRuns = {
      renew: runs,
      tool: (hasPolicies ? 6 : 2) * runs,
      join: 1.5 * runs,
      complete: 3 * runs,
      fail: 3 * runs,
      release: 2 * runs
    }
    const ofBoots = { pulse: queue.boots.values().some(({ hasEnded }) => hasEnded) ? 4 : 1.5, "pulse of": 0.2 }
    const name = dice.weighted<keyof typeof steps>({
      ...ofPeople,
      ...ofRuns,
      ...ofBoots,
      pause: queue.isPaused ? 3 : 0.2 + queue.paused.size,
      claim: isOfHeartbeats ? 9 : 7,
      finish: (isOfHeartbeats ? 4 : 1) * runs,
      letter: queue.notifications.size > 0 ? 1.5 : 0,
      stop: queue.notifications.size > 0 ? 1 : 0,
      again: queue.notifications.size > 0 ? 0.7 : 0,
      policy: hasPolicies ? 1 : 0,
      decide: model.approvals.length > 0 ? 3 : 0,
      expire: model.approvals.length > 0 ? 1 : 0,
      rotate: 0.4
    })
    await steps[name]()
    await compare(name)
    // A claim may wake for work that it then takes itself, and a task that is done or archived for what takes the place of
    // its stopped runs; otherwise there is a push exactly if the rule says so.
    const [isWoken, mustWake] = [(await wakesOf()) > before.plane, queue.wakes > before.model]
    const mayWake = name === "claim" || name === "status" || name === "decide"
    if (!mayWake || mustWake) expect(isWoken, `wake after ${name}`).toBe(mustWake)
  }
  const events = [...queue.notifications.values()].flatMap((row) => row.events)
  const hops = Math.max(...events.map((event) => event.hops), 0)
  const answered = model.questions.filter(({ state }) => state === "answered").length
  return { ...seen, answered, joined: events.length - queue.notifications.size, hops }
}

describe("the control plane's functions and the model", () => {
  const total = { again: 0, answered: 0, joined: 0, joins: 0, notification: 0, heartbeat: 0, hops: 0, decided: 0 }
  it.each(Array.from({ length: 24 }, (_, index) => index + 1))(
    "answer alike through a random history, seed %i",
    async (seed) => {
      const { calls, ...seen } = await play(seed, 80)
      expect(calls).toBeGreaterThan(40)
      for (const key of Object.keys(total) as Array<keyof typeof total>) total[key] += seen[key]
    },
    60_000
  )

  it("have met runs of both kinds, leases offered again, events that join, answers, chains and approved calls", () => {
    expect(Math.min(...Object.values(total))).toBeGreaterThan(5)
  })
})

describe("differences that the model found", () => {
  const claim = (plane: Awaited<ReturnType<typeof seededPlane>>, bootId: string, number: number) => {
    const limits = {
      limit: 8,
      heartbeatLimit: 0,
      leaseMs,
      maxAttempts: 8,
      maxTurns: 40,
      held: [],
      abandoned: [],
      recoverUnnamed: false
    }
    return plane.mutate(api.service.notifications.claim, {
      protocol: PROTOCOL,
      runtimeId: "r1",
      bootId,
      number,
      ...limits
    })
  }

  it("takes no suspect run next to one that is offered again", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer, plane.qa] })
    for (const bootId of ["b1", "b2"]) {
      await plane.pulse("r1", bootId)
      expect((await claim(plane, bootId, 1)).runs).toHaveLength(2)
    }
    await plane.pulse("r1", "b3")
    const { id } = first((await claim(plane, "b3", 1)).runs)
    expect(await claim(plane, "b3", 2)).toMatchObject({ runs: [{ id, attempt: 3 }], hasMore: true })
  })

  it("answers a pulse that an expired lease of its own runtime is due, since a late claim may have taken it", async () => {
    const plane = await seededPlane()
    await plane.t.run(async (ctx) => {
      for (const { _id } of await ctx.db.query("heartbeats").collect()) await ctx.db.delete("heartbeats", _id)
    })
    await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    const { expiresAt } = first((await claim(plane, "b1", 1)).runs)
    expect(await plane.pulse()).toMatchObject({ nextDueAt: null })
    expect(await plane.pulse("r2", "b1")).toMatchObject({ nextDueAt: expiresAt })
    vi.setSystemTime(expiresAt + 1)
    expect(await plane.pulse()).toMatchObject({ oldest: null, nextDueAt: Date.now() })
  })
})
