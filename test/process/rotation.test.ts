import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { eventually, makeSetup } from "./setup.ts"

const tokenFile = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "rotation-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
).pipe(Effect.map((folder) => join(folder, "service-token")))

/** A runtime whose token is in a file, and the account's second token. */
const setUp = Effect.gen(function* () {
  const setup = yield* makeSetup()
  const { accountId, serviceToken } = setup.account
  yield* setup.script({ rules: [{ match: "mentioned you", repeat: true, actions: [{ text: "Here." }] }] })
  const path = yield* tokenFile
  writeFileSync(path, `${serviceToken}\n`)
  const runtime = yield* setup.startRuntime({ SERVICE_TOKEN: "", SERVICE_TOKEN_FILE: path })
  const next = yield* Effect.promise(() => setup.person.mutation("app/tokens:provision", { accountId, label: "next" }))
  const revokeFirst = Effect.promise(async () => {
    const tokens = await setup.person.query("app/tokens:list", { accountId })
    const first = tokens.find(({ label }: { label: string }) => label === "runtime")
    await setup.person.mutation("app/tokens:revoke", { accountId, id: first.id })
  })
  const answered = Effect.gen(function* () {
    const taskId = yield* setup.newTask()
    yield* setup.post(taskId, "@engineer are you there?")
    return yield* eventually(setup.messages(taskId), (messages) =>
      messages.some(({ author }) => author.name === "Engineer")
    )
  })
  return { setup, runtime, revokeFirst, answered, write: () => writeFileSync(path, `${next.serviceToken}\n`) }
})

describe("a token that changes while the runtime works", () => {
  it.live("is read from its file when the old one is refused: no restart, no outage, nothing lost", () =>
    Effect.gen(function* () {
      const { answered, setup, revokeFirst, runtime, write } = yield* setUp
      yield* answered
      write()
      yield* revokeFirst
      // A delivery needs the subscription, a claim, its context and its completion, all with the new token.
      yield* answered
      assert.include(runtime.output(), "service token changed")
      assert.notInclude(runtime.output(), "was refused")
      assert.deepInclude(yield* setup.health(runtime), { status: "healthy", lifecycle: "ready", reasons: [] })
    }).pipe(Effect.scoped)
  )

  it.live("is read at once on SIGHUP, which ends nothing", () =>
    Effect.gen(function* () {
      const { answered, setup, revokeFirst, runtime, write } = yield* setUp
      write()
      yield* runtime.signal("SIGHUP")
      yield* eventually(
        Effect.sync(() => runtime.output()),
        (output) => output.includes("service token changed")
      )
      yield* revokeFirst
      yield* answered
      assert.deepInclude(yield* setup.health(runtime), { status: "healthy", lifecycle: "ready", reasons: [] })
      yield* runtime.signal("SIGTERM")
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
    }).pipe(Effect.scoped)
  )
})
