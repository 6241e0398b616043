import { Webhook } from "standardwebhooks"
import { describe, expect, it, vi } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { announce } from "../../convex/model/webhooks/announce.ts"
import { bodyOf } from "../../convex/model/webhooks/webhookEvents.ts"
import type { WebhookType } from "../../src/domain/shared/WebhookType.ts"
import { hour, minute, stopTime } from "./clock.ts"
import {
  codeOf,
  complete,
  fail,
  fenceOf,
  first,
  makeTask,
  only,
  type Plane,
  seededPlane,
  settings,
  spent
} from "./controlPlane.ts"
import { footprintOf } from "./footprint.ts"

stopTime()

const { webhooks } = api.app
const url = "https://hooks.example.com/in?key=opensesame"
const second = 1_000

/** A receiver that answers with these statuses, then with 204, and what it received. `null` is a lost connection. */
const receiver = (...statuses: Array<number | null>) => {
  const received: Array<{ readonly url: string; readonly init: RequestInit; readonly at: number }> = []
  vi.stubGlobal("fetch", async (to: string, init: RequestInit) => {
    received.push({ url: to, init, at: Date.now() })
    const status = statuses.length === 0 ? 204 : statuses.shift()!
    if (status === null) throw new Error(`error sending request for url (${to})`)
    return new Response(status === 204 ? null : "the receiver's words", { status })
  })
  return received
}

/** Advances the clock, and runs the scheduled functions that are due with all that they schedule for now. */
const pass = async (plane: Plane, ms: number) => {
  vi.advanceTimersByTime(ms)
  for (let step = 0; step < 5; step += 1) {
    await plane.t.finishInProgressScheduledFunctions()
    vi.advanceTimersByTime(0)
  }
  await plane.t.finishInProgressScheduledFunctions()
}

/** An account with a webhook for these types. */
const subscribed = async (...types: ReadonlyArray<WebhookType>) => {
  const plane = await seededPlane()
  const { id, secret } = await plane.asPerson(webhooks.add, { url, types: [...types] })
  const history = () => plane.seen(webhooks.history, { id })
  const verified = ({ init }: { readonly init: RequestInit }) =>
    new Webhook(secret).verify(String(init.body), init.headers as Record<string, string>) as {
      readonly type: string
      readonly timestamp: string
      readonly data: Record<string, unknown>
    }
  const shown = async () => only(await plane.seen(webhooks.list, {}))
  const test = async () => (await plane.asPerson(webhooks.test, { id })).deliveryId
  return { plane, id, secret, history, verified, shown, test }
}

const dieOne = async (plane: Plane) => {
  const taskId = await makeTask(plane, [plane.engineer])
  const run = await plane.takeOne()
  await fail(plane, run, { error: "the provider said opensesame" })
  return { taskId, run }
}

const activities = async (plane: Plane) =>
  (await plane.seen(api.app.activities.list, {})).filter(({ type }) => type.startsWith("webhook_"))

describe("a webhook", () => {
  it("gets an event once, signed by Standard Webhooks", async () => {
    const received = receiver()
    const { history, plane, verified } = await subscribed("dead_letter.created")
    const { run, taskId } = await dieOne(plane)
    const [pending] = await history()
    expect(pending).toMatchObject({ state: "pending", attempts: 0, status: null, endedAt: null })
    await pass(plane, 0)
    const request = only(received)
    expect(request.url).toBe(url)
    expect(request.init).toMatchObject({ method: "POST", redirect: "manual" })
    const now = new Date("2026-01-05T10:00:00Z")
    expect(request.init.headers).toMatchObject({
      "content-type": "application/json",
      "webhook-id": `msg_${pending?.id}`,
      "webhook-timestamp": String(now.getTime() / 1_000)
    })
    expect(verified(request)).toEqual({
      type: "dead_letter.created",
      timestamp: now.toISOString(),
      data: {
        accountId: plane.accountId,
        notificationId: run.id,
        taskId,
        agentId: plane.engineer,
        failure: "TurnTimeout",
        text: "A notification (assignment) could not be delivered in 1 attempts: TurnTimeout. Retry or discard it with dead-letters."
      }
    })
    expect(only(await history())).toMatchObject({ state: "delivered", attempts: 1, status: 204, error: null })
    await pass(plane, 24 * hour)
    expect(received).toHaveLength(1)
  })

  it("gets only the types that it asked for, and every type if it asked for none", async () => {
    const received = receiver()
    const { plane } = await subscribed("runtime.offline")
    await plane.asPerson(webhooks.add, { url: "https://all.example.com" })
    await dieOne(plane)
    await pass(plane, 0)
    expect(received.map((each) => each.url)).toEqual(["https://all.example.com/"])
  })

  it("gets nothing of a transaction that failed", async () => {
    const received = receiver()
    const { history, plane } = await subscribed("dead_letter.created")
    await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    expect(await codeOf(fail(plane, { ...run, epoch: run.epoch + 1 }))).toBe("lease_lost")
    await pass(plane, 0)
    expect([received, await history()]).toEqual([[], []])
  })

  it("costs an account without webhooks one read, and no write", async () => {
    const plane = await seededPlane()
    const taskId = (await makeTask(plane)) as Id<"tasks">
    const { documents, ranges, writes } = await footprintOf(plane, (ctx, accountId) =>
      announce(ctx, accountId, { type: "limit.hops", data: { taskId, limit: 1, text: "the limit" } })
    )
    expect(ranges.map(({ table }) => table)).toEqual(["webhooks"])
    expect([documents.size, writes.size]).toEqual([0, 0])
  })
})

