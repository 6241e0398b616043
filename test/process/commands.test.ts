import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Launched } from "../../local/launcher.ts"
import { eventually, makeSetup } from "./setup.ts"
import type { Setup } from "./setup.ts"

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "mission-control-commands-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** A command from a person of the account. */
const ask = (setup: Setup, what: string, more: Record<string, string> = {}) =>
  Effect.asVoid(
    Effect.promise(() => setup.person.mutation(`app/runtimes:${what}`, { accountId: setup.account.accountId, ...more }))
  )

/** The runtime as people see it, with its commands. */
const seen = (setup: Setup) =>
  Effect.promise(() => setup.person.query("app/runtimes:list", { accountId: setup.account.accountId })).pipe(
    Effect.map(([first]) => first)
  )

const statusOf = (url: string) =>
  Effect.promise(async () => {
    const response = await fetch(url)
    return { status: response.status, body: await response.text() }
  })

const spokeOf = (name: string) => (messages: ReadonlyArray<{ readonly author: { readonly name: string } }>) =>
  messages.some(({ author }) => author.name === name)

/** A turn that lasts until the stopped gateway continues; until then the gateway does not read its request. */
const turnUnderWay = Effect.fnUntraced(function* (setup: Setup, runtime: Launched, taskId: string) {
  yield* setup.gateway.signal("SIGSTOP")
  const letGo = setup.gateway.signal("SIGCONT")
  yield* Effect.addFinalizer(() => letGo)
  yield* setup.post(taskId, "@engineer quick!")
  yield* eventually(setup.health(runtime), (health) => health["delivery"]["inFlight"] === 1)
  return { letGo }
})

const saysDraining = (runtime: Launched) =>
  eventually(
    Effect.sync(() => runtime.output()),
    (output) => output.includes("draining: waiting up to 15m for running turns")
  )

/** An executable with this text. */
const program = (folder: string, name: string, text: string): string => {
  const path = join(folder, name)
  writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
  return path
}

describe("a restart by a person", () => {
  it.live("lets the running turn finish, exits with 75, and does not apply to the next start", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({ rules: [{ match: "mentioned you", repeat: true, actions: [{ text: "Before it." }] }] })
      const runtime = yield* setup.startRuntime()
      const taskId = yield* setup.newTask()
      const { letGo } = yield* turnUnderWay(setup, runtime, taskId)
      yield* ask(setup, "restart")
      yield* saysDraining(runtime)
      assert.strictEqual((yield* statusOf(`${runtime.url}/readyz`)).status, 503)
      yield* letGo
      assert.deepStrictEqual(yield* runtime.exit, { code: 75, signal: null })
      assert.isTrue(spokeOf("Engineer")(yield* setup.messages(taskId)))
      assert.strictEqual(yield* setup.runtimeStatus, "offline")
      const next = yield* setup.startRuntime()
      yield* eventually(setup.runtimeStatus, (status) => status === "online")
      const { commands, lastCommand } = yield* seen(setup)
      assert.isNull(commands.restart)
      assert.deepInclude(lastCommand, { kind: "restart", state: "taken" })
      yield* next.signal("SIGTERM")
      assert.deepStrictEqual(yield* next.exit, { code: 0, signal: null })
    }).pipe(Effect.scoped)
  )

  it.live("has no deadline, but a signal sets one: the turn is released, and the exit code is 0", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const runtime = yield* setup.startRuntime({ DRAIN_TIMEOUT_MS: "200" })
      yield* turnUnderWay(setup, runtime, yield* setup.newTask())
      yield* ask(setup, "restart")
      yield* saysDraining(runtime)
      yield* runtime.signal("SIGTERM")
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
      const [row] = yield* setup.notifications
      assert.deepInclude(row, { state: "ready", attempts: 0 })
      assert.strictEqual(yield* setup.runtimeStatus, "offline")
    }).pipe(Effect.scoped)
  )

  it.live("keeps the reply of a turn that ends within a signal's deadline, and exits with 0", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({ rules: [{ match: "mentioned you", repeat: true, actions: [{ text: "In time." }] }] })
      const runtime = yield* setup.startRuntime({ DRAIN_TIMEOUT_MS: "60000" })
      const taskId = yield* setup.newTask()
      const { letGo } = yield* turnUnderWay(setup, runtime, taskId)
      yield* ask(setup, "restart")
      yield* saysDraining(runtime)
      yield* runtime.signal("SIGTERM")
      yield* eventually(
        Effect.sync(() => runtime.output()),
        (output) => output.includes("waiting up to 1m")
      )
      yield* letGo
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
      assert.isTrue(spokeOf("Engineer")(yield* setup.messages(taskId)))
    }).pipe(Effect.scoped)
  )
})

