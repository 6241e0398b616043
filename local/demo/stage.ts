#!/usr/bin/env node
/**
 * The demonstration around a runtime that is started separately, for example in another container: control plane,
 * scripted gateway and account, then the scenario when that runtime is online. Both share one loopback.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Exit, Runtime, Schedule } from "effect"
import { makeAccount } from "../account.ts"
import { launchGateway, launchPlane } from "../launcher.ts"
import { personAt } from "../person.ts"
import { gatewayArgs } from "./demoScript.ts"
import { playScenario } from "./scenario.ts"
import { Story } from "./story.ts"

/**
 * Folder with the runtime's credentials. The file with the account's id is written last, so that its existence means
 * that all are there.
 */
const FOLDER = process.env["DEMO_FOLDER"] ?? "/demo"
const PLANE_PORT = "3210"
const GATEWAY_PORT = "18789"

const program = Effect.gen(function* () {
  const story = new Story({ isQuiet: false })
  const gatewayToken = "token-of-the-demonstration"
  const [plane, gateway] = yield* Effect.all(
    [
      launchPlane({ args: ["--port", PLANE_PORT] }),
      launchGateway({
        args: [...gatewayArgs, "--port", GATEWAY_PORT],
        env: { OPENCLAW_GATEWAY_TOKEN: gatewayToken }
      })
    ],
    { concurrency: 2 }
  )
  const person = personAt(plane.url, plane.adminKey)
  const account = yield* Effect.promise(() => makeAccount(person))
  yield* Effect.sync(() => {
    mkdirSync(FOLDER, { recursive: true })
    const secret = { mode: 0o600 }
    writeFileSync(join(FOLDER, "service-token"), account.serviceToken, secret)
    writeFileSync(join(FOLDER, "gateway-token"), gatewayToken, secret)
    writeFileSync(join(FOLDER, "account-id"), account.accountId)
  })
  story.say(`Control plane ${plane.url}, gateway ${gateway.url}; waiting for the runtime ...\n`)
  const isOnline: Effect.Effect<boolean> = Effect.promise(async () => {
    const runtimes: ReadonlyArray<{ readonly status: string }> = await person.query("app/runtimes:list", {
      accountId: account.accountId
    })
    return runtimes.some(({ status }) => status === "online")
  })
  yield* isOnline.pipe(Effect.repeat({ schedule: Schedule.spaced("200 millis"), until: (online) => online }))
  yield* playScenario(person, account, story)
  story.say("\nThe scenario has ended. The control plane and the gateway run until they are stopped.")
  return yield* Effect.never
})

const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  process.once("SIGINT", () => fiber.interruptUnsafe(fiber.id))
  process.once("SIGTERM", () => fiber.interruptUnsafe(fiber.id))
  fiber.addObserver((exit) => teardown(exit, (code) => process.exit(code)))
})

runMain(Effect.scoped(program), {
  teardown: (exit, onExit) => onExit(Exit.isFailure(exit) && Exit.hasInterrupts(exit) ? 0 : 1)
})
