import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { nextStatusesFor, taskStatuses } from "../../src/domain/shared/TaskStatus.ts"
import { hour, pass } from "./clock.ts"
import {
  codeOf,
  complete,
  contextOf,
  fenceOf,
  first,
  makeTask,
  only,
  type Plane,
  seededPlane,
  settings
} from "./controlPlane.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllEnvs()
  vi.unstubAllGlobals()
})

const { service } = api

/** A live run of one agent on a task, and the fence of its tools. */
const runOf = async (slug: "lead" | "engineer" | "qa", given?: Plane) => {
  const plane = given ?? (await seededPlane())
  const taskId = await makeTask(plane, [plane[slug]], "Own")
  const { runs } = await plane.take()
  const run = only(runs.filter((each) => contextOf(each).task?.id === taskId))
  return { plane, taskId, fence: { ...fenceOf(run), settings }, runId: run.id }
}

const otherTask = async (plane: Plane) => (await plane.asPerson(api.app.tasks.create, { title: "Other" })).taskId

describe("task_status", () => {
  it("takes the shortest allowed path in one step and returns it", async () => {
    const { plane, taskId, fence } = await runOf("engineer")
    const answer = await plane.mutate(service.tasks.setStatus, { ...fence, taskId, status: "review" })
    expect(answer).toEqual({
      taskId,
      status: "review",
      previousStatus: "assigned",
      changed: true,
      path: ["in_progress", "review"]
    })
  })

  it("changes nothing if the task has the status already", async () => {
    const { plane, taskId, fence } = await runOf("engineer")
    const set = () => plane.mutate(service.tasks.setStatus, { ...fence, taskId, status: "in_progress" })
    expect(await set()).toMatchObject({ changed: true })
    expect(await set()).toMatchObject({ status: "in_progress", changed: false, path: [] })
  })

  it("needs a reason to block, which leaving the block clears", async () => {
    const { plane, taskId, fence } = await runOf("engineer")
    const set = (more: object) =>
      plane.mutate(service.tasks.setStatus, { ...fence, taskId, status: "blocked", ...more })
    expect(await codeOf(set({}))).toBe("invalid")
    expect(await codeOf(set({ blockedReason: "  " }))).toBe("invalid")
    await set({ blockedReason: "no access" })
    expect((await plane.query(service.tasks.get, { taskId })).task.blockedReason).toBe("no access")
    await set({ status: "in_progress" })
    expect((await plane.query(service.tasks.get, { taskId })).task.blockedReason).toBeNull()
  })

  it("allows exactly what nextStatusesFor allows, for every agent and from every status", async () => {
    const grants = [{}, { canReviewTasks: true }, { canMarkDone: true }, { canModifyTaskStatus: false }]
    for (const flags of grants) {
      for (const from of taskStatuses) {
        for (const to of taskStatuses) {
          const { plane, taskId, fence } = await runOf("engineer")
          await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, flags })
          await plane.t.run((ctx) =>
            ctx.db.patch("tasks", taskId as Id<"tasks">, {
              status: from,
              ...(from === "inbox" ? { assigneeIds: [] } : {})
            })
          )
          const agent = {
            isOrchestrator: false,
            flags: { canModifyTaskStatus: true, canReviewTasks: false, canMarkDone: false, ...flags }
          }
          const call = plane.mutate(service.tasks.setStatus, { ...fence, taskId, status: to, blockedReason: "why" })
          const isAllowed = nextStatusesFor(agent, from).includes(to)
          const isNoChange = from === to && agent.flags.canModifyTaskStatus
          expect([from, to, flags, (await codeOf(call)) === null]).toEqual([from, to, flags, isAllowed || isNoChange])
        }
      }
    }
  }, 60_000)
})

