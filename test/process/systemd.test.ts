import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { launch } from "../../local/launcher.ts"
import { debianProgram } from "./debianProgram.ts"
import { eventually, makeSetup } from "./setup.ts"

const missing =
  (await debianProgram("systemd-notify", "systemd")) ?? (await debianProgram("python3", "python3-minimal"))
const suite = missing === null ? describe : describe.skip
if (missing !== null) process.stderr.write(`skipped the tests of systemd's messages: ${missing}\n`)

/** What systemd does at its end: a datagram socket; each message is a line of the file, its own lines joined by "|". */
const receiver = `
import array, os, socket, sys
path, log = sys.argv[1:3]
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind(path)
print('{"ready":true,"name":"receiver","url":"' + path + '"}', flush=True)
with open(log, "a", buffering=1) as out:
    while True:
        data, ancillary, flags, address = server.recvmsg(65536, socket.CMSG_SPACE(256))
        # A barrier is a pipe that the sender waits for: closed, it may go on.
        for level, kind, sent in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(sent[: len(sent) - len(sent) % fds.itemsize])
                for fd in fds:
                    os.close(fd)
        out.write("|".join(data.decode().splitlines()) + "\\n")
`

/** A service manager that listens, and the messages that it received. */
const makeManager = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "mc-systemd-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const script = join(folder, "receiver.py")
  const socket = join(folder, "notify")
  const log = join(folder, "messages")
  writeFileSync(script, receiver)
  writeFileSync(log, "")
  yield* launch({ name: "receiver", command: "python3", args: [script, socket, log] })
  const messages = Effect.sync(() =>
    readFileSync(log, "utf8")
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("BARRIER=1"))
  )
  return { env: { NOTIFY_SOCKET: socket }, messages }
})

const holds = (part: string) => (messages: ReadonlyArray<string>) => messages.some((message) => message.includes(part))
const indexOf = (messages: ReadonlyArray<string>, part: string) =>
  messages.findIndex((message) => message.includes(part))

suite("systemd, with a unit of Type=notify,", () => {
  it.live("gets the boot, one readiness, each status, the watchdog's pings, and the stop", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const { env, messages } = yield* makeManager
      yield* setup.script({ rules: [{ match: "mentioned you", actions: [{ hang: true }] }] })
      const runtime = yield* setup.startRuntime({ ...env, WATCHDOG_USEC: "600000", DRAIN_TIMEOUT_MS: "2000" })
      yield* eventually(messages, holds("READY=1|STATUS="))
      const booted = yield* messages
      assert.isAtLeast(indexOf(booted, "STATUS=booting"), 0)
      assert.isBelow(indexOf(booted, "STATUS=booting"), indexOf(booted, "READY=1"))
      assert.isTrue(holds("EXTEND_TIMEOUT_USEC=60000000")(booted))
      yield* eventually(messages, (all) => all.some((message) => message.endsWith("STATUS=online")))
      yield* eventually(messages, (all) => all.filter((message) => message === "WATCHDOG=1").length >= 3)

      yield* Effect.promise(() => setup.person.mutation("app/runtimes:pause", { accountId: setup.account.accountId }))
      yield* eventually(messages, holds("STATUS=paused"))
      yield* Effect.promise(() => setup.person.mutation("app/runtimes:resume", { accountId: setup.account.accountId }))
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer quick!")
      yield* eventually(setup.posts, (count) => count === 1)
      yield* runtime.signal("SIGTERM")
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
      const all = yield* messages
      assert.lengthOf(
        all.filter((message) => message.includes("READY=1")),
        1
      )
      assert.isTrue(holds("STATUS=draining")(all))
      // The drain's 2 s and the 18 s after it, with any TimeoutStopSec of the unit.
      assert.isTrue(holds("STOPPING=1|EXTEND_TIMEOUT_USEC=20000000")(all))
      assert.notInclude(runtime.output(), "systemd gets no reports")
    }).pipe(Effect.scoped)
  )

  it.live("gets pings but no stop while a restart waits for turns, because it measures from the stop", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const { env, messages } = yield* makeManager
      const restart = Effect.promise(() =>
        setup.person.mutation("app/runtimes:restart", { accountId: setup.account.accountId })
      )
      const started = { ...env, WATCHDOG_USEC: "600000", DRAIN_TIMEOUT_MS: "0" }
      const idle = yield* setup.startRuntime(started)
      yield* restart
      assert.deepStrictEqual(yield* idle.exit, { code: 75, signal: null })
      const before = yield* messages
      assert.isTrue(holds("STOPPING=1")(before))

      yield* setup.script({ rules: [{ match: "mentioned you", actions: [{ hang: true }] }] })
      const busy = yield* setup.startRuntime(started)
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer quick!")
      yield* eventually(setup.posts, (count) => count === 1)
      yield* restart
      const since = Effect.map(messages, (all) => all.slice(before.length))
      yield* eventually(
        since,
        (all) =>
          all.slice(Math.max(0, indexOf(all, "STATUS=draining"))).includes("WATCHDOG=1") &&
          holds("STATUS=draining")(all)
      )
      assert.isFalse(holds("STOPPING=1")(yield* since))
      yield* busy.signal("SIGTERM")
      assert.deepStrictEqual(yield* busy.exit, { code: 0, signal: null })
      assert.isTrue(holds("STOPPING=1")(yield* since))
    }).pipe(Effect.scoped)
  )

  it.live("gets no ping that is meant for another process, and a missing systemd-notify is logged once", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const { env, messages } = yield* makeManager
      const other = yield* setup.startRuntime({ ...env, WATCHDOG_USEC: "200000", WATCHDOG_PID: "1" })
      yield* eventually(messages, holds("READY=1"))
      yield* other.signal("SIGTERM")
      yield* other.exit
      assert.isFalse(holds("WATCHDOG=1")(yield* messages))
      const before = (yield* messages).length
      const deaf = yield* setup.startRuntime({ ...env, WATCHDOG_USEC: "200000", PATH: "/nonexistent" })
      yield* eventually(
        Effect.sync(() => deaf.output()),
        (output) => output.includes("systemd gets no reports of this process: systemd-notify cannot be run (NotFound)")
      )
      yield* deaf.signal("SIGTERM")
      assert.deepStrictEqual(yield* deaf.exit, { code: 0, signal: null })
      assert.lengthOf(deaf.output().split("systemd gets no reports"), 2)
      assert.lengthOf(yield* messages, before)
    }).pipe(Effect.scoped)
  )
})
