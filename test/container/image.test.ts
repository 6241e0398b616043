import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Scope } from "effect"
import { tasksFor, teamOf } from "../../bench/load.ts"
import { runtimeEnv } from "../../local/account.ts"
import { freePort } from "../../local/launcher.ts"
import { eventually, makeSetup } from "../process/setup.ts"
import type { Setup } from "../process/setup.ts"
import { ask, docker, image, inspect, runContainer, startContainer } from "./docker.ts"

/** A folder with the house's token in a file of the runtime's user. */
const secretsOf = (house: Setup): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(join(tmpdir(), "mission-control-secrets-"))
      chmodSync(folder, 0o755)
      const file = join(folder, "service-token")
      writeFileSync(file, house.account.serviceToken, { mode: 0o600 })
      chownSync(file, 10_001, 10_001)
      return folder
    }),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )

/** The runtime's variables with its secret as a file, on a free port. */
const settingsOf = (house: Setup, more: Record<string, string> = {}) =>
  Effect.gen(function* () {
    const folder = yield* secretsOf(house)
    const port = String(yield* freePort)
    const { SERVICE_TOKEN: _, ...env } = runtimeEnv(
      house.account,
      house.plane.url,
      { url: house.gateway.url },
      { RUNTIME_ID: "container", HEALTH_PORT: port, SERVICE_TOKEN_FILE: "/secrets/service-token", ...more }
    )
    return { env, mounts: ["--volume", `${folder}:/secrets:ro`], url: `http://127.0.0.1:${port}` }
  })

const isReady = (url: string): Effect.Effect<boolean> =>
  Effect.promise(() =>
    fetch(`${url}/readyz`).then(
      ({ status }) => status === 200,
      () => false
    )
  )

const untilReady = (url: string) => eventually(isReady(url), (ready) => ready)
const untilHealthy = (name: string) => eventually(inspect(name, ".State.Health.Status"), (is) => is === "healthy")
const untilEnded = (name: string) => eventually(inspect(name, ".State.Running"), (is) => is === "false")

/** One clear answer: few lines, these words, and that exit code. */
const assertRefused = (answer: { code: number; err: string }, code: number, words: RegExp, lines = 2): void => {
  assert.strictEqual(answer.code, code, answer.err)
  assert.match(answer.err, words)
  assert.isAtMost(answer.err.trim().split("\n").length, lines, answer.err)
}