describe("which tasks a run may act on", () => {
  it("are its own and those it created, any for the orchestrator, and never another account's", async () => {
    const { plane, fence } = await runOf("engineer")
    await plane.asPerson(api.app.accounts.configure, { agentFlags: { canCreateTasks: true } })
    const other = await otherTask(plane)
    const update = (taskId: string, by = fence) => plane.mutate(service.tasks.update, { ...by, taskId, title: "New" })
    expect(await codeOf(update(other))).toBe("forbidden")
    const made = await plane.mutate(service.tasks.create, { ...fence, title: "Mine" })
    expect(await codeOf(update(made.taskId))).toBeNull()
    const leads = await runOf("lead", plane)
    expect(await codeOf(update(other, leads.fence))).toBeNull()
    const stranger = await plane.secondAccount()
    const otherAccount = plane.t.query(service.tasks.get, { ...stranger, taskId: other })
    expect(await codeOf(otherAccount)).toBe("not_found")
  })

  it.each([
    [
      "assign",
      (plane: Plane, fence: any, taskId: string) =>
        plane.mutate(service.tasks.assign, { ...fence, taskId, assigneeSlugs: [] })
    ],
    [
      "remove",
      (plane: Plane, fence: any, taskId: string) =>
        plane.mutate(service.tasks.remove, { ...fence, taskId, reason: "r" })
    ],
    [
      "linkPullRequest",
      (plane: Plane, fence: any, taskId: string) =>
        plane.mutate(service.tasks.linkPullRequest, { ...fence, taskId, prNumber: 1 })
    ],
    [
      "message",
      (plane: Plane, fence: any, taskId: string) =>
        plane.mutate(service.messages.post, { ...fence, taskId, content: "x" })
    ]
  ])("%s is only for the orchestrator", async (_, call) => {
    const { plane, taskId, fence } = await runOf("engineer")
    expect(await codeOf(call(plane, fence, taskId))).toBe("forbidden")
  })
})

describe("creations", () => {
  it("happen once per run and arguments, in any order of the arguments and in any attempt", async () => {
    const { plane, taskId, fence, runId } = await runOf("lead")
    await plane.asPerson(api.app.accounts.configure, { agentFlags: { canCreateTasks: true } })
    const calls = (by: typeof fence) => [
      () => plane.mutate(service.tasks.create, { ...by, title: "New", priority: 2, assigneeSlugs: ["qa"] }),
      () => plane.mutate(service.messages.post, { ...by, taskId, content: "Hello" }),
      () => plane.mutate(service.documents.upsert, { ...by, title: "D", content: "c", type: "note" }),
      () => plane.mutate(service.responseRequests.create, { ...by, recipientSlugs: ["qa", "engineer"], message: "?" })
    ]
    const counts = () =>
      plane.t.run(async (ctx) => [
        (await ctx.db.query("tasks").collect()).length,
        (await ctx.db.query("messages").collect()).length,
        (await ctx.db.query("documents").collect()).length,
        (await ctx.db.query("notifications").collect()).length
      ])
    const answers: Array<object> = []
    for (const call of calls(fence)) {
      const answer = await call()
      expect(answer.repeated).toBe(false)
      answers.push(answer)
    }
    const after = await counts()
    await plane.pulse("r1", "b2")
    const again = (await plane.take({ bootId: "b2" })).runs.find(({ id }) => id === runId)
    if (again === undefined) throw new Error("expected the same run again")
    for (const [index, call] of calls({ ...fenceOf(again), settings }).entries()) {
      expect(await call()).toEqual({ ...answers[index], repeated: true })
    }
    expect(await counts()).toEqual(after)
    expect(contextOf(again).earlier.effects.map(({ tool }) => tool)).toEqual([
      "task_create",
      "task_message",
      "document_upsert",
      "response_request"
    ])
  })

  it("with other arguments or in another run happen again", async () => {
    const { plane, taskId, fence } = await runOf("lead")
    const post = (by: typeof fence, content: string) => plane.mutate(service.messages.post, { ...by, taskId, content })
    await post(fence, "one")
    expect((await post(fence, "two")).repeated).toBe(false)
    await plane.mutate(service.notifications.complete, { ...fence, outcome: "acted", turn: "answered" })
    const next = await runOf("lead", plane)
    expect((await post(next.fence, "one")).repeated).toBe(false)
  })
})

