import { execFile } from "node:child_process"
import { copyFileSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterAll, assert, beforeAll, beforeEach, describe, it, vi } from "vitest"
import { loadApp } from "../../local/plane/app.ts"
import { readHistory } from "../../local/plane/callHistory.ts"
import type { HistoricCall } from "../../local/plane/callHistory.ts"
import { DurableFile } from "../../local/plane/durableFile.ts"
import { Engine } from "../../local/plane/engine.ts"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { PROTOCOL } from "../../src/domain/shared/Protocol.ts"
import { linesOf, replay } from "./history.ts"

const folder = mkdtempSync(join(tmpdir(), "history-"))
afterAll(() => {
  vi.useRealTimers()
  rmSync(folder, { recursive: true })
})

const settings = { maxHops: 4, quietTimeMs: 0, quietLimitMs: 60_000 }
const ana = {
  subject: "ana",
  name: "Ana",
  issuer: "https://local.invalid",
  tokenIdentifier: "https://local.invalid|ana"
}
const minutes = (count: number) => vi.setSystemTime(Date.now() + count * 60_000)

/** A plane with a history, played for an hour by a team and a runtime; answers the runtime's token. */
const play = async (file: string): Promise<string> => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z"), toFake: ["Date"] })
  const durable = new DurableFile(file, true)
  const engine = new Engine({
    app: await loadApp(join(import.meta.dirname, "../../convex")),
    persist: (commit) => durable.write(commit),
    hasHistory: () => durable.hasHistory,
    transactionTimeout: 60_000,
    onStuck: (path) => assert.fail(`${path} is stuck`),
    log: () => {}
  })
  const call = async (path: string, args: object, identity: typeof ana | null, isAdmin = false): Promise<any> => {
    vi.setSystemTime(Date.now() + 7)
    const result = await engine.run({ path, args: { ...args }, identity, isAdmin, origin: "client" })
    if (result.status === "success") return result.value
    return { refused: result.status === "error" ? (result.errorData as { code: string }).code : result.code }
  }
  const { accountId } = await call("app/accounts:create", { name: "Acme" }, ana)
  const asPerson = (path: string, args: object) => call(path, { accountId, ...args }, ana)
  const { serviceToken } = await asPerson("app/tokens:provision", {})
  const service = (path: string, args: object) => call(path, { accountId, serviceToken, ...args }, null)
  await asPerson("app/agents:create", { slug: "lead", name: "Squad Lead", isOrchestrator: true })
  const { agentId: engineer } = await asPerson("app/agents:create", {
    slug: "engineer",
    name: "Engineer",
    heartbeat: 30
  })
  await asPerson("app/agents:create", { slug: "qa", name: "QA", flags: { canReviewTasks: true } })

  let number = 0
  const runtime = { runtimeId: "r1", bootId: "b1" }
  const pulse = () =>
    service(functions.pulse, {
      ...runtime,
      status: "online",
      reasons: [],
      intervalMs: 60_000,
      versions: { runtime: "1.0.0", openclaw: null },
      infrastructure: { dropletId: null, ipAddress: null, region: null }
    })
  const claim = async (more: object = {}): Promise<ReadonlyArray<any>> => {
    const limits = { limit: 4, heartbeatLimit: 2, leaseMs: 90_000, maxAttempts: 4, maxTurns: 40 }
    const named = { held: [], abandoned: [], recoverUnnamed: false }
    const request = { protocol: PROTOCOL, ...runtime, number: (number += 1), ...limits, ...named, ...more }
    return (await service(functions.claim, request)).runs
  }
  const fenceOf = ({ epoch, id: run, session }: any) => ({ run, session, epoch })
  const reply = (run: any, words: string) =>
    service(functions.complete, { ...fenceOf(run), outcome: "replied", reply: words, turn: "answered", settings })
  const end = (run: any, words: string) =>
    run.kind === "notification"
      ? reply(run, words)
      : service(functions.updateAgentHeartbeat, { ...fenceOf(run), settings, status: "idle" })

  await pulse()
  const { taskId } = await asPerson("app/tasks:create", { title: "Fix the login", assigneeIds: [engineer] })
  await asPerson("app/messages:post", {
    taskId,
    content: "@engineer, please hurry. @lead waits, qa@acme.example does not."
  })
  const [first] = await claim()
  await service(functions.renew, {
    ...runtime,
    leaseMs: 90_000,
    leases: [{ session: first.session, epoch: first.epoch }]
  })
  await service(functions.setTaskStatus, { ...fenceOf(first), settings, taskId, status: "review" })
  await reply(first, " It works now. @qa, please check.\n")
  for (const run of await claim()) {
    await service(functions.fail, {
      ...fenceOf(run),
      class: "TurnTimeout",
      error: "too long",
      silence: false,
      silenceLimit: 2,
      nextAttemptAt: Date.now() + 1_000
    })
  }
  minutes(1)
  const [late] = await claim({ limit: 1 })
  // Its process is gone: another one takes the work, and what the old one still sends is refused.
  runtime.bootId = "b2"
  number = 0
  await pulse()
  const taken = await claim()
  await reply(late, "Too late.")
  for (const run of taken) await end(run, "Looks good.")
  await asPerson("app/agents:pause", { agentId: engineer, release: true })
  await asPerson("app/messages:post", { taskId, content: "@engineer one more thing" })
  await claim()
  await asPerson("app/agents:resume", { agentId: engineer })
  await claim()
  await asPerson("app/runs:stop", { agent: "engineer", reason: "enough" })
  minutes(60)
  await pulse()
  for (const run of await claim()) await end(run, "Done.")
  await asPerson("app/policies:set", { tool: "task_status", effect: "ask" })
  await asPerson("app/messages:post", { taskId, content: "@engineer, ask me for the branch" })
  const asking = (await claim()).find(({ kind }) => kind === "notification")
  const request = { ...fenceOf(asking), settings, taskId }
  await service(functions.requestResponses, { ...request, recipientSlugs: ['@"Ana"'], message: " Which branch?" })
  await asPerson("app/messages:post", { taskId, content: "The main branch" })
  await service(functions.join, { ...fenceOf(asking), known: 0, settings })
  /** The id of the request for approval of this call. */
  const asked = async (status: string): Promise<string> => {
    const answer = await service(functions.setTaskStatus, { ...request, status, blockedReason: "no access" })
    return answer.needsApproval.id
  }
  const [denied, expired, approved] = [await asked("done"), await asked("blocked"), await asked("in_progress")]
  await asPerson("app/approvals:deny", { id: denied, reason: "not yet" })
  await asPerson("app/approvals:approve", { id: approved })
  await reply(asking, "I continue.")
  minutes(25 * 60)
  await call("scheduled/approvals:expire", { id: expired }, null, true)
  await asPerson("app/webhooks:add", { url: "https://hooks.example/in" })
  await asPerson("app/documents:upsert", { taskId, title: "Notes", content: "short", type: "note" })
  durable.close()
  return serviceToken
}

