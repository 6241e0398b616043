import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { launchPlane } from "../../local/launcher.ts"
import { runIn } from "./runIn.ts"
import { creatingTeam, eventually, makeSetup } from "./setup.ts"
import type { Setup } from "./setup.ts"

const title = "Renew the certificate"

/** Asks for the task in every attempt, reports the wait for approval, and acknowledges the decision. */
const asksForATask = {
  fallback: { text: "NO_ACTION" },
  rules: [
    {
      matchSystem: "You are Engineer",
      match: "answers your request for approval",
      repeat: true,
      actions: [{ text: "I read the decision." }]
    },
    {
      matchSystem: "You are Engineer",
      match: "needs_approval",
      repeat: true,
      actions: [{ text: "It waits for approval." }]
    },
    {
      matchSystem: "You are Engineer",
      match: "mentioned you",
      repeat: true,
      actions: [{ toolCalls: [{ name: "task_create", args: { title } }] }]
    }
  ]
}

/** The commands of an owner of the account. */
const commandsOf = ({ account, person, plane }: Setup) =>
  Effect.gen(function* () {
    const issuer = "https://login.example.com"
    const owner = { tokenIdentifier: `${issuer}|kim`, name: "Kim", role: "owner" }
    yield* Effect.promise(() => person.mutation("app/members:add", { accountId: account.accountId, ...owner }))
    const env = {
      ACCOUNT_ID: account.accountId,
      CONVEX_URL: plane.url,
      CONVEX_DEPLOY_KEY: plane.adminKey,
      MISSION_CONTROL_IDENTITY: JSON.stringify({ issuer, subject: "kim", name: "Kim" })
    }
    const run = (...args: ReadonlyArray<string>) => runIn(env, ...args)
    const ask = (...args: ReadonlyArray<string>) =>
      Effect.map(run(...args), ({ code, err, out }) => {
        assert.strictEqual(code, 0, err)
        return `${out}${err}`.trim()
      })
    return { run, ask }
  })

interface Request {
  readonly id: string
  readonly state: string
}
const requestsOf = ({ account, person }: Setup, ended = false): Effect.Effect<ReadonlyArray<Request>> =>
  Effect.promise(() => person.query("app/approvals:list", { accountId: account.accountId, ended }))
const tasksOf = ({ account, person }: Setup): Effect.Effect<number> =>
  Effect.promise(() => person.query("app/tasks:list", { accountId: account.accountId })).pipe(
    Effect.map((tasks) => tasks.filter((task: { readonly title: string }) => task.title === title).length)
  )
const repliesOf = (setup: Setup, taskId: string, until: number) =>
  eventually(
    Effect.map(setup.messages(taskId), (messages) =>
      messages.filter(({ author }) => author.name === "Engineer").map(({ content }) => content)
    ),
    (contents) => contents.length >= until
  )

