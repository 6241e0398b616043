import { readFileSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { sessionReset } from "../../src/domain/gateway/GatewaySettings.ts"
import { sessionKey } from "../../src/domain/shared/SessionKey.ts"
import { Contract, spokenOf } from "../gateway-contract/target.ts"
import { setting, sharedGateway } from "./sharedGateway.ts"

const idle = { mode: "idle", idleMinutes: 1 }
/** Policies that would reset a session after a minute of silence if they applied to it. */
const policies = [
  undefined,
  { reset: idle },
  { reset: { ...idle, mode: "none" } },
  { reset: { ...idle, mode: "none" }, resetByType: { direct: idle } },
  { reset: { mode: "none" }, resetByType: { direct: { idleMinutes: 1 } } },
  { reset: idle, resetByType: { direct: { mode: "none" } } },
  { resetByType: { group: idle, thread: idle }, resetByChannel: { webchat: idle } },
  { reset: idle, resetByChannel: { webchat: { mode: "none" } } }
]

describe("the sessions of a real gateway", () => {
  it.live(
    "are reset by the settings that the doctor warns of, and by no others",
    () =>
      Effect.gen(function* () {
        const contract = new Contract({
          ...sharedGateway(),
          modelUrl: setting("OPENCLAW_TEST_MODEL_URL"),
          version: setting("OPENCLAW_TEST_VERSION"),
          configPath: setting("OPENCLAW_TEST_CONFIG_PATH"),
          real: true
        })
        yield* Effect.promise(() => contract.reset())
        const path = setting("OPENCLAW_TEST_CONFIG_PATH")
        const before = readFileSync(path, "utf8")
        yield* Effect.addFinalizer(() => Effect.sync(() => writeFileSync(path, before)))
        const say = (key: string, input: string) => Effect.promise(() => contract.turn({ input }, { key }))
        const of = policies.map((session) => {
          const accountId = contract.newMarker()
          const parts = { slug: "alpha", accountId, generation: 2 }
          const keys = [
            sessionKey({ slug: "alpha", accountId, generation: 1 }),
            sessionKey({ ...parts, taskId: "k17" }),
            sessionKey({ ...parts, isHeartbeat: true })
          ]
          return { session, keys }
        })
        yield* Effect.forEach(
          of.flatMap(({ keys }) => keys),
          (key) => say(key, `first of ${key}`),
          { concurrency: 8 }
        )
        yield* Effect.sleep("62 seconds")
        for (const { keys, session } of of) {
          writeFileSync(path, JSON.stringify({ ...JSON.parse(before), session }))
          // The gateway applies a change of these settings within a second, without a log line.
          yield* Effect.sleep("3 seconds")
          const isKept = sessionReset({ session }) === null
          yield* Effect.forEach(
            keys,
            Effect.fnUntraced(function* (key) {
              const marker = contract.newMarker()
              yield* say(key, marker)
              const [prompt] = yield* Effect.promise(() => contract.prompts(marker))
              const expected = isKept ? [`first of ${key}`, "ok", marker] : [marker]
              assert.deepStrictEqual(spokenOf(prompt!), expected, JSON.stringify(session))
            }),
            { concurrency: "unbounded" }
          )
        }
      }).pipe(Effect.scoped),
    { timeout: 240_000 }
  )
})