describe("an upgrade by a person", () => {
  it.live("runs UPGRADE_COMMAND, exits with 75, and succeeds at the next start, as does the rollback", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const folder = yield* temporaryFolder
      const command = program(
        folder,
        "upgrade",
        'echo "$1" > "$0.args"; env | grep -E "^(UPGRADE|SERVICE|OPENCLAW_GATEWAY_TOKEN)" | sort > "$0.env"; echo fetched'
      )
      const env = { UPGRADE_COMMAND: `${command} now`, OPENCLAW_GATEWAY_TOKEN: "gateway-secret" }
      const first = yield* setup.startRuntime({ ...env, RUNTIME_VERSION: "1.0.0" })
      yield* eventually(seen(setup), ({ status }) => status === "online")
      yield* ask(setup, "upgrade", { runtimeVersion: "1.1.0" })
      assert.deepStrictEqual(yield* first.exit, { code: 75, signal: null })
      assert.strictEqual(readFileSync(`${command}.args`, "utf8"), "now\n")
      const variables = readFileSync(`${command}.env`, "utf8").trim().split("\n")
      assert.includeMembers(variables, [
        "UPGRADE_KIND=upgrade",
        "UPGRADE_RUNTIME_VERSION=1.1.0",
        "UPGRADE_OPENCLAW_VERSION=",
        "UPGRADE_FROM_RUNTIME_VERSION=1.0.0"
      ])
      assert.deepStrictEqual(
        variables.filter((line) => /SERVICE_TOKEN|GATEWAY_TOKEN/.test(line)),
        []
      )
      const between = yield* seen(setup)
      assert.strictEqual(between.status, "offline")
      assert.match(between.commands.underway.message, /the next start/)

      const second = yield* setup.startRuntime({ ...env, RUNTIME_VERSION: "1.1.0" })
      const after = yield* eventually(seen(setup), ({ commands }) => commands.underway === null)
      assert.deepInclude(after.lastCommand, { kind: "upgrade", state: "success", runtimeVersion: "1.1.0" })

      yield* ask(setup, "rollback", { runtimeVersion: "1.0.0" })
      assert.deepStrictEqual(yield* second.exit, { code: 75, signal: null })
      assert.include(readFileSync(`${command}.env`, "utf8"), "UPGRADE_KIND=rollback\n")
      yield* setup.startRuntime({ ...env, RUNTIME_VERSION: "1.0.0" })
      const back = yield* eventually(seen(setup), ({ commands }) => commands.underway === null)
      assert.deepInclude(back.lastCommand, { kind: "rollback", state: "rolled_back", runtimeVersion: "1.0.0" })
    }).pipe(Effect.scoped)
  )

  it.live("is tried once if no host applies UPGRADE_FILE, even if the old version starts again", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const folder = yield* temporaryFolder
      const file = join(folder, "host", "upgrade.json")
      const env = { UPGRADE_FILE: file, RUNTIME_VERSION: "1.0.0" }
      const first = yield* setup.startRuntime(env)
      yield* ask(setup, "upgrade", { runtimeVersion: "1.1.0", openclawVersion: "2026.9.6" })
      assert.deepStrictEqual(yield* first.exit, { code: 75, signal: null })
      const left = JSON.parse(readFileSync(file, "utf8"))
      assert.deepInclude(left, { kind: "upgrade", runtimeVersion: "1.1.0", openclawVersion: "2026.9.6" })
      assert.strictEqual(statSync(file).mode & 0o777, 0o600)
      assert.isFalse(existsSync(`${file}.tmp`))
      for (let start = 0; start < 2; start++) {
        const again = yield* setup.startRuntime(env)
        // Once it is online, its pulse has been answered with the commands.
        const now = yield* eventually(seen(setup), ({ status }) => status === "online")
        assert.strictEqual(now.commands.underway.id, left.id)
        assert.isNull(now.commands.upgrade)
        assert.isTrue(existsSync(file))
        yield* again.signal("SIGTERM")
        assert.deepStrictEqual(yield* again.exit, { code: 0, signal: null })
      }
      // The host has applied it: the requested version runs, and the file is removed.
      yield* setup.startRuntime({ ...env, RUNTIME_VERSION: "v1.1.0" })
      const after = yield* eventually(seen(setup), ({ commands }) => commands.underway === null)
      assert.deepInclude(after.lastCommand, { state: "success" })
      assert.isFalse(existsSync(file))
    }).pipe(Effect.scoped)
  )

  it.live("fails with a reason if its command fails or is missing, and the runtime continues", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({ rules: [{ match: "mentioned you", repeat: true, actions: [{ text: "Here." }] }] })
      const folder = yield* temporaryFolder
      const failing = program(folder, "failing", 'echo pulling; echo "no space left on device" >&2; exit 3')
      for (const [command, reason] of [
        [failing, "UPGRADE_COMMAND ended with exit code 3: no space left on device"],
        [join(folder, "missing"), "cannot be started"]
      ] as const) {
        const runtime = yield* setup.startRuntime({ UPGRADE_COMMAND: command, RUNTIME_VERSION: "1.0.0" })
        yield* ask(setup, "upgrade", { runtimeVersion: "1.1.0" })
        const after = yield* eventually(
          seen(setup),
          ({ lastCommand }) => lastCommand?.state === "failed" && lastCommand.message.includes(reason)
        )
        assert.isNull(after.commands.upgrade)
        assert.isNull(after.commands.underway)
        const taskId = yield* setup.newTask()
        yield* setup.post(taskId, "@engineer still there?")
        yield* eventually(setup.messages(taskId), spokeOf("Engineer"))
        yield* runtime.signal("SIGTERM")
        assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
      }
    }).pipe(Effect.scoped)
  )
})

