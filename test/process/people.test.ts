import { spawn } from "node:child_process"
import { once } from "node:events"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { freePort } from "../../local/launcher.ts"
import { runIn } from "./runIn.ts"
import { eventually, makeSetup } from "./setup.ts"

const identity = JSON.stringify({ issuer: "https://login.example.com", subject: "kim", name: "Kim" })

/** `thread --follow` in a process that the scope ends, with all that it has printed. */
const followed = Effect.fnUntraced(function* (env: Record<string, string>, task: string) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, ["src/main.ts", "thread", task, "--follow"], {
        env: { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent", ...env },
        stdio: ["ignore", "pipe", "inherit"]
      })
    ),
    (running) => Effect.sync(() => void running.kill("SIGKILL"))
  )
  const ended = once(child, "exit")
  let said = ""
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")))
  return {
    said: Effect.sync(() => said),
    /** Its exit code after Ctrl-C. */
    interrupted: Effect.promise(async () => {
      child.kill("SIGINT")
      return Number((await ended)[0])
    })
  }
})

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
        const ask = (...args: ReadonlyArray<string>) =>
          Effect.map(runIn(env, ...args), ({ code, err, out }) => {
            assert.strictEqual(code, 0, err)
            return out.trim()
          })
        const refused = Effect.map(runIn(env, "tasks", "list"), ({ code, err }) => ({ code, err }))
        assert.deepInclude(yield* refused, { code: 1 })
        const accountId = yield* ask("accounts", "create", "Newcomers")
        yield* ask("agents", "add", "engineer", "--name", "Engineer", "--role", "builds")
        const token = yield* ask("tokens", "provision", "--label", "laptop")
        yield* setup.startRuntime({ ACCOUNT_ID: accountId, SERVICE_TOKEN: token })
        const task = yield* ask("tasks", "create", "Login", "--description", "It fails on phones.")
        const following = yield* followed(env, task)
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
        const unread: ReadonlyArray<{ readonly taskId: string; readonly state: string }> = JSON.parse(
          yield* ask("inbox", "--json")
        )
        for (const row of unread) assert.deepInclude(row, { taskId: task, state: "unread" })
        const [made] = JSON.parse(yield* ask("tokens", "list", "--json"))
        yield* ask("tokens", "revoke", made.id)
        assert.include(yield* ask("tokens", "list"), "revoked")
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
          [78, 1, 78, 1, 69]
        )
        const [unidentified, stranger, nameless, outsider, unreachable] = ends.map(({ err }) => err)
        assert.include(unidentified, "set CONVEX_DEPLOY_KEY and MISSION_CONTROL_IDENTITY, or MISSION_CONTROL_TOKEN")
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