describe("task_create", () => {
  it("needs the flag, and the orchestrator to assign", async () => {
    const { plane, fence } = await runOf("engineer")
    const create = (more: object = {}) => plane.mutate(service.tasks.create, { ...fence, title: "New", ...more })
    expect(await codeOf(create())).toBe("forbidden")
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, flags: { canCreateTasks: true } })
    expect(await create()).toMatchObject({ status: "inbox", repeated: false })
    expect(await codeOf(create({ assigneeSlugs: ["qa"] }))).toBe("forbidden")
    expect(await codeOf(create({ assigneeSlugs: ["engineer"] }))).toBe("forbidden")
  })

  it.each(["inbox", "assigned", "in_progress", "review", "blocked"] as const)(
    "creates a task in %s for an agent that cannot assign, which becomes its assignee outside the inbox",
    async (status) => {
      const { plane, fence } = await runOf("engineer")
      await plane.asPerson(api.app.accounts.configure, { agentFlags: { canCreateTasks: true } })
      const made = { ...fence, title: "New", status, ...(status === "blocked" ? { blockedReason: "no key" } : {}) }
      const { taskId } = await plane.mutate(service.tasks.create, made)
      const { task } = await plane.query(service.tasks.get, { taskId })
      expect(task).toMatchObject({ status, assignees: status === "inbox" ? [] : [{ slug: "engineer" }] })
    }
  )

  it.each([
    ["an empty title", { title: " " }, "invalid"],
    ["a title of 301 characters", { title: "x".repeat(301) }, "limit"],
    ["a priority of 6", { priority: 6 }, "invalid"],
    ["a priority that is not whole", { priority: 1.5 }, "invalid"],
    ["21 labels", { labels: Array.from({ length: 21 }, (_, index) => `l${index}`) }, "limit"],
    ["a label of the control plane's", { labels: ["system:orchestrator-chat"] }, "forbidden"],
    ["an unknown assignee", { assigneeSlugs: ["nobody"] }, "not_found"],
    ["done as its first status", { status: "done" }, "invalid"],
    ["a block without a reason", { status: "blocked", assigneeSlugs: ["qa"] }, "invalid"],
    ["work in progress without an assignee", { status: "in_progress" }, "invalid"]
  ])("refuses %s and changes nothing", async (_, more, code) => {
    const { plane, fence } = await runOf("lead")
    await plane.asPerson(api.app.accounts.configure, { agentFlags: { canCreateTasks: true } })
    const before = await plane.t.run((ctx) => ctx.db.query("tasks").collect())
    expect(await codeOf(plane.mutate(service.tasks.create, { ...fence, title: "New", ...more } as any))).toBe(code)
    expect(await plane.t.run((ctx) => ctx.db.query("tasks").collect())).toEqual(before)
  })

  it("creates an assigned task and notifies its assignees", async () => {
    const { plane, fence } = await runOf("lead")
    await plane.asPerson(api.app.accounts.configure, { agentFlags: { canCreateTasks: true } })
    const { taskId, status } = await plane.mutate(service.tasks.create, {
      ...fence,
      title: "New",
      assigneeSlugs: ["qa", "@QA"],
      status: "in_progress"
    })
    expect(status).toBe("in_progress")
    expect((await plane.notifications(taskId)).map((row) => [row.recipientName, row.type])).toContainEqual([
      "QA",
      "assignment"
    ])
  })
})

describe("task_update", () => {
  it("changes fields, assignees and status together, or nothing at all", async () => {
    const { plane, taskId, fence } = await runOf("lead")
    const update = (more: object) => plane.mutate(service.tasks.update, { ...fence, taskId, ...more } as any)
    expect(await codeOf(update({ title: "Half", status: "done" }))).toBe("invalid")
    expect((await plane.query(service.tasks.get, { taskId })).task.title).toBe("Own")
    const answer = await update({ title: "Whole", assigneeSlugs: ["qa"], status: "review", dueDate: 5 })
    expect(answer).toEqual({ taskId, status: "review", previousStatus: "assigned", changed: true })
    expect((await plane.query(service.tasks.get, { taskId })).task).toMatchObject({
      title: "Whole",
      assignees: [{ slug: "qa" }],
      dueDate: 5
    })
    expect(await update({})).toMatchObject({ changed: false })
  })

  it("lets only the orchestrator choose assignees", async () => {
    const { plane, taskId, fence } = await runOf("engineer")
    for (const assigneeSlugs of [["qa"], ["engineer", "qa"], []]) {
      const call = plane.mutate(service.tasks.update, { ...fence, taskId, title: "New", assigneeSlugs })
      expect(await codeOf(call)).toBe("forbidden")
    }
    const { task } = await plane.query(service.tasks.get, { taskId })
    expect(task).toMatchObject({ title: "Own", assignees: [{ slug: "engineer" }] })
  })
})