describe("an event is sent", () => {
  const sentTo = async (type: WebhookType, cause: (plane: Plane) => Promise<void>) => {
    const received = receiver()
    const { plane, verified } = await subscribed(type)
    await cause(plane)
    await pass(plane, 0)
    return received.map(verified)
  }
  const relay = async (plane: Plane, options: { readonly maxTurns?: number; readonly maxHops?: number }) => {
    const taskId = await makeTask(plane)
    await plane.post(taskId, "@engineer begin")
    for (let turn = 0; turn < 6; turn += 1) {
      for (const run of (await plane.take({ maxTurns: options.maxTurns ?? 40 })).runs) {
        const reply = "context" in run && run.context.agent.slug === "qa" ? "@engineer your turn" : "@qa your turn"
        const more = { settings: { ...settings, maxHops: options.maxHops ?? 12 } }
        await complete(plane, run, { outcome: "replied", reply, ...more })
      }
    }
  }

  it("when agents have used up their turns on a task", async () => {
    const event = only(await sentTo("limit.turns", (plane) => relay(plane, { maxTurns: 2 })))
    expect(event.data).toMatchObject({ limit: 2, text: expect.stringContaining("Agents have had 2 turns") })
  })

  it("when a chain of agents reaches the hop limit, once for the task", async () => {
    const event = only(await sentTo("limit.hops", (plane) => relay(plane, { maxHops: 1 })))
    expect(event.data).toMatchObject({ limit: 1, text: expect.stringContaining("MAX_AGENT_HOPS=1") })
  })

  it.each([
    ["budget.warned", 850, "80 % of"],
    ["budget.stopped", 1_000, "Work waits because"]
  ] as const)("when a budget is nearly used up or stops work: %s", async (type, tokens, text) => {
    const event = only(
      await sentTo(type, async (plane) => {
        await plane.t.run(async (ctx) => {
          for (const { _id } of await ctx.db.query("heartbeats").collect()) await ctx.db.delete("heartbeats", _id)
          for (const { _id } of await ctx.db.query("budgets").collect()) await ctx.db.delete("budgets", _id)
        })
        await plane.asPerson(api.app.budgets.set, { period: "day", unit: "tokens", limit: 1_000 })
        const taskId = await makeTask(plane, [plane.engineer])
        const run = await plane.takeOne()
        await plane.mutate(api.service.usage.allow, { ...fenceOf(run), usedTokens: tokens - 10 })
        await complete(plane, run, { usage: spent(tokens) })
        await plane.post(taskId, "@engineer more")
        await plane.take()
      })
    )
    expect(event.data).toMatchObject({ agentId: null, taskId: null, period: "day", unit: "tokens", limit: 1_000 })
    expect(event.data["text"]).toContain(text)
  })

  it("when a runtime sends no pulse, or was stopped and did not start again, but not after a restart", async () => {
    const received = receiver()
    const { plane, verified } = await subscribed("runtime.offline")
    await pass(plane, 151 * second)
    expect(only(received.map(verified)).data).toEqual({
      accountId: plane.accountId,
      runtimeId: "r1",
      isServed: false,
      text: "runtime r1 sent no pulse and is treated as offline"
    })
    await plane.pulse()
    await plane.pulse("r1", "b1", { status: "offline" })
    await pass(plane, 100 * second)
    await plane.pulse("r1", "b2")
    await plane.pulse("r2", "c1")
    expect(received).toHaveLength(1)
    await plane.pulse("r1", "b2", { status: "offline" })
    await pass(plane, 149 * second)
    await plane.pulse("r2", "c1")
    await pass(plane, 1 * second)
    expect(received.map(verified)[1]?.data).toMatchObject({
      isServed: true,
      text: "runtime r1 was stopped and has not started again"
    })
  })
})

