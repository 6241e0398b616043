#!/usr/bin/env node
/**
 * The demonstration: the local control plane and a gateway as separate processes, the real runtime between them, and a
 * team of three agents that works on a task. It prints the thread as it grows.
 */
import { parseArgs } from "node:util"
import { Cause, Deferred, Effect, Exit, Runtime, Schema } from "effect"
import { makeAccount, runtimeEnv } from "../account.ts"
import { launchPlane, launchRuntime } from "../launcher.ts"
import { personAt } from "../person.ts"
import { talkWithTeam } from "./conversation.ts"
import { startDemoGateway } from "./gateway.ts"
import { playScenario } from "./scenario.ts"
import { Story } from "./story.ts"

const usage = `usage: npm run demo -- [options]
  --once               end after the scenario with exit code 0
  --json               print one JSON object at the end instead of the story
  --gateway KIND       scripted (default) or openclaw, the real one, which is installed if it is missing
  --port N             port of the runtime's endpoints; a free port by default
  --help               print this text`

const fail = (message: string, code: number): never => {
  process.stderr.write(`demo: ${message}\n`)
  process.exit(code)
}

const readOptions = () => {
  try {
    const { values } = parseArgs({
      options: {
        once: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        gateway: { type: "string", default: "scripted" },
        port: { type: "string" },
        help: { type: "boolean", default: false }
      }
    })
    return values
  } catch (error) {
    return fail(`${(error as Error).message}\n${usage}`, 64)
  }
}

const options = readOptions()
if (options.help) {
  process.stdout.write(`${usage}\n`)
  process.exit(0)
}
if (options.gateway !== "scripted" && options.gateway !== "openclaw") {
  fail(`--gateway is "${options.gateway}": use scripted or openclaw`, 64)
}
const kind = options.gateway as "scripted" | "openclaw"
if (
  options.port !== undefined &&
  !(/^\d+$/.test(options.port) && Number(options.port) >= 1 && Number(options.port) <= 65_535)
) {
  fail(`--port is "${options.port}": use a whole number from 1 to 65535`, 64)
}

const program = Effect.gen(function* () {
  const startedAt = performance.now()
  const story = new Story({ isQuiet: options.json })
  story.say(
    `Starting the control plane, the ${kind === "scripted" ? "scripted" : "real OpenClaw"} gateway and the runtime ...`
  )
  const [plane, gateway] = yield* Effect.all([launchPlane({}), startDemoGateway(kind)], { concurrency: 2 })
  const person = personAt(plane.url, plane.adminKey)
  const account = yield* Effect.promise(() => makeAccount(person))
  const runtime = yield* launchRuntime({
    env: runtimeEnv(account, plane.url, gateway, {
      RUNTIME_ID: "demo",
      ...(options.port === undefined ? {} : { HEALTH_PORT: options.port })
    }),
    onLine: (line) => story.hear(line)
  })
  story.say(`Control plane ${plane.url}, gateway ${gateway.url}, runtime ${runtime.url}\n`)
  const task = yield* playScenario(person, account, story)

  if (!options.once) {
    story.say(
      `\nThe runtime keeps running: see it live at ${runtime.url}/, as JSON at ${runtime.url}/health. Ctrl-C drains it and ends the demonstration.`
    )
    isRunningOn = true
    const isOver = Effect.raceFirst(runtime.exit, Deferred.await(askedToEnd))
    if (kind === "scripted" && !options.json) {
      story.say(
        `Type a message to the team and press Enter, for example: "what is the status?", "@engineer add a help page" or "hello".`
      )
      yield* Effect.scoped(Effect.raceFirst(isOver, talkWithTeam(person, account, gateway.url, story)))
    } else yield* isOver
  }
  yield* runtime.signal("SIGTERM")
  const ending = yield* runtime.exit
  const summary = yield* Effect.promise(async () => {
    const [messages, notifications, runtimes] = await Promise.all([
      person.query("app/messages:list", { accountId: account.accountId, taskId: task.taskId }),
      person.query("app/notifications:list", { accountId: account.accountId, limit: 500 }),
      person.query("app/runtimes:list", { accountId: account.accountId })
    ])
    const count = (...states: ReadonlyArray<string>) =>
      notifications.filter(
        (row: { recipientType: string; state: string }) => row.recipientType === "agent" && states.includes(row.state)
      ).length
    return {
      thread: messages.map((message: { author: { name: string }; content: string }) => ({
        author: message.author.name,
        content: message.content
      })),
      toolCalls: story.toolCalls,
      notifications: {
        delivered: count("delivered"),
        waiting: count("ready", "claimed"),
        dead: count("dead")
      },
      runtimeStatus: String(runtimes[0]?.status ?? "unknown"),
      gateway: kind,
      elapsedMs: Math.round(performance.now() - startedAt)
    }
  })
  const { notifications, runtimeStatus } = summary
  story.say(
    `\nThe runtime is ${runtimeStatus} (exit ${ending.code}); ${notifications.delivered} notifications delivered, ${notifications.waiting} waiting, ${notifications.dead} dead; ${(summary.elapsedMs / 1_000).toFixed(1)} s in all.`
  )
  if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`)
  return ending.code === 0 && runtimeStatus === "offline"
})

/** Completed by the first Ctrl-C or SIGTERM after the scenario: the runtime drains, and the summary follows. */
const askedToEnd = Deferred.makeUnsafe<void>()
let isRunningOn = false

/** The scenario ended without its expected result. */
class DemoFailed extends Schema.TaggedError<DemoFailed>()("DemoFailed", { reason: Schema.String }) {
  override get message(): string {
    return this.reason
  }
}

const main = program.pipe(
  Effect.scoped,
  Effect.flatMap((isGood) =>
    isGood ? Effect.void : new DemoFailed({ reason: "the runtime did not exit with code 0 and status offline" })
  ),
  Effect.tapCause((cause) =>
    Cause.hasInterruptsOnly(cause)
      ? Effect.void
      : Effect.sync(() => {
          const failure = Cause.squash(cause)
          process.stderr.write(`demo: ${failure instanceof Error ? failure.message : String(failure)}\n`)
        })
  )
)

const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  const onSignal = () => {
    if (isRunningOn) Deferred.doneUnsafe(askedToEnd, Exit.void)
    else fiber.interruptUnsafe(fiber.id)
    isRunningOn = false
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  fiber.addObserver((exit) => teardown(exit, (code) => process.exit(code)))
})

runMain(main, {
  disableErrorReporting: true,
  teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) ? 0 : Cause.hasInterruptsOnly(exit.cause) ? 130 : 1)
})
