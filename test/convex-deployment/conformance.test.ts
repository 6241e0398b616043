import { assert, describe, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { codeOf, newAccount, newPerson, serviceOf, subscription } from "./target.ts"

const team = [
  { slug: "engineer", name: "Engineer", role: "builds", flags: { canCreateTasks: true, canCreateDocuments: true } },
  { slug: "qa", name: "QA", role: "tests" }
]
const { account, ask, person, tell } = await newAccount(team)
const { accountId } = account

type Run = { readonly id: string; readonly session: string; readonly epoch: number }
const fenceOf = ({ epoch, id, session }: Run) => ({ run: id, session, epoch })

/** An account of its own with a task on which a person has mentioned the engineer. */
const mentioned = async () => {
  const house = await newAccount(team)
  const { taskId } = await house.tell("app/tasks:create", { title: "Fix the login button" })
  await house.tell("app/messages:post", { taskId, content: "@engineer please" })
  const complete = (run: Run, reply = "Done.") =>
    house.service.mutation(api.service.notifications.complete, {
      ...fenceOf(run),
      outcome: "replied",
      turn: "answered",
      reply,
      settings: { maxHops: 12, quietTimeMs: 0, quietLimitMs: 0 }
    })
  return { ...house, taskId: String(taskId), complete }
}

describe("people", () => {
  it("own the accounts that they make", async () => {
    const accounts = await person.query("app/accounts:list", {})
    assert.deepEqual(accounts, [{ accountId, name: "Conformance test", role: "owner" }])
  })

  it("cannot read or change another account", async () => {
    const stranger = newPerson()
    assert.equal(await codeOf(stranger.query("app/tasks:list", { accountId })), "forbidden")
    assert.equal(await codeOf(stranger.mutation("app/tasks:create", { accountId, title: "T" })), "forbidden")
  })

  it("see the agents of their account", async () => {
    const agents: ReadonlyArray<{ readonly slug: string }> = await ask("app/agents:list")
    assert.deepEqual(agents.map(({ slug }) => slug).toSorted(), ["engineer", "qa"])
  })

  it("move a task along its allowed steps only", async () => {
    const { taskId } = await tell("app/tasks:create", { title: "Steps" })
    assert.equal(await codeOf(tell("app/tasks:setStatus", { taskId, status: "review" })), "invalid")
    await tell("app/tasks:setStatus", { taskId, status: "archived" })
    assert.equal((await ask("app/tasks:get", { taskId })).task.status, "archived")
  })

  it("write documents and read them back", async () => {
    const written = { title: "Notes", content: "größer 👍", type: "note" }
    const { documentId } = await tell("app/documents:upsert", written)
    assert.include(await ask("app/documents:get", { documentId }), { title: "Notes", content: "größer 👍" })
  })
})

describe("a service token", () => {
  it("is needed, and is good for its own account only", async () => {
    const other = await newAccount([])
    const asked = (credentials: Parameters<typeof serviceOf>[0]) =>
      codeOf(serviceOf(credentials).query(api.service.agents.list, {}))
    assert.isNull(await asked(account))
    assert.equal(
      await asked({ accountId, serviceToken: `mc_service_${accountId}_${"0".repeat(64)}` }),
      "unauthenticated"
    )
    assert.equal(await asked({ accountId, serviceToken: other.account.serviceToken }), "forbidden")
  })

  it("ends its calls and subscriptions when it is revoked", async () => {
    const { id, serviceToken } = await tell("app/tokens:provision", { label: "short-lived" })
    const credentials = { accountId, serviceToken }
    const wakes = subscription(credentials, api.service.notifications.wake, {})
    await wakes.next((result) => !(result instanceof Error))
    await tell("app/tokens:revoke", { id })
    await wakes.next((result) => result instanceof Error)
    await wakes.close()
    assert.equal(await codeOf(serviceOf(credentials).query(api.service.agents.list, {})), "unauthenticated")
  })
})

describe("a delivery", () => {
  it("is pushed when a person writes", async () => {
    const { account, tell } = await newAccount(team)
    const wakes = subscription(account, api.service.notifications.wake, {})
    const before = await wakes.next((result) => !(result instanceof Error))
    assert.notInstanceOf(before, Error)
    const { taskId } = await tell("app/tasks:create", { title: "Pushed" })
    await tell("app/messages:post", { taskId, content: "@engineer please" })
    await wakes.next((result) => !(result instanceof Error) && result.count > (before as { count: number }).count)
    await wakes.close()
  })

  it("goes to one of several runtimes with its context, and its reply is posted once", async () => {
    const { ask, boot, claim, complete, taskId } = await mentioned()
    const others = await Promise.all(["second", "third"].map((runtimeId) => boot(runtimeId)))
    const answers = await Promise.all([claim(), ...others.map((other) => other.claim())])
    const runs = answers.flatMap(({ runs }) => runs)
    assert.lengthOf(runs, 1)
    const run = runs[0]!
    assert.include(run, { kind: "notification", attempt: 1, failures: 0, silences: 0 })
    assert.deepEqual("context" in run && "thread" in run.context && run.context.thread.map(({ content }) => content), [
      "@engineer please"
    ])

    const answer = await complete(run, "I have looked.")
    assert.equal((await complete(run, "I have looked.")).messageId, answer.messageId)
    const thread: ReadonlyArray<{ readonly content: string }> = await ask("app/messages:list", { taskId })
    assert.deepEqual(
      thread.map(({ content }) => content),
      ["@engineer please", "I have looked."]
    )
    const rows: ReadonlyArray<Record<string, unknown>> = await ask("app/notifications:list", { taskId })
    assert.deepInclude(
      rows.find((row) => row["recipientType"] === "agent"),
      { state: "delivered", outcome: "replied", recipientName: "Engineer" }
    )
  })

  it("is offered again to a process that does not name it, as the same attempt", async () => {
    const { claim, complete } = await mentioned()
    const [lost] = (await claim()).runs
    const [again] = (await claim()).runs
    assert.include(again, { id: lost!.id, session: lost!.session, attempt: 1 })
    assert.isAbove(again!.epoch, lost!.epoch)
    assert.lengthOf((await claim({ held: [again!] })).runs, 0)
    assert.equal(await codeOf(complete(lost!)), "lease_lost")
    await complete(again!)
  })

  it("is not leased by a claim that arrives late", async () => {
    const { claim } = await mentioned()
    assert.lengthOf((await claim({ number: 2 })).runs, 1)
    assert.lengthOf((await claim({ number: 1 })).runs, 0)
  })

  it("is renewed with all others in one call, which tells what is lost and what was not named", async () => {
    const { claim, renew } = await mentioned()
    const [run] = (await claim()).runs
    assert.include(await renew([run!]), { hasUnnamed: false })
    const stale = { session: run!.session, epoch: run!.epoch - 1 }
    assert.deepInclude(await renew([stale]), { lost: [stale], hasUnnamed: true })
  })

  it("that was released is claimed again, and its old lease can no longer complete it", async () => {
    const { claim, complete, service } = await mentioned()
    const [first] = (await claim()).runs
    await service.mutation(api.service.notifications.release, fenceOf(first!))
    const [again] = (await claim()).runs
    assert.isAbove(again!.epoch, first!.epoch)
    assert.equal(again!.attempt, 1)
    assert.equal(await codeOf(complete(first!)), "lease_lost")
    await complete(again!)
  })

  it("is released by the last claim of its process, and another one gets it", async () => {
    const { boot, claim } = await mentioned()
    const [first] = (await claim()).runs
    assert.lengthOf((await claim({ limit: 0 })).runs, 0)
    assert.equal(await codeOf(claim()), "conflict")
    const [again] = (await (await boot("second")).claim()).runs
    assert.include(again, { id: first!.id, attempt: 1 })
  })

  it("lets its agent create a task once, find it and write a document on it", async () => {
    const { claim, service } = await mentioned()
    const [run] = (await claim()).runs
    const fence = { ...fenceOf(run!), settings: { maxHops: 12, quietTimeMs: 0, quietLimitMs: 0 } }
    const made = { ...fence, title: "Replace the quokka parser" }
    const first = await service.mutation(api.service.tasks.create, made)
    const second = await service.mutation(api.service.tasks.create, made)
    assert.deepEqual([first.repeated, second.repeated, second.taskId], [false, true, first.taskId])
    const found = await service.query(api.service.tasks.search, { query: "quokka" })
    assert.deepEqual(
      found.tasks.map(({ title }) => title),
      ["Replace the quokka parser"]
    )
    const document = { ...fence, title: "Plan", content: "Steps", type: "note" as const }
    const { documentId } = await service.mutation(api.service.documents.upsert, document)
    assert.equal((await service.query(api.service.documents.get, { documentId })).document.title, "Plan")
  })

  it("is refused to a boot that a newer one has replaced", async () => {
    const { boot, claim } = await newAccount(team)
    await boot()
    assert.equal(await codeOf(claim()), "conflict")
  })
})
