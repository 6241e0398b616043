import { assert, describe, it } from "@effect/vitest"
import { ConvexClient, ConvexHttpClient } from "convex/browser"
import { Effect } from "effect"
import { api } from "../../convex/_generated/api.js"
import { launchPlane } from "../../local/launcher.ts"
import { outputIn, runIn } from "./runIn.ts"

const identity = JSON.stringify({ issuer: "https://login.example.com", subject: "kim", name: "Kim" })

/** A runtime that changes its version when it is asked to, unless it is deaf. Calls the functions as the real one does. */
const startRuntime = (url: string, tenant: { accountId: string; serviceToken: string }, isDeaf: boolean) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const options = { skipConvexDeploymentUrlCheck: true, logger: false } as const
      const http = new ConvexHttpClient(url, options)
      const socket = new ConvexClient(url, options)
      const own = { ...tenant, runtimeId: "r1" }
      let version = "1.0.0"
      let boots = 1
      const bootId = () => `boot ${boots}`
      const pulse = () =>
        http.mutation(api.service.runtimes.pulse, {
          ...own,
          bootId: bootId(),
          status: "online",
          reasons: [],
          versions: { runtime: version, openclaw: null },
          infrastructure: { dropletId: null, ipAddress: null, region: null },
          intervalMs: 60_000
        })
      const acknowledge = (command: string, result: "taken" | "success" | "rolled_back") =>
        http.mutation(api.service.runtimes.acknowledge, { ...own, bootId: bootId(), command, result })
      await pulse()
      const done = new Set<string>()
      const obey = async (id: string, kind: "upgrade" | "rollback", to: string | null) => {
        await acknowledge(id, "taken")
        version = to ?? version
        boots += 1
        await pulse()
        await acknowledge(id, kind === "rollback" ? "rolled_back" : "success")
      }
      socket.onUpdate(
        api.service.runtimes.commands,
        own,
        ({ upgrade }) => {
          if (isDeaf || upgrade === null || done.has(upgrade.id)) return
          done.add(upgrade.id)
          void obey(upgrade.id, upgrade.kind, upgrade.runtimeVersion)
        },
        () => undefined
      )
      return socket
    }),
    (socket) => Effect.promise(() => socket.close())
  )

describe("the commands for an upgrade in waves", () => {
  it.live(
    "print the waves, start them, stop at a runtime that does not obey, continue without it, and roll back",
    () =>
      Effect.gen(function* () {
        const plane = yield* launchPlane()
        const env = { CONVEX_URL: plane.url, CONVEX_DEPLOY_KEY: plane.adminKey }
        const ids: Record<string, string> = {}
        for (const name of ["Alpha", "Beta", "Gamma"]) {
          const asKim = { ...env, MISSION_CONTROL_IDENTITY: identity }
          const accountId = yield* outputIn(asKim)("accounts", "create", name)
          const serviceToken = yield* outputIn({ ...asKim, ACCOUNT_ID: accountId })("tokens", "provision")
          yield* startRuntime(plane.url, { accountId, serviceToken }, name === "Beta")
          ids[name] = accountId
        }
        const ask = outputIn(env)
        const target = ["--runtime-version", "1.1.0"]
        const planned = yield* runIn(env, "fleet", "upgrade", ...target, "--first", "Gamma")
        assert.strictEqual(planned.code, 0, planned.err)
        assert.match(planned.out, /^upgrade to runtime 1\.1\.0: 3 accounts in 3 waves$/m)
        assert.match(planned.out, /^1 +1 +Gamma$/m)
        assert.include(planned.err, "Nothing was changed. Add --apply to start it.")
        assert.strictEqual((yield* runIn(env, "fleet", "rollout", "show")).code, 1)

        // An account has six seconds, and the control plane looks every thirtieth of them.
        const quickly = ["--waves", "1,100%", "--deadline", "0.1", "--observe", "0"]
        const first = ["--first", "Gamma"]
        const started = yield* runIn(env, "fleet", "upgrade", ...target, ...first, ...quickly, "--apply", "--follow")
        assert.strictEqual(started.code, 1, started.err)
        assert.include(started.out, "wave 1 of 2 is healthy")
        assert.match(started.out, /Beta +2 +failed +not healthy within 0\.1 min: r1 has not taken the command/)
        assert.include(started.err, "Decide: `fleet rollout resume`")
        assert.lengthOf(started.out.match(/stopped in wave 2 of 2/g) ?? [], 1)
        const again = yield* runIn(env, "fleet", "upgrade", ...target, "--apply")
        assert.strictEqual(again.code, 1)
        assert.include(again.err, "Another rollout (upgrade to runtime 1.1.0) is stopped.")

        assert.include(yield* ask("fleet", "rollout", "resume", "--skip", "Beta", "--follow"), "is done")
        const shown = JSON.parse(yield* ask("fleet", "rollout", "show", "--json"))
        const states = (accounts: ReadonlyArray<{ name: string; state: string }>) =>
          Object.fromEntries(accounts.map(({ name, state }) => [name, state]))
        assert.deepStrictEqual(states(shown.accounts), { Alpha: "done", Beta: "skipped", Gamma: "done" })
        const left = JSON.parse(yield* ask("fleet", "upgrade", ...target, "--json"))
        assert.deepStrictEqual(left.waves, [[{ id: ids["Beta"], name: "Beta" }]])

        assert.include(yield* ask("fleet", "rollout", "rollback", "--all", "--follow"), "rolled back")
        const back = JSON.parse(yield* ask("fleet", "rollout", "show", "--json"))
        assert.deepStrictEqual(states(back.accounts), {
          Alpha: "rolled_back",
          Beta: "rolled_back",
          Gamma: "rolled_back"
        })
        const versions = JSON.parse(yield* ask("fleet", "list", "--json")).accounts.map(
          ({ runtimes }: { runtimes: ReadonlyArray<{ versions: { runtime: string } }> }) =>
            runtimes[0]?.versions.runtime
        )
        assert.deepStrictEqual(versions, ["1.0.0", "1.0.0", "1.0.0"])

        yield* ask("fleet", "restart", "--account", "Beta", "--apply")
        yield* ask("fleet", "rollout", "cancel")
        for (const [flag, value] of [
          ["--waves", "0,100%"],
          ["--deadline", "0"],
          ["--observe", "2000"]
        ] as const) {
          assert.strictEqual((yield* runIn(env, "fleet", "upgrade", ...target, flag, value)).code, 64, flag)
        }
        const nothing = yield* runIn(env, "fleet", "upgrade", "--runtime-version", "1.0.0")
        assert.include(nothing.out, "left out, on the target already: 3")
        assert.include(nothing.err, "There is no account to upgrade.")
      }).pipe(Effect.scoped),
    120_000
  )
})
