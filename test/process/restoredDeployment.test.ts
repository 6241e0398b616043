import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { demoTeam } from "../../local/account.ts"
import { freePort, launchPlane } from "../../local/launcher.ts"
import { restartable } from "./restartable.ts"
import { eventually, makeSetup } from "./setup.ts"
import type { NotificationRow } from "./setup.ts"

const areAll = (state: string) => (rows: ReadonlyArray<NotificationRow>) => rows.every((row) => row.state === state)

/** The backup is a copy of the plane's file. Unlike Convex's export it also has the scheduled functions. */
describe("a deployment restored from a backup while its runtimes are stopped", () => {
  it.live("delivers each notification that ended since then once again, and accepts tokens revoked since then", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "mission-control-restored-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
      )
      const [data, backup] = [join(folder, "data"), join(folder, "backup")]
      mkdirSync(data)
      const port = String(yield* freePort)
      const args = ["--data", join(data, "plane"), "--port", port, "--admin-key", "key"]
      const setup = yield* makeSetup({ planeArgs: args, team: demoTeam.filter(({ slug }) => slug === "engineer") })
      const { accountId } = setup.account
      const act = (path: string, more: Record<string, string> = {}) =>
        Effect.promise(() => setup.person.mutation(path, { accountId, ...more }))
      const taskId = yield* setup.newTask()
      const replies = Effect.map(setup.messages(taskId), (all) =>
        all.filter(({ author }) => author.name === "Engineer")
      )
      const leaked = yield* act("app/tokens:provision", { label: "leaked" })
      const roster = Effect.tryPromise(() =>
        setup.person.query("service/agents:list", { accountId, serviceToken: leaked.serviceToken })
      )

      // At the time of the backup a turn runs, whose process no longer exists when the backup is restored.
      yield* setup.fault({ kind: "hang", agent: "engineer" })
      const first = yield* setup.startRuntime()
      yield* setup.post(taskId, "@engineer hello")
      yield* eventually(setup.posts, (count) => count === 1)
      assert.isTrue(areAll("claimed")(yield* setup.notifications))
      yield* first.signal("SIGKILL")
      yield* first.exit
      yield* setup.plane.signal("SIGKILL")
      yield* setup.plane.exit
      cpSync(data, backup, { recursive: true })

      const plane = yield* restartable(launchPlane({ args }))
      const second = yield* setup.startRuntime()
      yield* eventually(setup.notifications, areAll("delivered"))
      assert.lengthOf(yield* replies, 1)
      yield* act("app/tokens:revoke", { id: leaked.id })
      yield* Effect.flip(roster)
      yield* second.signal("SIGTERM")
      yield* second.exit
      yield* plane.kill
      rmSync(data, { recursive: true })
      cpSync(backup, data, { recursive: true })
      yield* plane.start

      assert.lengthOf(yield* replies, 0)
      yield* roster
      yield* act("operator/accounts:pause")
      yield* setup.startRuntime({}, { readyPath: "/livez" })
      yield* eventually(setup.notifications, areAll("ready"))
      assert.strictEqual(yield* setup.posts, 2)
      yield* act("operator/accounts:resume")
      const [row] = yield* eventually(setup.notifications, areAll("delivered"))
      assert.deepInclude(row, { attempts: 2, outcome: "replied" })
      assert.lengthOf(yield* replies, 1)
      assert.strictEqual(yield* setup.posts, 3)
    }).pipe(Effect.scoped)
  )
})