const file = join(folder, "plane.sqlite")
let calls: ReadonlyArray<HistoricCall>
let token: string
beforeAll(async () => {
  token = await play(file)
  calls = readHistory(file)
})
let copy: Array<any>
beforeEach(() => {
  copy = structuredClone([...calls])
})

/** The history's only account. */
const accountOf = (history: ReadonlyArray<HistoricCall>) => {
  const [account, ...others] = replay(history)
  assert.isEmpty(others)
  return account ?? assert.fail("the history has no account")
}
const divergenceOf = (history: ReadonlyArray<HistoricCall>) => {
  const { divergence, lost } = accountOf(history)
  assert.isNull(lost)
  return divergence
}

/** Runs `npm run simulate -- --history` without npm. */
const simulate = (history: string) =>
  new Promise<{ readonly code: unknown; readonly said: string }>((done) => {
    const args = [join(import.meta.dirname, "main.ts"), "--history", history]
    execFile(process.execPath, args, (error, out, err) => done({ code: error?.code ?? 0, said: `${out}${err}` }))
  })

describe("a recorded history", () => {
  it("has every call of a mutation with its answer, and no token", () => {
    const paths = new Set(calls.map(({ path }) => path))
    assert.includeMembers([...paths], [functions.claim, functions.complete, "app/messages:post", "app/runs:stop"])
    assert.isTrue(calls.some(({ refused }) => (refused as { code?: string } | undefined)?.code === "lease_lost"))
    assert.notInclude(JSON.stringify(calls), token)
    assert.notInclude(JSON.stringify(calls), "fenceSecret")
  })

  it("agrees with the model, which judges all calls but those on tokens, webhooks and documents", () => {
    const account = accountOf(calls)
    assert.isNull(account.divergence)
    assert.isNull(account.lost)
    assert.deepStrictEqual(
      [...account.unjudged],
      [
        ["app/tokens:provision", 1],
        ["app/webhooks:add", 1],
        ["app/documents:upsert", 1]
      ]
    )
    assert.strictEqual(account.judged, calls.length - 3)
    assert.include(linesOf(calls, [account]), "no call contradicts the model")
  })

  it("diverges at a claim that gives a lease again", () => {
    const claims = copy.filter(({ path, value }) => path === functions.claim && value.runs.length > 0)
    const next = copy.find(({ number, path }) => path === functions.claim && number > claims[0].number)
    next.value.runs = [claims[0].value.runs[0], ...next.value.runs]
    const divergence = divergenceOf(copy)
    assert.strictEqual(divergence?.call.number, next.number)
    assert.strictEqual(divergence?.what, "the answer")
  })

  it("diverges at a completion that is accepted under an old epoch", () => {
    const late = copy.find(({ refused }) => refused?.code === "lease_lost")
    delete late.refused
    late.value = { messageId: "m1", now: late.at }
    const divergence = divergenceOf(copy)
    assert.strictEqual(divergence?.call.number, late.number)
    assert.deepStrictEqual(divergence?.expected, { refused: "lease_lost" })
  })

  it("diverges at the message whose event was lost", () => {
    const posts = copy.filter(({ path }) => path === "app/messages:post")
    const hasJoined = ({ after, table }: any) => table === "notifications" && after.events.length > 1
    const change = posts[0].changes.find(hasJoined)
    change.after.events.pop()
    const divergence = divergenceOf(copy)
    assert.strictEqual(divergence?.call.number, posts[0].number)
    assert.strictEqual(divergence?.what, `notification ${change.id}`)
  })

  it("is followed only until an unknown function changes the queue", () => {
    const post = copy.find(({ path }) => path === "app/messages:post")
    post.path = "app/messages:import"
    const { divergence, lost } = accountOf(copy)
    assert.strictEqual(lost?.call.number, post.number)
    assert.isNull(divergence)
  })

  it("is followed only until a policy applies to one role", () => {
    const policy = copy.find(({ path }) => path === "app/policies:set")
    policy.changes.find(({ table }: any) => table === "accounts").after.toolPolicies[0].role = "tester"
    const { divergence, lost } = accountOf(copy)
    assert.strictEqual(lost?.call.number, policy.number)
    assert.isNull(divergence)
  })

  it("is followed only until an agent asks one of two people", () => {
    const member = copy[0].changes.find(({ table }: any) => table === "members")
    const second = { ...structuredClone(member), id: "second" }
    copy[1].changes.push({ ...second, after: { ...second.after, _id: "second", name: "Ben" } })
    const { divergence, lost } = accountOf(copy)
    assert.strictEqual(lost?.call.path, functions.requestResponses)
    assert.isNull(divergence)
  })

  it("is judged by the command, which exits with 1 if a call contradicts the model", async () => {
    const clean = await simulate(file)
    assert.strictEqual(clean.code, 0, clean.said)
    assert.include(clean.said, "no call contradicts the model")
    const altered = join(folder, "altered.sqlite")
    copyFileSync(file, altered)
    const database = new DatabaseSync(altered)
    const late = calls.find(({ path }) => path === functions.complete) ?? assert.fail("no completion")
    const lost = JSON.stringify({ ...late, changes: [] })
    database.prepare("UPDATE calls SET json = ? WHERE number = ?").run(lost, late.number)
    database.close()
    const { code, said } = await simulate(altered)
    assert.strictEqual(code, 1, said)
    assert.include(
      said,
      `call ${late.number} at ${new Date(late.at).toISOString()}, ${late.path} contradicts the model in`
    )
  })
})