describe("the image", () => {
  it.live("holds what production needs and no more, and no secret", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* inspect(image, ".Config.User"), "10001:10001")
      assert.strictEqual(yield* inspect(image, "json .Config.Entrypoint"), `["/app/dist/main.js"]`)
      assert.include(yield* inspect(image, "json .Config.Healthcheck.Test"), "healthcheck")
      assert.include(yield* inspect(image, "json .Config.Labels"), "org.opencontainers.image.version")
      const base = Number(yield* inspect("node:24-bookworm-slim", ".Size"))
      assert.isBelow(Number(yield* inspect(image, ".Size")) - base, 25e6)
      const files = yield* ask("run", "--rm", "--entrypoint=/bin/ls", image, "/app", "/app/docs", "/app/dist")
      assert.notMatch(files, /node_modules|src|test|convex/)
      const history = yield* ask("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
      assert.notMatch(history + (yield* inspect(image, "json .Config.Env")), /TOKEN|SECRET|KEY/)
    })
  )

  it.live("is the same image, with the list of its packages, when it is built again from the same sources", () =>
    Effect.gen(function* () {
      const build = (...more: ReadonlyArray<string>) =>
        ask(
          "build",
          "--quiet",
          `--network=${process.env["BUILD_NETWORK"] ?? "default"}`,
          "--target=runtime",
          "--build-arg=SOURCE_DATE_EPOCH=1700000000",
          "--tag=mission-control-runtime:reproduced",
          ...more,
          "."
        )
      const id = yield* build("--no-cache-filter=runtime")
      assert.match(id, /^sha256:[0-9a-f]{64}$/)
      assert.strictEqual(yield* build("--no-cache-filter=build,files,runtime"), id)
      const bill = yield* ask("run", "--rm", "--entrypoint=/bin/cat", id, "/app/dist/sbom.cdx.json")
      assert.strictEqual(JSON.parse(bill).bomFormat, "CycloneDX")
    })
  )

  it.live("is healthy soon, without capabilities and with nothing to write to, as process 1", () =>
    Effect.gen(function* () {
      const house = yield* makeSetup()
      const { env, mounts, url } = yield* settingsOf(house)
      const name = yield* startContainer(env, mounts)
      yield* untilHealthy(name)
      const state: {
        readonly StartedAt: string
        readonly Health: { readonly Log: ReadonlyArray<{ readonly End: string; readonly ExitCode: number }> }
      } = JSON.parse(yield* inspect(name, "json .State"))
      const probe = state.Health.Log.find(({ ExitCode }) => ExitCode === 0)
      assert.isBelow(Date.parse(probe?.End ?? "") - Date.parse(state.StartedAt), 15_000)
      yield* untilReady(url)
      const status = yield* ask("exec", name, "cat", "/proc/1/status")
      assert.match(status, /^CapEff:\s+0+$/m)
      assert.match(status, /^Uid:\s+10001\s/m)
      assert.match(status, /^NoNewPrivs:\s+1$/m)
      assert.include(
        (yield* ask("exec", name, "cat", "/proc/1/cmdline")).replaceAll("\0", " "),
        "/app/dist/main.js start"
      )
      assert.notInclude(yield* inspect(name, "json .Config"), house.account.serviceToken)
    })
  )

  it.live("lets a turn end on SIGTERM, reports offline and ends with 0", () =>
    Effect.gen(function* () {
      const house = yield* makeSetup()
      yield* house.script({ rules: [{ actions: [{ text: "I was in the middle of it.", delayMs: 5_000 }] }] })
      const { env, mounts, url } = yield* settingsOf(house)
      const name = yield* startContainer(env, mounts)
      yield* untilReady(url)
      const task = yield* house.newTask()
      yield* house.post(task, "@engineer are you there?")
      yield* eventually(house.posts, (posts) => posts > 0)
      yield* ask("stop", "--time", "50", name)
      assert.strictEqual(yield* inspect(name, ".State.ExitCode"), "0")
      const messages = yield* house.messages(task)
      assert.lengthOf(
        messages.filter(({ author }) => author.type === "agent"),
        1
      )
      assert.strictEqual(yield* house.runtimeStatus, "offline")
    })
  )

  it.live("loses nothing when it is killed in the middle of a turn and started again", () =>
    Effect.gen(function* () {
      // Alone, so that nobody else has anything to say.
      const house = yield* makeSetup({ team: [{ slug: "engineer", name: "Engineer", role: "builds and fixes" }] })
      const { env, mounts, url } = yield* settingsOf(house)
      yield* house.fault({ kind: "hang" })
      const name = yield* startContainer(env, mounts)
      yield* untilReady(url)
      const task = yield* house.newTask()
      yield* house.post(task, "@engineer are you there?")
      yield* eventually(house.posts, (posts) => posts > 0)
      yield* ask("kill", "--signal", "KILL", name)
      yield* untilEnded(name)
      assert.strictEqual(yield* inspect(name, ".State.ExitCode"), "137")
      yield* ask("start", name)
      yield* eventually(house.messages(task), (messages) => messages.some(({ author }) => author.type === "agent"))
      const rows = yield* eventually(house.notifications, (all) => all.every(({ state }) => state === "delivered"))
      assert.isNotEmpty(rows)
      assert.lengthOf(
        (yield* house.messages(task)).filter(({ author }) => author.type === "agent"),
        1
      )
    })
  )

  it.live("stays below 256 MB under load", () =>
    Effect.gen(function* () {
      const sessions = 100
      const house = yield* makeSetup({ team: teamOf(sessions), gatewayArgs: ["--max-concurrent", "200"] })
      const { env, mounts, url } = yield* settingsOf(house, { DELIVERY_MAX_CONCURRENT_SESSIONS: String(sessions) })
      yield* house.script({ fallback: { text: "Done, and here is how. ".repeat(200) } })
      const tasks = yield* tasksFor(house, sessions)
      const messages = Array.from({ length: 10 * sessions }, (_, index) => index)
      const post = (index: number) => house.post(tasks[index % sessions]!, `@agent-${index % sessions} go on.`)
      const allAnswered = eventually(Effect.forEach(tasks, house.messages, { concurrency: 8 }), (threads) =>
        threads.every((thread) => thread.at(-1)?.author.type === "agent")
      )
      // A backlog for all permits at once, then as fast as a few people can post.
      yield* Effect.forEach(messages.slice(0, 2 * sessions), post, { concurrency: 8, discard: true })
      const name = yield* startContainer(env, mounts)
      yield* untilReady(url)
      yield* allAnswered
      yield* Effect.forEach(messages.slice(2 * sessions), post, { concurrency: 8, discard: true })
      const answers = (yield* allAnswered).flat().filter(({ author }) => author.type === "agent")
      // Messages of one agent that wait become one turn, so each wave is at least one.
      assert.isAtLeast(answers.length, 2 * sessions)
      assert.strictEqual(yield* inspect(name, ".State.OOMKilled"), "false")
      assert.strictEqual(yield* inspect(name, ".RestartCount"), "0")
      assert.strictEqual(yield* inspect(name, ".State.Running"), "true")
    })
  )
})