describe("a failed attempt", () => {
  it("is retried with the same id and body, a new time and a new signature, until the receiver accepts it", async () => {
    const received = receiver(500, null, 302)
    const { history, plane, test, verified, shown } = await subscribed("limit.hops")
    const id = await test()
    await pass(plane, 0)
    const [failed] = await history()
    expect(failed).toMatchObject({ state: "pending", attempts: 1, status: 500, error: "The receiver answered 500." })
    expect((await shown()).failingSince).toBe(Date.now())
    await pass(plane, 5.5 * second)
    expect(only(await history())).toMatchObject({
      status: null,
      error: expect.stringMatching(/^Not sent: error sending/)
    })
    await pass(plane, 5.5 * minute)
    expect(only(await history())).toMatchObject({
      status: 302,
      error: "The receiver answered 302. Redirects are not followed."
    })
    await pass(plane, 33 * minute)
    expect(only(await history())).toMatchObject({ state: "delivered", attempts: 4, status: 204, error: null })
    expect((await shown()).failingSince).toBeNull()
    expect(received).toHaveLength(4)
    const headers = received.map(({ init }) => init.headers as Record<string, string>)
    expect(new Set(headers.map((each) => each["webhook-id"]))).toEqual(new Set([`msg_${id}`]))
    expect(new Set(headers.map((each) => each["webhook-signature"])).size).toBe(4)
    expect(new Set(received.map(({ init }) => init.body)).size).toBe(1)
    expect(verified(received[3]!).type).toBe("webhook.test")
  })

  it("whose action was lost with its process is retried too", async () => {
    const received = receiver()
    const { history, plane, test } = await subscribed("limit.hops")
    await test()
    vi.advanceTimersByTime(0)
    await plane.t.run(async (ctx) => {
      const jobs = await ctx.db.system.query("_scheduled_functions").collect()
      for (const { _id, name } of jobs)
        if (name.includes("webhooks") && name.includes("send")) await ctx.scheduler.cancel(_id)
    })
    await plane.t.finishInProgressScheduledFunctions()
    await plane.t.run(async (ctx) => {
      const jobs = await ctx.db.system.query("_scheduled_functions").collect()
      for (const { _id, name } of jobs) if (name.includes("send")) await ctx.scheduler.cancel(_id)
    })
    await pass(plane, 0)
    expect([received, only(await history())]).toMatchObject([[], { state: "pending", attempts: 1 }])
    await pass(plane, 2 * minute)
    expect(only(await history()).error).toBe("The attempt was interrupted, and its result is lost.")
    await pass(plane, 5.5 * second)
    expect(received).toHaveLength(1)
    expect(only(await history())).toMatchObject({ state: "delivered", attempts: 2 })
  })

  it("that takes longer than 20 s is given up", async () => {
    vi.stubGlobal("fetch", () => new Promise(() => undefined))
    const { history, plane, test } = await subscribed("limit.hops")
    await test()
    await plane.t.finishAllScheduledFunctions(() => vi.advanceTimersByTime(21 * second), 30).catch(() => undefined)
    expect(only(await history()).error).toBe("Not sent: no answer within 20 s.")
  })

  it("is followed by one attempt of its webhook at a time, so that a hanging receiver blocks no other", async () => {
    receiver(500)
    const { history, plane, test } = await subscribed("limit.hops")
    await test()
    await pass(plane, 0)
    const open: Array<(response: Response) => void> = []
    vi.stubGlobal("fetch", () => new Promise<Response>((answer) => open.push(answer)))
    await test()
    await test()
    // waitFor advances the clock in small steps.
    const attempts = async () => (await history()).map((each) => [each.attempts, each.nextAttemptAt !== null])
    const [waiting, running, failed] = [
      [0, true],
      [1, false],
      [1, true]
    ]
    await vi.waitFor(async () => expect(await attempts()).toEqual([waiting, running, failed]))
    await vi.waitFor(() => expect(open).toHaveLength(1))
    open[0]?.(new Response(null, { status: 204 }))
    vi.stubGlobal("fetch", () => Promise.resolve(new Response(null, { status: 204 })))
    await pass(plane, 0)
    await pass(plane, minute)
    expect((await history()).map(({ state }) => state)).toEqual(["delivered", "delivered", "delivered"])
  })

  it("does not count if its success arrives after it was treated as lost", async () => {
    receiver(500)
    const { history, plane, test } = await subscribed("limit.hops")
    const id = (await test()) as Id<"webhookDeliveries">
    await pass(plane, 0)
    await plane.t.mutation(internal.scheduled.webhooks.record, { id, attempt: 1, status: 200, error: null })
    await plane.t.mutation(internal.scheduled.webhooks.record, { id, attempt: 1, status: 500, error: "late" })
    await pass(plane, 24 * hour)
    expect(only(await history())).toMatchObject({ state: "delivered", attempts: 1, status: 200 })
  })
})

