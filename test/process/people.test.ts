import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { freePort } from "../../local/launcher.ts"
import { startIssuer } from "../issuer.ts"
import { followed } from "./following.ts"
import { outputIn, runIn } from "./runIn.ts"
import { eventually, makeSetup } from "./setup.ts"

const identity = JSON.stringify({ issuer: "https://login.example.com", subject: "kim", name: "Kim" })

describe("the commands for people", () => {
  it.live(
    "bring a newcomer from no account to an agent's answer",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSetup()
        yield* setup.script({
          rules: [{ match: "what is left", repeat: true, actions: [{ text: "Only the tests." }] }]
        })
        const env = {
          CONVEX_URL: setup.plane.url,
          CONVEX_DEPLOY_KEY: setup.plane.adminKey,
          MISSION_CONTROL_IDENTITY: identity
        }
        const ask = outputIn(env)
        const refused = Effect.map(runIn(env, "tasks", "list"), ({ code, err }) => ({ code, err }))
        assert.deepInclude(yield* refused, { code: 1 })
        const accountId = yield* ask("accounts", "create", "Newcomers")
        yield* ask("agents", "add", "engineer", "--name", "Engineer", "--role", "builds")
        const token = yield* ask("tokens", "provision", "--label", "laptop")
        yield* setup.startRuntime({ ACCOUNT_ID: accountId, SERVICE_TOKEN: token })
        const task = yield* ask("tasks", "create", "Login", "--description", "It fails on phones.")
        const following = yield* followed(env, "thread", task, "--follow")
        yield* ask("post", task.slice(0, -3), "@engineer what is left?")
        const said = yield* eventually(following.said, (text) => text.includes("Engineer: Only the tests."))
        assert.include(said, "Kim: @engineer what is left?")
        assert.strictEqual(yield* following.interrupted, 0)
        assert.include(yield* ask("thread", task), "Engineer: Only the tests.")
        yield* ask("tasks", "assign", task, "@engineer")
        assert.include(yield* ask("tasks", "list"), "@engineer")
        yield* ask("tasks", "move", task, "blocked", "--reason", "waits for a phone")
        assert.include(yield* ask("tasks", "show", task), "blocked: waits for a phone")
        yield* ask("tasks", "archive", task)
        yield* ask("agents", "pause", "engineer")
        assert.match(yield* ask("agents", "list"), /@engineer.*paused/)
        assert.include(yield* ask("inbox", "--read"), "@engineer writes in")
        assert.deepStrictEqual(JSON.parse(yield* ask("inbox", "--json")), [])
        const [run] = JSON.parse(yield* ask("runs", "list", "--ended", "--json"))
        const listed = (yield* ask("runs", "list", "--ended")).split("\n")[1] ?? ""
        assert.include(yield* ask("runs", "show", listed.split(" ")[0] ?? ""), `id         ${run.id}`)
        assert.include(yield* ask("usage"), "engineer")
        assert.include(yield* ask("dead-letters", "list", "--json"), "[]")
        const [made] = JSON.parse(yield* ask("tokens", "list", "--json"))
        yield* ask("tokens", "revoke", made.id)
        assert.include(yield* ask("tokens", "list"), "revoked")
      }).pipe(Effect.scoped),
    300_000
  )

  it.live(
    "show since when an agent works on what, the attempt, its current step and its last activity",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSetup()
        yield* setup.script({ rules: [{ match: "take your time", actions: [{ text: "Done.", delayMs: 120_000 }] }] })
        const env = {
          CONVEX_URL: setup.plane.url,
          CONVEX_DEPLOY_KEY: setup.plane.adminKey,
          MISSION_CONTROL_IDENTITY: identity
        }
        const ask = outputIn(env)
        const accountId = yield* ask("accounts", "create", "Newcomers")
        yield* ask("agents", "add", "engineer", "--name", "Engineer")
        const token = yield* ask("tokens", "provision")
        yield* setup.startRuntime({ ACCOUNT_ID: accountId, SERVICE_TOKEN: token })
        assert.include(yield* ask("agents", "list"), "No agent is working.")
        const task = yield* ask("tasks", "create", "Login", "--description", "@engineer take your time")
        // The runtime reports at once that someone watches.
        const shown = yield* eventually(ask("tasks", "show", task), (text) => text.includes("model, "))
        assert.match(shown, /working {5}@engineer for \d+ s; attempt 1; model, \d+ s; active \d+ s ago/)
        assert.match(yield* ask("agents", "list"), /@engineer +\d+ s +1 +model, \d+ s +\d+ s ago +\w{8} Login/)
        assert.match(yield* ask("tasks", "list"), /@engineer +\d+ s +1 +model, \d+ s +\d+ s ago +\w{8} Login/)
        const [listed] = JSON.parse(yield* ask("tasks", "list", "--json"))
        assert.deepInclude(listed.turns[0], { agentSlug: "engineer", taskId: task, attempts: 1 })
        assert.deepInclude(listed.turns[0].progress, { tool: null, isStuck: false })
        const watching = yield* followed(env, "agents", "list", "--watch")
        yield* eventually(watching.said, (text) => text.includes("model, "))
        yield* ask("runs", "stop", "--agent", "engineer")
        yield* eventually(watching.said, (text) => text.includes("No agent is working."))
        assert.strictEqual(yield* watching.interrupted, 0)
        yield* eventually(ask("agents", "list"), (text) => text.includes("No agent is working."))
      }).pipe(Effect.scoped),
    300_000
  )

  it.live(
    "work with a sign-in provider's token: an agent asks, the person answers, and the agent continues",
    () =>
      Effect.gen(function* () {
        const issuer = yield* startIssuer
        const setup = yield* makeSetup({ planeArgs: ["--auth-config", issuer.authConfig] })
        const capture = { taskId: "task id: (\\S+)" }
        const move = (to: object) => ({ name: "task_status", args: { taskId: "{{taskId}}", ...to } })
        yield* setup.script({
          fallback: { text: "So be it." },
          rules: [
            {
              match: 'answers your question "Which database?"',
              capture,
              actions: [{ toolCalls: [move({ status: "in_progress" })] }]
            },
            {
              match: "store the logins",
              capture,
              actions: [
                {
                  toolCalls: [
                    { name: "response_request", args: { recipientSlugs: ["kim"], message: "Which database?" } },
                    move({ status: "blocked", blockedReason: "waits for Kim" })
                  ]
                }
              ]
            }
          ]
        })
        const env = { CONVEX_URL: setup.plane.url, MISSION_CONTROL_TOKEN: issuer.token("kim", "Kim") }
        const ask = outputIn(env)
        const accountId = yield* ask("accounts", "create", "Newcomers")
        yield* ask("agents", "add", "engineer", "--name", "Engineer")
        const token = yield* ask("tokens", "provision")
        yield* setup.startRuntime({ ACCOUNT_ID: accountId, SERVICE_TOKEN: token })
        const task = yield* ask(
          "tasks",
          "create",
          "Logins",
          "--assign",
          "@engineer",
          "--description",
          "Please store the logins."
        )
        const following = yield* followed(env, "thread", task, "--follow")
        yield* eventually(following.said, (text) => text.includes("Engineer: Question to Kim: Which database?"))
        yield* eventually(following.said, (text) => text.includes("Engineer: So be it."))
        const asked = yield* ask("inbox")
        assert.include(asked, "Questions to you:")
        const command = /Answer: post (\S+) /.exec(asked)?.[1] ?? ""
        assert.include(yield* ask("tasks", "show", task), "waits for   Kim, whom @engineer asked")
        yield* ask("post", command, "Postgres.")
        yield* eventually(ask("tasks", "show", task), (text) => /status {6}in_progress/.test(text))
        assert.notInclude(yield* ask("inbox"), "Questions to you:")
        const expired = { ...env, MISSION_CONTROL_TOKEN: issuer.token("kim", "Kim", { exp: 1 }) }
        const { code, err } = yield* runIn(expired, "tasks", "list")
        assert.strictEqual(code, 1)
        assert.include(
          err,
          "The token has expired. Check CONVEX_DEPLOY_KEY or MISSION_CONTROL_TOKEN. (unauthenticated)"
        )
      }).pipe(Effect.scoped),
    300_000
  )

  it.live(
    "say what is wrong with the code of the refusal, and never show the key",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSetup()
        const CONVEX_URL = setup.plane.url
        const wrong = "local|0000000000000000"
        const port = yield* freePort
        const ends = yield* Effect.forEach(
          [
            { env: {}, args: ["tasks", "list"] },
            { env: {}, args: ["usage"] },
            {
              env: { CONVEX_URL, CONVEX_DEPLOY_KEY: wrong, MISSION_CONTROL_IDENTITY: identity },
              args: ["agents", "list"]
            },
            { env: { CONVEX_URL, CONVEX_DEPLOY_KEY: wrong, MISSION_CONTROL_IDENTITY: "Kim" }, args: ["inbox"] },
            {
              env: {
                CONVEX_URL,
                CONVEX_DEPLOY_KEY: setup.plane.adminKey,
                MISSION_CONTROL_IDENTITY: identity,
                ACCOUNT_ID: setup.account.accountId
              },
              args: ["tokens", "provision"]
            },
            {
              env: {
                CONVEX_URL: `http://127.0.0.1:${port}`,
                CONVEX_DEPLOY_KEY: wrong,
                MISSION_CONTROL_IDENTITY: identity
              },
              args: ["accounts", "list"]
            }
          ],
          ({ args, env }) => runIn(env as Record<string, string>, ...args)
        )
        assert.deepStrictEqual(
          ends.map(({ code }) => code),
          [78, 78, 1, 78, 1, 69]
        )
        const [unidentified, unnamed, stranger, nameless, outsider, unreachable] = ends.map(({ err }) => err)
        assert.include(unidentified, "set CONVEX_DEPLOY_KEY and MISSION_CONTROL_IDENTITY, or MISSION_CONTROL_TOKEN")
        assert.include(
          unnamed,
          "as a person set CONVEX_DEPLOY_KEY and MISSION_CONTROL_IDENTITY, or MISSION_CONTROL_TOKEN"
        )
        assert.include(stranger, "(unauthenticated)")
        assert.include(nameless, "MISSION_CONTROL_IDENTITY is not an identity")
        assert.include(outsider, "You are not a member of this account")
        assert.include(outsider, "(forbidden)")
        assert.include(unreachable, `nothing listens at 127.0.0.1:${port}`)
        for (const { err, out } of ends) assert.notInclude(err + out, wrong)
      }).pipe(Effect.scoped),
    300_000
  )

  it.live(
    "need a key that a runtime refuses to start with",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSetup()
        const env = {
          ACCOUNT_ID: setup.account.accountId,
          CONVEX_URL: setup.plane.url,
          SERVICE_TOKEN: setup.account.serviceToken,
          OPENCLAW_GATEWAY_URL: setup.gateway.url,
          OPENCLAW_GATEWAY_TOKEN: "gateway",
          CONVEX_DEPLOY_KEY: setup.plane.adminKey
        }
        const { code, err } = yield* runIn(env, "start")
        assert.strictEqual(code, 78)
        assert.include(err, "CONVEX_DEPLOY_KEY is set: a runtime needs SERVICE_TOKEN only.")
      }).pipe(Effect.scoped),
    300_000
  )
})