describe("a call that needs approval", () => {
  it.live(
    "is asked for and executed once, over a killed runtime and a killed control plane, and decided by commands",
    () =>
      Effect.gen(function* () {
        const data = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "approvals-"))),
          (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
        )
        const planeArgs = ["--data", join(data, "plane"), "--admin-key", "local|0123456789abcdef"]
        const setup = yield* makeSetup({ team: creatingTeam, planeArgs })
        const { ask, run } = yield* commandsOf(setup)
        yield* setup.script(asksForATask)
        assert.include(yield* ask("policies", "set", "task_create", "ask", "--agent", "engineer"), "task_create")
        assert.match(yield* ask("policies", "list"), /task_create +ask +@engineer +always/)

        // The control plane stores the request, and the runtime is killed before it gets the answer.
        const first = yield* setup.startRuntime()
        const taskId = yield* setup.newTask()
        yield* setup.planeFault({ kind: "delay", path: "service/tasks:create", milliseconds: 60_000, count: 1 })
        yield* setup.post(taskId, "@engineer please make a task of it.")
        yield* eventually(requestsOf(setup), (requests) => requests.length === 1)
        yield* first.signal("SIGKILL")
        yield* first.exit
        yield* setup.startRuntime()
        assert.deepStrictEqual(yield* repliesOf(setup, taskId, 1), ["It waits for approval."])
        const requests = yield* requestsOf(setup)
        assert.lengthOf(requests, 1)
        const id = requests[0]?.id ?? ""
        assert.match(yield* ask("approvals", "list"), /pending +@engineer +task_create/)
        const shown = yield* ask("approvals", "show", id)
        assert.include(shown, `"title": "${title}"`)
        assert.match(shown, /sha256 +[0-9a-f]{64}/)
        assert.strictEqual(yield* tasksOf(setup), 0)

        // The control plane executes the call and is killed before the person gets the answer.
        yield* setup.planeFault({ kind: "delay", path: "app/approvals:approve", milliseconds: 60_000, count: 1 })
        const approving = yield* Effect.forkChild(run("approvals", "approve", id))
        yield* eventually(requestsOf(setup, true), ([request]) => request?.state === "approved")
        const port = new URL(setup.plane.url).port
        yield* setup.plane.signal("SIGKILL")
        yield* setup.plane.exit
        assert.strictEqual((yield* Fiber.join(approving)).code, 69)
        yield* launchPlane({ args: [...planeArgs, "--port", port] })
        const again = yield* run("approvals", "approve", id)
        assert.strictEqual(again.code, 1)
        assert.include(again.err, "The request was already approved by Kim. Nothing was changed. (conflict)")
        assert.strictEqual(yield* tasksOf(setup), 1)
        assert.deepStrictEqual(yield* repliesOf(setup, taskId, 2), ["It waits for approval.", "I read the decision."])
        const told = (yield* setup.requests).filter(({ input }) => input.includes("Approved and executed."))
        assert.lengthOf(told, 1)
        assert.include(told[0]?.input, "Kim (person) answers your request for approval:\nYour call: task_create")
      }).pipe(Effect.scoped),
    240_000
  )

  it.live(
    "is denied by a command with a reason that the agent reads, and each refusal of a command shows its code",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSetup({ team: creatingTeam })
        const { ask, run } = yield* commandsOf(setup)
        yield* setup.script(asksForATask)
        yield* ask("policies", "set", "task_create", "ask", "--role", "builds and fixes")
        yield* ask("policies", "set", "task_create", "ask")
        yield* setup.startRuntime()
        // The creator of a task is responsible for it.
        const taskId = (yield* run("tasks", "create", "Fix the login button")).out.trim()
        yield* setup.post(taskId, "@engineer please make a task of it.")
        yield* repliesOf(setup, taskId, 1)
        const id = (yield* requestsOf(setup))[0]?.id ?? ""
        assert.include(yield* ask("inbox"), `approvals show ${id}`)
        const words = "we have one already"
        assert.include(yield* ask("approvals", "deny", id, "--reason", words), "is denied")
        yield* repliesOf(setup, taskId, 2)
        assert.isTrue((yield* setup.requests).some(({ input }) => input.includes(`Reason: ${words}`)))
        assert.strictEqual(yield* tasksOf(setup), 0)
        assert.match(yield* ask("approvals", "list", "--ended"), /denied +@engineer +task_create/)
        assert.include(yield* ask("approvals", "show", id), `reason      ${words}`)
        const refusals = yield* Effect.forEach(
          [
            ["approvals", "approve", id],
            ["approvals", "approve", "nothing"],
            ["policies", "set", "task_delete", "ask", "--when", "status=done"],
            ["policies", "remove", "nothing"]
          ],
          (args) => run(...args)
        )
        assert.deepStrictEqual(
          refusals.map(({ code, err }) => [code, /\((\w+)\)\n$/.exec(err)?.[1]]),
          [
            [1, "conflict"],
            [1, "not_found"],
            [1, "invalid"],
            [1, "not_found"]
          ]
        )
        const [policy] = JSON.parse(yield* ask("policies", "list", "--json"))
        yield* ask("policies", "remove", policy.id.slice(0, 8))
        assert.lengthOf(JSON.parse(yield* ask("policies", "list", "--json")), 1)
      }).pipe(Effect.scoped),
    240_000
  )
})