describe("a webhook that fails for a day", () => {
  const always500 = () => receiver(...Array.from({ length: 50 }, () => 500))

  it("is disabled, which its owner reads in an activity and a notification, and gets nothing until enabled", async () => {
    const received = always500()
    const { history, id, plane, shown, test } = await subscribed("dead_letter.created")
    await makeTask(plane, [], "the last task")
    await test()
    for (const delay of [0, 5 * second, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 8 * hour])
      await pass(plane, delay * 1.1)
    expect(received).toHaveLength(7)
    expect((await shown()).disabled).toBeNull()
    await pass(plane, 10 * hour)
    expect(received).toHaveLength(8)
    const reason = "every attempt of the last 24 hours failed"
    expect((await shown()).disabled).toMatchObject({ reason })
    expect(only(await history())).toMatchObject({ state: "failed", attempts: 8, status: 500, nextAttemptAt: null })
    const told = `The webhook to hooks.example.com is disabled, because ${reason}.`
    expect((await activities(plane)).map(({ summary, type }) => [type, summary.startsWith(told)])).toEqual([
      ["webhook_disabled", true],
      ["webhook_added", false]
    ])
    const notices = (await plane.notifications()).filter(({ recipientType }) => recipientType === "person")
    expect(notices.map(({ events, recipientName }) => [recipientName, events[0]?.text?.startsWith(told)])).toEqual([
      ["Ana", true]
    ])
    await dieOne(plane)
    expect(await codeOf(test())).toBe("conflict")
    expect(await codeOf(plane.asPerson(webhooks.resend, { deliveryId: first(await history()).id }))).toBe("conflict")
    await pass(plane, 0)
    expect(received).toHaveLength(8)
    await plane.asPerson(webhooks.enable, { id })
    expect(await codeOf(plane.asPerson(webhooks.enable, { id }))).toBe("conflict")
    expect(await shown()).toMatchObject({ disabled: null, failingSince: null })
    await dieOne(plane)
    await pass(plane, 0)
    expect(received).toHaveLength(9)
    expect((await shown()).disabled).toBeNull()
  })

  it("or answers 410 Gone is disabled, and its pending deliveries end as failed", async () => {
    const received = receiver(500, 410)
    const { history, plane, shown, test } = await subscribed("limit.hops")
    await test()
    await pass(plane, 0)
    await test()
    await pass(plane, 0)
    expect((await shown()).disabled?.reason).toBe("its receiver answered 410 Gone")
    await pass(plane, 6 * second)
    expect((await history()).map(({ error, state }) => [state, error])).toEqual([
      ["failed", "The receiver answered 410."],
      ["failed", "The webhook was disabled before this attempt."]
    ])
    expect(received).toHaveLength(2)
  })
})