describe("a pause by a person", () => {
  it.live("is shown everywhere, survives a restart of the process, and ends with the resumption", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({ rules: [{ match: "mentioned you", repeat: true, actions: [{ text: "Here." }] }] })
      const first = yield* setup.startRuntime()
      yield* eventually(setup.health(first), (health) => health["controlPlane"]["push"] === true)
      yield* ask(setup, "pause")
      yield* eventually(setup.health(first), (health) => health["isPaused"] === true)
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer are you there?")
      yield* first.signal("SIGTERM")
      yield* first.exit

      // A paused runtime is live but not ready; its first pulse has returned the pause.
      const second = yield* setup.startRuntime({}, { readyPath: "/startupz" })
      const ready = yield* statusOf(`${second.url}/readyz`)
      assert.strictEqual(ready.status, 503)
      assert.deepStrictEqual(JSON.parse(ready.body).reasons, ["paused"])
      // It is degraded until its push is connected.
      const health = yield* eventually(setup.health(second), ({ status }) => status === "paused")
      assert.deepInclude(health, { isPaused: true, reasons: ["paused"], lifecycle: "ready" })
      yield* eventually(seen(setup), ({ reasons }) => reasons.includes("paused"))
      // The page's first event is complete; without `isPaused` the test times out.
      yield* Effect.promise(async () => {
        const response = await fetch(`${second.url}/status/events`)
        const decoder = new TextDecoder()
        let text = ""
        for await (const chunk of response.body!) {
          text += decoder.decode(chunk, { stream: true })
          if (text.includes('"isPaused":true')) return
        }
      })
      assert.strictEqual(yield* setup.posts, 0)
      assert.isFalse(spokeOf("Engineer")(yield* setup.messages(taskId)))

      yield* ask(setup, "resume")
      yield* eventually(setup.messages(taskId), spokeOf("Engineer"))
      assert.strictEqual((yield* statusOf(`${second.url}/readyz`)).status, 200)
    }).pipe(Effect.scoped)
  )
})