describe("task_delete", () => {
  it("archives with its reason, and stops pending work on the task", async () => {
    const { plane, fence } = await runOf("lead")
    const taskId = await otherTask(plane)
    await plane.post(taskId, "@engineer @qa please")
    const { changed, stopped } = await plane.mutate(service.tasks.remove, { ...fence, taskId, reason: "duplicate" })
    expect({ changed, stopped }).toEqual({ changed: true, stopped: 2 })
    expect((await plane.take()).runs).toEqual([])
    const rows = (await plane.notifications(taskId)).filter((row) => row.recipientType === "agent")
    expect(rows.every((row) => row.outcome === "stopped")).toBe(true)
    expect((await plane.query(service.tasks.history, { taskId })).activities.map((each) => each.summary)).toContain(
      "removed: duplicate"
    )
    expect(await plane.mutate(service.tasks.remove, { ...fence, taskId, reason: "again" })).toMatchObject({
      changed: false
    })
  })
})

describe("reading tasks", () => {
  it("lists by status and by assignee, most recently changed first, and searches by words", async () => {
    const { plane } = await runOf("engineer")
    vi.setSystemTime(Date.now() + 1_000)
    const { taskId } = await plane.asPerson(api.app.tasks.create, {
      title: "Repair the pump",
      description: "It leaks.",
      assigneeIds: [plane.engineer]
    })
    await otherTask(plane)
    const titles = async (args: object) => (await plane.query(service.tasks.list, args)).tasks.map((task) => task.title)
    expect(await titles({ assigneeSlug: "engineer" })).toEqual(["Repair the pump", "Own"])
    expect(await titles({ status: "inbox" })).toEqual(["Other"])
    expect(await titles({ status: "assigned", limit: 1 })).toEqual(["Repair the pump"])
    expect(await codeOf(plane.query(service.tasks.list, { assigneeSlug: "nobody" }))).toBe("not_found")
    const found = await plane.query(service.tasks.search, { query: "pump" })
    expect(found.tasks.map((task) => task.id)).toEqual([taskId])
    expect(await codeOf(plane.query(service.tasks.search, { query: " " }))).toBe("invalid")
  })

  it("returns thread and history oldest first, up to the requested length", async () => {
    const { plane, taskId } = await runOf("engineer")
    for (const content of ["one", "two", "three"]) await plane.post(taskId, content)
    const { thread } = await plane.query(service.tasks.thread, { taskId, limit: 2 })
    expect(thread.map((message) => message.content)).toEqual(["two", "three"])
    const later = await plane.query(service.tasks.load, { taskId, since: first(thread).createdAt })
    expect(later.thread.map((message) => message.content)).toEqual(["three"])
    for (let count = 0; count < 10; count += 1) await plane.post(taskId, `more ${count}`)
    expect((await plane.query(service.tasks.load, { taskId })).thread).toHaveLength(10)
    expect((await plane.query(service.tasks.thread, { taskId })).thread).toHaveLength(10)
    const history = await plane.query(service.tasks.history, { taskId, messageLimit: 1, activityLimit: 1 })
    expect(history.thread.map((message) => message.content)).toEqual(["more 9"])
    expect(history.activities).toHaveLength(1)
  })

  it.each(["nonsense", "", "😀"])("answers not_found to the id %j", async (taskId) => {
    const { plane } = await runOf("engineer")
    expect(await codeOf(plane.query(service.tasks.load, { taskId }))).toBe("not_found")
    expect(await codeOf(plane.query(service.tasks.thread, { taskId }))).toBe("not_found")
    expect(await codeOf(plane.query(service.tasks.history, { taskId }))).toBe("not_found")
  })
})