describe("a container that cannot run", () => {
  it.live("says all variables that it misses and ends with 78", () =>
    Effect.gen(function* () {
      const answer = yield* runContainer({})
      assertRefused(answer, 78, /ACCOUNT_ID[\s\S]*CONVEX_URL[\s\S]*SERVICE_TOKEN/, 6)
    })
  )

  it.live("says which secret file it cannot read and ends with 78", () =>
    Effect.gen(function* () {
      const house = yield* makeSetup()
      const { env, mounts } = yield* settingsOf(house)
      const folder = mounts[1]!.split(":")[0]!
      chownSync(join(folder, "service-token"), 0, 0)
      assertRefused(yield* runContainer(env, mounts), 78, /SERVICE_TOKEN_FILE.*\/secrets\/service-token/)
      assertRefused(
        yield* runContainer({ ...env, SERVICE_TOKEN_FILE: "/nowhere" }),
        78,
        /SERVICE_TOKEN_FILE.*\/nowhere/
      )
    })
  )

  it.live("says that its token is refused and ends with 77", () =>
    Effect.gen(function* () {
      const house = yield* makeSetup()
      const { env } = yield* settingsOf(house)
      const wrong = `mc_service_${house.account.accountId}_${"0".repeat(64)}`
      const { SERVICE_TOKEN_FILE: _, ...others } = env
      const answer = yield* runContainer({ ...others, SERVICE_TOKEN: wrong })
      assert.strictEqual(answer.code, 77, answer.err)
      assert.match(answer.err, /refuses|unauthenticated/)
      assert.notInclude(answer.err, "0".repeat(64))
    })
  )

  it.live("is no storm under the restart policy of compose: each failure waits longer than the one before", () =>
    Effect.gen(function* () {
      const house = yield* makeSetup()
      const { env } = yield* settingsOf(house)
      const name = yield* startContainer({ ...env, SERVICE_TOKEN_FILE: "/nowhere" })
      // All at one look: while it waits, the count is of the start that is to come, and the moment of the one before.
      const look = Effect.map(
        ask("inspect", "--format", "{{.RestartCount}} {{.State.Restarting}} {{.Created}} {{.State.StartedAt}}", name),
        (line) => {
          const [count, isWaiting, created = "", started = ""] = line.split(" ")
          return {
            waits: Number(count) - (isWaiting === "true" ? 1 : 0),
            millis: Date.parse(started) - Date.parse(created)
          }
        }
      )
      const { millis, waits } = yield* eventually(look, (seen) => seen.waits >= 5)
      // 100 ms, and twice as long each time.
      assert.isAtLeast(millis, 100 * (2 ** waits - 1))
      assert.notInclude((yield* docker(["logs", name])).err, house.account.serviceToken)
    })
  )

  it.live("lives, waits and says so once while the gateway is not there", () =>
    Effect.gen(function* () {
      const house = yield* makeSetup()
      const away = yield* freePort
      const { env, mounts, url } = yield* settingsOf(house, { OPENCLAW_GATEWAY_URL: `http://127.0.0.1:${away}` })
      const name = yield* startContainer(env, mounts)
      yield* untilHealthy(name)
      yield* eventually(
        Effect.promise(() => fetch(`${url}/readyz`).then((response) => response.text())),
        (text) => text.includes("gateway")
      )
      const { err } = yield* docker(["logs", name])
      const said = err.split("\n").filter((line) => /gateway/.test(line) && /"level":"(warn|error)"/.test(line))
      assert.lengthOf(said, 1, err)
      assert.strictEqual(yield* inspect(name, ".RestartCount"), "0")
      yield* ask("stop", "--time", "50", name)
      assert.strictEqual(yield* inspect(name, ".State.ExitCode"), "0")
    })
  )

  it.live("says where it cannot write workspaces, and goes on", () =>
    Effect.gen(function* () {
      const house = yield* makeSetup()
      const folder = yield* secretsOf(house)
      mkdirSync(join(folder, "state"))
      const { env, mounts } = yield* settingsOf(house, {
        OPENCLAW_PROFILE_SYNC: "true",
        OPENCLAW_STATE_DIR: "/openclaw"
      })
      const name = yield* startContainer(env, [...mounts, "--volume", `${join(folder, "state")}:/openclaw:ro`])
      yield* untilHealthy(name)
      const { err } = yield* eventually(docker(["logs", name]), ({ err: text }) => text.includes('"message":"ready"'))
      const said = err.split("\n").filter((line) => /"level":"(warn|error)"/.test(line))
      assert.lengthOf(said, 1, err)
      assert.match(said[0]!, /\/openclaw/)
      assert.strictEqual(yield* inspect(name, ".RestartCount"), "0")
    })
  )
})