describe("a delivery", () => {
  it("is resent with the same id, with new attempts, but not while it is pending", async () => {
    const received = receiver(204, 500)
    const { history, plane, test } = await subscribed("limit.hops")
    const deliveryId = await test()
    const resend = () => plane.asPerson(webhooks.resend, { deliveryId })
    expect(await codeOf(resend())).toBe("conflict")
    await pass(plane, 0)
    await resend()
    await pass(plane, 0)
    expect(only(await history())).toMatchObject({ state: "pending", attempts: 1, status: 500 })
    await pass(plane, 6 * second)
    expect(only(await history())).toMatchObject({ state: "delivered", attempts: 2 })
    const ids = received.map(({ init }) => (init.headers as Record<string, string>)["webhook-id"])
    expect(ids).toEqual([ids[0], ids[0], ids[0]])
  })

  it("fails at once if its webhook is failing with a hundred pending, and ends with its webhook", async () => {
    receiver(...Array.from({ length: 200 }, () => 500))
    const { history, id, plane, test } = await subscribed("limit.hops")
    await test()
    await pass(plane, 0)
    await plane.t.run(async (ctx) => {
      for (let count = 0; count < 99; count += 1) {
        await ctx.db.insert("webhookDeliveries", {
          accountId: plane.accountId as Id<"accounts">,
          webhookId: id as Id<"webhooks">,
          type: "limit.hops",
          body: "{}",
          state: "pending",
          attempts: 1
        })
      }
    })
    await test()
    await pass(plane, 0)
    expect(first(await history())).toMatchObject({
      state: "failed",
      attempts: 0,
      error: expect.stringContaining("100")
    })
    await plane.t.run(async (ctx) => {
      for (const { _id } of await ctx.db.query("webhookDeliveries").take(90))
        await ctx.db.delete("webhookDeliveries", _id)
    })
    await test()
    await pass(plane, 0)
    await plane.asPerson(webhooks.remove, { id })
    await pass(plane, 6 * second)
    expect(first(await plane.seen(webhooks.history, {})).error).toBe("The webhook was removed before this attempt.")
    expect(await codeOf(history())).toBe("not_found")
  })

  it("is deleted thirty days after its end", async () => {
    receiver()
    const { history, plane, test } = await subscribed("limit.hops")
    await test()
    await pass(plane, 0)
    vi.setSystemTime(Date.now() + 29 * 24 * hour)
    await plane.t.mutation(internal.scheduled.retention.sweep, {})
    expect(await history()).toHaveLength(1)
    vi.setSystemTime(Date.now() + 2 * 24 * hour)
    await plane.t.mutation(internal.scheduled.retention.sweep, {})
    expect(await history()).toHaveLength(0)
  })

  it("has a body of less than 20 kB, with texts of at most 500 characters", () => {
    const text = "\u0001".repeat(10_000)
    const ids = { approvalId: text, taskId: text as Id<"tasks">, agentId: text as Id<"agents">, tool: text }
    const body = bodyOf("a" as Id<"accounts">, { type: "approval.requested", data: { ...ids, text } }, 0)
    expect(new TextEncoder().encode(body).length).toBeLessThan(20_000)
    expect(JSON.parse(body).data.text).toHaveLength(500)
  })
})

describe("the functions for webhooks", () => {
  it("find only webhooks and deliveries of the caller's account", async () => {
    receiver()
    const { id, plane, test } = await subscribed("limit.hops")
    const deliveryId = await test()
    const { accountId } = await plane.secondAccount()
    const mallory = plane.t.withIdentity({ subject: "mallory", name: "Mallory" })
    for (const call of [webhooks.remove, webhooks.enable, webhooks.test]) {
      expect(await codeOf(mallory.mutation(call, { accountId, id }))).toBe("not_found")
    }
    expect(await codeOf(mallory.mutation(webhooks.resend, { accountId, deliveryId }))).toBe("not_found")
    expect(await codeOf(mallory.query(webhooks.history, { accountId, id }))).toBe("not_found")
    expect(await mallory.query(webhooks.history, { accountId })).toEqual([])
  })

  it("show a secret once, and neither secret nor path to other members", async () => {
    receiver(null)
    const { history, plane, secret, shown, test } = await subscribed("limit.hops")
    await test()
    await pass(plane, 0)
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    const all = JSON.stringify([await shown(), await history(), await activities(plane)])
    expect(all).not.toContain(secret)
    expect(JSON.stringify([await history(), await activities(plane)])).not.toContain("opensesame")
  })

  it("allow ten webhooks, and only public addresses", async () => {
    const plane = await seededPlane()
    const add = (to: string) => plane.asPerson(webhooks.add, { url: to })
    for (const bad of ["https://10.0.0.1", "http://hooks.example.com", "https://localhost", "nonsense"])
      expect(await codeOf(add(bad))).toBe("invalid")
    expect(await codeOf(plane.asPerson(webhooks.add, { url, types: [] }))).toBe("invalid")
    for (let count = 0; count < 10; count += 1) await add(url)
    expect(await codeOf(add(url))).toBe("limit")
  })

  it("check the address again before they send", async () => {
    const received = receiver()
    vi.stubEnv("ALLOW_LOCAL_WEBHOOKS", "true")
    const { history, id, plane, test } = await subscribed("limit.hops")
    await plane.t.run((ctx) => ctx.db.patch("webhooks", id as Id<"webhooks">, { url: "http://127.0.0.1:8080/" }))
    await test()
    await pass(plane, 0)
    expect(received).toHaveLength(1)
    vi.stubEnv("ALLOW_LOCAL_WEBHOOKS", "")
    await test()
    await pass(plane, 0)
    expect(received).toHaveLength(1)
    expect(first(await history())).toMatchObject({
      state: "pending",
      status: null,
      error: expect.stringContaining("https")
    })
  })
})