describe("document_upsert", () => {
  it("writes on the run's task, replaces by id, and lists the documents", async () => {
    const { plane, taskId, fence } = await runOf("engineer")
    const write = (more: object) =>
      plane.mutate(service.documents.upsert, {
        ...fence,
        title: "Plan",
        content: "v1",
        type: "deliverable",
        ...more
      } as any)
    const { documentId } = await write({})
    await write({ documentId, content: "v2" })
    const { documents } = await plane.query(service.documents.list, { taskId })
    expect(documents).toMatchObject([{ id: documentId, taskId, content: "v2", author: { slug: "engineer" } }])
    expect(await codeOf(write({ documentId: "nonsense" }))).toBe("not_found")
    expect(await codeOf(write({ content: "x".repeat(200_001) }))).toBe("limit")
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, flags: { canCreateDocuments: false } })
    expect(await codeOf(write({ title: "More" }))).toBe("forbidden")
  })

  it("lets only the orchestrator or its author change a reference", async () => {
    const { plane, taskId, fence } = await runOf("engineer")
    const { documentId } = await plane.asPerson(api.app.documents.upsert, {
      taskId,
      title: "House rules",
      content: "be kind",
      type: "reference"
    })
    const change = (by: typeof fence) =>
      plane.mutate(service.documents.upsert, {
        ...by,
        documentId,
        title: "House rules",
        content: "x",
        type: "reference"
      })
    expect(await codeOf(change(fence))).toBe("forbidden")
    const leads = await runOf("lead", plane)
    expect(await codeOf(change(leads.fence))).toBeNull()
  })
})

describe("response_request", () => {
  it("asks the named agents and returns who was skipped and why", async () => {
    const { plane, taskId, fence } = await runOf("engineer")
    const ask = (recipientSlugs: Array<string>, message = "Please review") =>
      plane.mutate(service.responseRequests.create, { ...fence, recipientSlugs, message })
    const answer = await ask(["qa", "@LEAD", "engineer", "nobody"])
    expect(answer.asked.map((each) => each.slug)).toEqual(["qa", "lead"])
    expect(answer.skipped.map((each) => each.slug)).toEqual(["engineer", "nobody"])
    expect((await plane.notifications(taskId)).filter((row) => row.type === "response_request")).toHaveLength(2)
    const again = await ask(["qa"], "Please, really")
    expect(again).toMatchObject({ asked: [], skipped: [{ slug: "qa" }] })
  })

  it("asks again after four hours, or once there was an answer, which neither a fallback nor a skip is", async () => {
    const { plane, fence } = await runOf("engineer")
    const ask = async (message: string) =>
      (await plane.mutate(service.responseRequests.create, { ...fence, recipientSlugs: ["qa"], message })).asked.length
    const answerWith = async (end: object) => {
      const { runs } = await plane.take({ leaseMs: 600_000 })
      for (const run of runs) {
        const isRequest = contextOf(run).notification.type === "response_request"
        await complete(plane, run, isRequest ? end : {})
      }
    }
    const later = () => pass(4 * hour + 1)
    expect(await ask("one")).toBe(1)
    expect(await ask("two")).toBe(0)
    await answerWith({ outcome: "fallback" })
    expect(await ask("three")).toBe(0)
    later()
    expect(await ask("four")).toBe(1)
    await answerWith({ outcome: "skipped", reason: "no response" })
    expect(await ask("five")).toBe(0)
    later()
    expect(await ask("six")).toBe(1)
    await answerWith({ outcome: "replied", reply: "It is right." })
    expect(await ask("seven")).toBe(1)
    await answerWith({ outcome: "acted" })
    expect(await ask("eight")).toBe(1)
  })

  it("does not count a reply to another event as an answer: a request that the policy refused is still open", async () => {
    const { plane, fence, taskId } = await runOf("engineer")
    const ask = async (message: string) =>
      (await plane.mutate(service.responseRequests.create, { ...fence, recipientSlugs: ["qa"], message })).asked.length
    await plane.post(taskId, "@qa hello")
    expect(await ask("one")).toBe(1)
    const run = await plane.takeOne()
    expect(contextOf(run).events.map(({ request, type }) => [type, request])).toEqual([
      ["mention", null],
      ["response_request", "one"]
    ])
    await complete(plane, run, { outcome: "replied", reply: "Hello.", refused: [{ event: 1, reason: "no" }] })
    expect(await ask("two")).toBe(0)
    pass(4 * hour + 1)
    expect(await ask("three")).toBe(1)
    await complete(plane, await plane.takeOf("qa"), { outcome: "replied", reply: "Yes." })
    expect(await ask("four")).toBe(1)
  })

  it("joins its recipient's ready notification on the task, and is answered with it", async () => {
    const { plane, fence, taskId } = await runOf("engineer")
    await plane.post(taskId, "@qa hello")
    const ask = (message: string) =>
      plane.mutate(service.responseRequests.create, { ...fence, recipientSlugs: ["qa"], message })
    const { asked } = await ask("one")
    const run = await plane.takeOne()
    expect(asked).toEqual([{ slug: "qa", notificationId: run.id }])
    await complete(plane, run, { outcome: "replied", reply: "Yes." })
    expect((await ask("two")).asked).toHaveLength(1)
  })

  it("is no longer open if the notification was discarded", async () => {
    const { plane, fence } = await runOf("engineer")
    const ask = async (message: string) =>
      (await plane.mutate(service.responseRequests.create, { ...fence, recipientSlugs: ["qa"], message })).asked.length
    await ask("one")
    const run = await plane.takeOne()
    const failure = { class: "TurnRefused", error: "no", silence: false, silenceLimit: 3 }
    await plane.mutate(service.notifications.fail, { ...fenceOf(run), ...failure })
    expect(await ask("two")).toBe(0)
    await plane.mutate(service.notifications.discardDeadLetter, { id: run.id })
    expect(await ask("three")).toBe(1)
  })

  it.each([
    ["no recipients", { recipientSlugs: [] }, "invalid"],
    ["eleven recipients", { recipientSlugs: Array.from({ length: 11 }, (_, index) => `a${index}`) }, "limit"],
    ["an empty message", { message: " " }, "invalid"],
    ["1,001 characters", { message: "x".repeat(1_001) }, "limit"]
  ])("refuses %s", async (_, more, code) => {
    const { plane, fence } = await runOf("engineer")
    const call = plane.mutate(service.responseRequests.create, {
      ...fence,
      recipientSlugs: ["qa"],
      message: "?",
      ...more
    })
    expect(await codeOf(call)).toBe(code)
  })
})

