import { assert, describe, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { codeOf, newAccount, newPerson, serviceOf, subscription } from "./target.ts"

const team = [
  { slug: "engineer", name: "Engineer", role: "builds", flags: { canCreateTasks: true, canCreateDocuments: true } },
  { slug: "qa", name: "QA", role: "tests" }
]
const { account, ask, person, tell } = await newAccount(team)
const { accountId } = account

type Lease = { readonly session: string; readonly epoch: number }
const fenceOf = ({ session, epoch }: Lease): Lease => ({ session, epoch })

/** An account of its own with a task on which a person has mentioned the engineer. */
const mentioned = async () => {
  const house = await newAccount(team)
  const { taskId } = await house.tell("app/tasks:create", { title: "Fix the login button" })
  await house.tell("app/messages:post", { taskId, content: "@engineer please" })
  const complete = (lease: Lease, reply = "Done.") =>
    house.service.mutation(api.service.notifications.complete, {
      ...fenceOf(lease),
      outcome: "replied",
      reply,
      maxHops: 12
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
    const backlog = subscription(credentials, api.service.notifications.backlog, {})
    await backlog.next((result) => !(result instanceof Error))
    await tell("app/tokens:revoke", { id })
    await backlog.next((result) => result instanceof Error)
    await backlog.close()
    assert.equal(await codeOf(serviceOf(credentials).query(api.service.agents.list, {})), "unauthenticated")
  })
})

describe("a delivery", () => {
  it("is pushed when a person writes", async () => {
    const { account, tell } = await newAccount(team)
    const backlog = subscription(account, api.service.notifications.backlog, {})
    await backlog.next((result) => !(result instanceof Error) && result.newestId === null)
    const { taskId } = await tell("app/tasks:create", { title: "Pushed" })
    await tell("app/messages:post", { taskId, content: "@engineer please" })
    await backlog.next((result) => !(result instanceof Error) && result.newestId !== null)
    await backlog.close()
  })

  it("goes to one of several claims, and its reply is posted once", async () => {
    const { ask, claim, complete, service, taskId } = await mentioned()
    const claims = await Promise.all([claim(), claim(), claim()])
    const deliveries = claims.flatMap(({ deliveries }) => deliveries)
    assert.lengthOf(deliveries, 1)
    const delivery = deliveries[0]!
    const read = { ids: delivery.notificationIds, epochs: [delivery.epoch] }
    assert.lengthOf(await service.query(api.service.notifications.context, read), 1)

    const answer = await complete(delivery, "I have looked.")
    assert.equal((await complete(delivery, "I have looked.")).messageId, answer.messageId)
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

  it("is the answer of a repeated claim, too", async () => {
    const { claim } = await mentioned()
    const idsOf = async (requestId: string) =>
      (await claim(requestId)).deliveries.map(({ notificationIds }) => notificationIds)
    const requestId = crypto.randomUUID()
    const first = await idsOf(requestId)
    assert.lengthOf(first, 1)
    assert.deepEqual(await idsOf(requestId), first)
    assert.lengthOf(await idsOf(crypto.randomUUID()), 0)
  })

  it("that was released is claimed again, and its old lease can no longer complete it", async () => {
    const { claim, complete, service } = await mentioned()
    const [first] = (await claim()).deliveries
    await service.mutation(api.service.notifications.release, { ...fenceOf(first!), maxHops: 12 })
    const [again] = (await claim()).deliveries
    assert.isAbove(again!.epoch, first!.epoch)
    assert.equal(await codeOf(complete(first!)), "lease_lost")
    await complete(again!)
  })

  it("lets its agent create a task once, find it and write a document on it", async () => {
    const { claim, service } = await mentioned()
    const [delivery] = (await claim()).deliveries
    const run = { ...fenceOf(delivery!), maxHops: 12 }
    const made = { ...run, title: "Replace the quokka parser" }
    const first = await service.mutation(api.service.tasks.create, made)
    const second = await service.mutation(api.service.tasks.create, made)
    assert.deepEqual([first.repeated, second.repeated, second.taskId], [false, true, first.taskId])
    const found = await service.query(api.service.tasks.search, { query: "quokka" })
    assert.deepEqual(
      found.tasks.map(({ title }) => title),
      ["Replace the quokka parser"]
    )
    const document = { ...run, title: "Plan", content: "Steps", type: "note" as const }
    const { documentId } = await service.mutation(api.service.documents.upsert, document)
    assert.equal((await service.query(api.service.documents.get, { documentId })).document.title, "Plan")
  })

  it("is refused to a boot that a newer one has replaced", async () => {
    const { boot, claim } = await newAccount(team)
    await boot()
    assert.equal(await codeOf(claim()), "conflict")
  })
})
