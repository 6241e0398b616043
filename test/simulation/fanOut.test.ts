import { ConvexError } from "convex/values"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { orchestratorChatLabel } from "../../convex/model/tasks.ts"
import { taskStatuses } from "../../src/domain/TaskStatus.ts"
import { first, seededPlane } from "../convex/controlPlane.ts"
import { AccountModel } from "./accountModel.ts"
import type { Agent } from "./accountModel.ts"
import { Dice } from "./dice.ts"
import { Refusal } from "./queueModel.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

/** What was asked came to: its answer, or the code with which it was refused. */
const outcomeOf = async (call: () => unknown): Promise<unknown> => {
  try {
    return await call()
  } catch (error) {
    if (error instanceof ConvexError) return { refused: (error.data as { readonly code: string }).code }
    if (error instanceof Refusal) return { refused: error.code }
    throw error
  }
}

interface Fence {
  readonly session: string
  readonly epoch: number
}

/** What a history came to: how many rows of which types, and the most hops of one. */
interface Played {
  readonly types: ReadonlyArray<string>
  readonly rows: number
  readonly hops: number
}

const LENGTH = 50
const leaseMs = 30_000

/** One random history of people and agents on both, with the notifications compared after each step. */
const play = async (seed: number): Promise<Played> => {
  const dice = new Dice(`fan-out ${seed}`)
  const scope = dice.pick(["agent", "task"] as const)
  const maxHops = dice.between(1, 4)
  const plane = await seededPlane({ sessionScope: scope })
  const { t } = plane
  await plane.asPerson(api.app.accounts.configure, { agentFlags: { canCreateTasks: true } })
  const writer = (await plane.asPerson(api.app.agents.create, { slug: "writer", name: "Writer" })).agentId
  const agent = (id: string, slug: string, more: Partial<Agent> = {}): Agent => ({
    id,
    slug,
    name: slug,
    isOrchestrator: false,
    canReview: false,
    heartbeat: 15,
    ...more
  })
  let newTask = "none"
  const model = new AccountModel({
    agents: [
      agent(plane.lead, "lead", { isOrchestrator: true }),
      agent(plane.engineer, "engineer"),
      agent(plane.qa, "qa", { canReview: true }),
      agent(writer, "writer")
    ],
    scope,
    personId: plane.memberId,
    nextTaskId: () => newTask
  })
  model.queue.boot(Date.now(), "r1", "b1")

  const ofThePlane = () =>
    t.run(async (ctx) => {
      const rows = await ctx.db.query("notifications").collect()
      const told = []
      for (const row of rows.filter(({ recipientType }) => recipientType === "agent")) {
        const message = row.messageId === undefined ? null : await ctx.db.get("messages", row.messageId)
        told.push({
          agent: row.agentId,
          task: row.taskId,
          type: row.type,
          hops: row.hops,
          by: row.actor.id,
          lane: row.lane,
          isRequired: row.isRequired,
          message: message?.content ?? null,
          statuses: row.newStatus === undefined ? null : [row.previousStatus, row.newStatus],
          request: row.request ?? null,
          state: row.state,
          outcome: row.outcome ?? null
        })
      }
      const tasks = await ctx.db.query("tasks").collect()
      return {
        told,
        ids: rows.filter(({ recipientType }) => recipientType === "agent").map(({ _id }) => _id as string),
        tasks: Object.fromEntries(
          tasks.map(({ _id, assigneeIds, status }) => [_id, { status, assignees: assigneeIds }])
        )
      }
    })
  const ofTheModel = () => ({
    told: [...model.queue.rows.values()].map((row) => ({
      agent: row.agent,
      task: row.task,
      type: row.type,
      hops: row.hops,
      by: row.actor.id,
      lane: row.lane,
      isRequired: row.isRequired,
      message: model.messages.find(({ id }) => id === row.message)?.content ?? null,
      statuses: row.statuses,
      request: row.request,
      state: row.state,
      outcome: row.outcome
    })),
    tasks: Object.fromEntries([...model.tasks].map(([id, { assignees, status }]) => [id, { status, assignees }]))
  })

  const tasks = () => [...model.tasks.keys()]
  const someAgents = (least: number) => [
    ...new Set(Array.from({ length: dice.between(least, 3) }, () => dice.pick(model.agents)))
  ]
  const words = () => {
    const mentioned = dice.weighted({ none: 4, one: 4, two: 1, all: 1 })
    const slug = () => `@${dice.pick(model.agents).slug}`
    const whom = { none: "", one: ` ${slug()}`, two: ` ${slug()} and ${slug()}`, all: " @all" }[mentioned]
    return `words ${dice.between(1, 1_000_000)}${whom}, please`
  }

  /** What an agent does in its turn before it ends it; both sides answer alike. */
  const act = async (onPlane: Fence, onModel: Fence, task: string) => {
    const what = dice.weighted({ status: 3, request: 4, create: 1, message: 2, assign: 2 })
    const now = Date.now()
    const both = async (
      path: string,
      args: object,
      onThePlane: (fence: Fence & { readonly maxHops: number }) => Promise<object>,
      compared: ReadonlyArray<string>
    ) => {
      const answers = [
        await outcomeOf(() => onThePlane({ ...onPlane, maxHops })),
        await outcomeOf(() => model.call(now, path, { ...onModel, maxHops, ...args }))
      ].map((answer) =>
        Object.fromEntries(Object.entries(answer as object).filter(([key]) => [...compared, "refused"].includes(key)))
      )
      expect(answers[0], path).toEqual(answers[1])
    }
    const taskId = dice.chance(0.8) ? task : dice.pick(tasks())
    switch (what) {
      case "status": {
        const args = { taskId, status: dice.pick(["in_progress", "review", "done", "blocked"] as const) }
        return await both(
          "service/tasks:setStatus",
          args,
          (fence) => plane.mutate(api.service.tasks.setStatus, { ...fence, ...args, blockedReason: "waits" }),
          ["status", "previousStatus", "changed"]
        )
      }
      case "request": {
        const recipientSlugs = someAgents(1).map(({ slug }) => slug)
        const args = { recipientSlugs, message: `help ${dice.between(1, 3)}`, taskId }
        const slugsOf = (answer: object) => ({
          asked: (answer as { readonly asked: ReadonlyArray<{ readonly slug: string }> }).asked.map(({ slug }) => slug)
        })
        const answers = [
          await outcomeOf(async () =>
            slugsOf(await plane.mutate(api.service.responseRequests.create, { ...onPlane, maxHops, ...args }))
          ),
          await outcomeOf(() =>
            slugsOf(model.call(now, "service/responseRequests:create", { ...onModel, maxHops, ...args }))
          )
        ]
        return expect(answers[0], "service/responseRequests:create").toEqual(answers[1])
      }
      case "create": {
        const args = { title: `made ${dice.between(1, 1_000_000)}` }
        return await both(
          "service/tasks:create",
          args,
          async (fence) => {
            const made = await plane.mutate(api.service.tasks.create, { ...fence, ...args })
            newTask = made.taskId
            return made
          },
          ["taskId", "status"]
        )
      }
      case "message": {
        const args = { taskId, content: words() }
        return await both(
          "service/messages:post",
          args,
          (fence) => plane.mutate(api.service.messages.post, { ...fence, ...args }),
          []
        )
      }
      case "assign": {
        const args = { taskId, assigneeSlugs: someAgents(0).map(({ slug }) => slug) }
        return await both(
          "service/tasks:assign",
          args,
          (fence) => plane.mutate(api.service.tasks.assign, { ...fence, ...args }),
          ["status", "assigneeSlugs"]
        )
      }
    }
  }

  let claims = 0
  const steps = {
    create: async () => {
      const assignees = someAgents(0).map(({ id }) => id)
      const isChat = dice.chance(0.25)
      const made = await plane.asPerson(api.app.tasks.create, {
        title: "A task",
        assigneeIds: assignees,
        labels: isChat ? [orchestratorChatLabel] : []
      })
      newTask = made.taskId
      model.createTask(Date.now(), assignees, isChat)
    },
    write: async () => {
      const [taskId, content] = [dice.pick(tasks()), words()]
      await plane.post(taskId, content)
      model.write(Date.now(), taskId, content)
    },
    assign: async () => {
      const taskId = dice.pick(tasks())
      const assigneeIds = someAgents(0).map(({ id }) => id)
      const onPlane = await outcomeOf(
        async () => void (await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds }))
      )
      expect(await outcomeOf(() => model.assign(Date.now(), taskId, assigneeIds)), "assign").toEqual(onPlane)
    },
    status: async () => {
      const taskId = dice.pick(tasks())
      // A review concerns the most.
      const status = dice.chance(0.4) ? "review" : dice.pick(taskStatuses)
      // A move that is refused changes nothing, which the tasks' comparison shows.
      await outcomeOf(() => plane.asPerson(api.app.tasks.setStatus, { taskId, status, blockedReason: "waits" }))
      model.setStatus(Date.now(), taskId, status)
    },
    remove: async () => {
      if (model.agents.length < 3) return
      const { id } = dice.pick(model.agents)
      const now = Date.now()
      await plane.asPerson(api.app.agents.remove, { agentId: id })
      // With many tasks it takes more than one transaction.
      await plane.t.finishAllScheduledFunctions(() => vi.advanceTimersByTime(1))
      model.remove(now, id)
    },
    turns: async () => {
      const request = {
        requestId: `request ${(claims += 1)}`,
        runtimeId: "r1",
        bootId: "b1",
        limit: 100,
        leaseMs,
        maxAttempts: 8,
        parkedAgents: []
      }
      const { deliveries } = await plane.claim(request)
      const claimed = model.queue.claim(Date.now(), request).deliveries
      const { ids } = await ofThePlane()
      const modelIdOf = (id: string) => `n${ids.indexOf(id) + 1}`
      const keptOf = (all: ReadonlyArray<{ readonly notificationIds: ReadonlyArray<string> }>) =>
        all.map(({ notificationIds }) => first(notificationIds))
      expect(keptOf(deliveries).map(modelIdOf).toSorted(), "claimed").toEqual(keptOf(claimed).toSorted())
      for (const delivery of deliveries) {
        const kept = modelIdOf(first(delivery.notificationIds))
        const own = claimed.find(({ notificationIds }) => notificationIds[0] === kept)
        if (own === undefined) throw new Error("the model claimed another row")
        const onPlane: Fence = { session: delivery.session, epoch: delivery.epoch }
        const onModel: Fence = { session: own.session, epoch: own.epoch }
        vi.setSystemTime(Date.now() + dice.between(1, 100))
        if (dice.chance(0.4)) await act(onPlane, onModel, model.queue.row(kept).task)
        const end = dice.weighted({ replied: 6, acted: 1, note: 1, skipped: 1, fallback: 1, dead: 0.5, release: 4 })
        const now = Date.now()
        if (end === "release") {
          await plane.mutate(api.service.notifications.release, onPlane)
          model.call(now, "service/notifications:release", onModel)
          continue
        }
        if (end === "dead") {
          const failure = { class: "TurnTimeout", error: "too long", silence: false, silenceLimit: 3, maxHops }
          await plane.mutate(api.service.notifications.fail, { ...onPlane, ...failure })
          model.call(now, "service/notifications:fail", { ...onModel, ...failure })
          continue
        }
        const outcome = end === "note" ? "acted" : end
        const said = end === "replied" ? { reply: words() } : end === "note" ? { note: words() } : {}
        const ending = { outcome, ...said, maxHops } as const
        await plane.mutate(api.service.notifications.complete, { ...onPlane, ...ending })
        model.call(now, "service/notifications:complete", { ...onModel, ...ending })
      }
    }
  }

  await steps.create()
  for (let count = 0; count < LENGTH; count += 1) {
    // Mostly moments, rarely beyond the hours in which nobody is asked again.
    const pause = dice.weighted({ moment: 12, hours: 0.5 })
    vi.setSystemTime(Date.now() + dice.between(1, pause === "moment" ? 1_000 : 6 * 3_600_000))
    const name = dice.weighted({ create: 1, write: 5, assign: 2.5, status: 2.5, turns: 5, remove: 0.15 })
    await steps[name]()
    const { told, tasks: states } = await ofThePlane()
    const expected = ofTheModel()
    expect(told, `notifications after ${name}, step ${count}`).toEqual(expected.told)
    expect(states, `tasks after ${name}, step ${count}`).toEqual(expected.tasks)
  }
  const rows = [...model.queue.rows.values()]
  return { rows: rows.length, types: rows.map(({ type }) => type), hops: Math.max(...rows.map(({ hops }) => hops)) }
}

describe("whom the control plane tells of what people and agents do, and whom the account's model tells", () => {
  it.each(Array.from({ length: 12 }, (_, index) => index + 1))(
    "are the same through a random history: recipients, types, hops, seed %i",
    async (seed) => {
      const played = await play(seed)
      expect(played.rows).toBeGreaterThan(20)
      expect(played.hops).toBeGreaterThan(0)
    },
    60_000
  )
})