describe("task_link_pr", () => {
  const gitHub = (bodies: { body: string }, failures = 0) => {
    let left = failures
    const calls: Array<string> = []
    vi.stubGlobal("fetch", async (url: string, init: RequestInit = {}) => {
      const method = init.method ?? "GET"
      calls.push(`${method} ${url.replace("https://api.github.com/repos/", "")}`)
      if (left > 0) {
        left -= 1
        return new Response("busy", { status: 503 })
      }
      if (method === "PATCH") bodies.body = (JSON.parse(String(init.body)) as { body: string }).body
      return Response.json({ body: bodies.body })
    })
    vi.stubEnv("GITHUB_TOKEN", "t0ken")
    vi.stubEnv("GITHUB_REPO", "acme/pump")
    return calls
  }
  const finishJobs = (plane: Plane) => plane.t.finishAllScheduledFunctions(() => vi.advanceTimersByTime(60_000), 20)
  const summaries = async (plane: Plane, taskId: string) =>
    (await plane.seen(api.app.activities.list, { taskId })).map((each) => each.summary)

  it("writes the number, and nothing else without a repository on the deployment", async () => {
    const { plane, taskId, fence } = await runOf("lead")
    const link = (prNumber: number) => plane.mutate(service.tasks.linkPullRequest, { ...fence, taskId, prNumber })
    expect(await link(7)).toEqual({ taskId, prNumber: 7, changed: true, github: "off" })
    expect(await link(7)).toMatchObject({ changed: false })
    expect((await plane.query(service.tasks.get, { taskId })).task.prNumber).toBe(7)
    for (const bad of [0, -1, 1.5, Number.NaN]) expect(await codeOf(link(bad))).toBe("invalid")
  })

  it("names the task in the pull request, once however often it is linked", async () => {
    const pullRequest = { body: "Fixes the pump." }
    const calls = gitHub(pullRequest)
    const { plane, taskId, fence } = await runOf("lead")
    const link = () => plane.mutate(service.tasks.linkPullRequest, { ...fence, taskId, prNumber: 7 })
    expect(await link()).toMatchObject({ github: "queued" })
    await finishJobs(plane)
    await link()
    await finishJobs(plane)
    expect(calls).toEqual(["GET acme/pump/pulls/7", "PATCH acme/pump/pulls/7"])
    expect(pullRequest.body.split(taskId)).toHaveLength(3)
    expect(await summaries(plane, taskId)).toContain("pull request #7 names this task on GitHub")
  })

  it("is retried with growing delays, and shows its last failure", async () => {
    const pullRequest = { body: "" }
    const calls = gitHub(pullRequest, 5)
    const { plane, taskId, fence } = await runOf("lead")
    await plane.mutate(service.tasks.linkPullRequest, { ...fence, taskId, prNumber: 7 })
    await finishJobs(plane)
    expect(calls).toHaveLength(5)
    const failed = (await summaries(plane, taskId)).find((each) => each.includes("could not be linked"))
    expect(failed).toContain("503")
    expect(failed).not.toContain("t0ken")
  })
})

describe("get_agent_skills", () => {
  it("returns the enabled skills of an agent, and profiles contain the contents of workspaces", async () => {
    const { plane } = await runOf("engineer")
    const skill = (slug: string, isEnabled: boolean) =>
      plane.asPerson(api.app.skills.upsert, { slug, name: slug, description: "d", content: `# ${slug}`, isEnabled })
    const skillIds = [(await skill("weld", true)).skillId, (await skill("paint", false)).skillId]
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, skillIds, soul: "calm" })
    const { agents, skills } = await plane.query(service.agents.skills, { agentSlug: "@Engineer" })
    expect(agents).toEqual([{ slug: "engineer", name: "Engineer", skillSlugs: ["weld"] }])
    expect(skills).toMatchObject([{ slug: "weld", content: "# weld" }])
    const profiles = await plane.query(service.agents.profiles, {})
    expect(profiles.agents.find((agent) => agent.slug === "engineer")).toMatchObject({
      soul: "calm",
      skillSlugs: ["weld"]
    })
    expect(profiles.skills).toHaveLength(1)
    expect(await codeOf(plane.query(service.agents.skills, { agentSlug: "nobody" }))).toBe("not_found")
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, identity: "a welder", name: "Welder" })
    const changed = (await plane.query(service.agents.profiles, {})).agents.find((agent) => agent.slug === "engineer")
    expect(changed).toMatchObject({ name: "Welder", soul: "calm", identity: "a welder", userText: "" })
    const [activity] = await plane.seen(api.app.activities.list, { limit: 1 })
    expect(activity?.summary).toBe("agent engineer: changed name, identity")
    const before = profiles.revision
    await plane.asPerson(api.app.skills.remove, { skillId: first(skillIds) })
    const after = await plane.query(service.agents.list, {})
    expect(after.revision).toBeGreaterThan(before)
    expect((await plane.query(service.agents.skills, { agentSlug: "engineer" })).skills).toEqual([])
  })

  it("returns the enabled skills of all agents, each skill once", async () => {
    const { plane } = await runOf("engineer")
    const skillOf = async (slug: string) => {
      const skill = { slug, name: slug, description: "d", content: `# ${slug}` }
      return (await plane.asPerson(api.app.skills.upsert, skill)).skillId
    }
    const [weld = "", paint = "", spare = ""] = [await skillOf("weld"), await skillOf("paint"), await skillOf("spare")]
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, skillIds: [weld, paint] })
    await plane.asPerson(api.app.agents.update, { agentId: plane.qa, skillIds: [weld] })
    const { agents, skills } = await plane.query(service.agents.skills, {})
    expect(new Map(agents.map(({ skillSlugs, slug }) => [slug, skillSlugs]))).toEqual(
      new Map([
        ["lead", []],
        ["engineer", ["paint", "weld"]],
        ["qa", ["weld"]]
      ])
    )
    expect(skills.map(({ id }) => id)).toEqual([paint, weld])
    expect(skills.map(({ id }) => id)).not.toContain(spare)
  })

  it("reads no more skills than fit into one answer", async () => {
    const { plane } = await runOf("engineer")
    const skillIds: Array<string> = []
    for (let index = 0; index < 40; index += 1) {
      const skill = { slug: `s${index}`, name: "Long", description: "d", content: "x".repeat(100_000) }
      skillIds.push((await plane.asPerson(api.app.skills.upsert, skill)).skillId)
    }
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, skillIds })
    expect((await plane.query(service.agents.skills, {})).skills).toHaveLength(30)
  })
})
