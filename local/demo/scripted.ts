import { Effect } from "effect"
import { makeAccount, runtimeEnv } from "../account.ts"
import { launchPlane } from "../launcher.ts"
import { personAt } from "../person.ts"
import { temporaryFolder } from "../temporaryFolder.ts"
import { talkWithTeam } from "./conversation.ts"
import { DemoFailed } from "./demoFailed.ts"
import { startDemoGateway } from "./gateway.ts"
import type { DemoOptions } from "./options.ts"
import { portOf, startRuntime } from "./runtime.ts"
import { playScenario } from "./scenario.ts"
import type { Story } from "./story.ts"
import { commandLine, writeVariables } from "./variables.ts"

/**
 * Plays the scenario with the scripted or the real gateway and a scripted model, then lets the newcomer type messages
 * until `ending`. Fails if the runtime did not end in order.
 */
export const scripted = (options: DemoOptions, story: Story, ending: Effect.Effect<void>) =>
  Effect.gen(function* () {
    const startedAt = performance.now()
    story.say(
      `Starting the control plane, the ${options.gateway === "scripted" ? "scripted" : "real OpenClaw"} gateway and the runtime ...`
    )
    const [plane, gateway] = yield* Effect.all([launchPlane({}), startDemoGateway(options.gateway, story)], {
      concurrency: 2
    })
    const person = personAt(plane.url, plane.adminKey)
    const account = yield* Effect.promise(() => makeAccount(person))
    const runtime = yield* startRuntime(story, {
      env: runtimeEnv(account, plane.url, { url: "" }, { ...gateway.env, RUNTIME_ID: "demo", ...portOf(options) })
    })
    story.say(`Control plane ${plane.url}, gateway ${gateway.url}, runtime ${runtime.url}\n`)
    const task = yield* playScenario(person, account, story)

    if (!options.once) {
      story.say(
        `\nThe runtime keeps running: see it live at ${runtime.url}/, as JSON at ${runtime.url}/health. Ctrl-C ends everything.`
      )
      const isOver = Effect.raceFirst(runtime.exit, ending)
      if (!options.json) {
        story.say(
          `You are Pat. Type a message to the team and press Enter, for example: "what is the status?", "@engineer add a help page" or "hello". Without a mention it goes to the squad lead.`
        )
        const folder = yield* temporaryFolder("mission-control-demo-")
        story.say("To try the commands for people, copy this one into another terminal:")
        story.command(commandLine(yield* writeVariables(folder, account, plane, runtime)))
        yield* Effect.scoped(Effect.raceFirst(isOver, talkWithTeam(person, account, gateway.scriptUrl, story)))
      } else yield* isOver
    }
    yield* runtime.signal("SIGTERM")
    const ended = yield* runtime.exit
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
        gateway: options.gateway,
        elapsedMs: Math.round(performance.now() - startedAt)
      }
    })
    const { notifications, runtimeStatus } = summary
    story.say(
      `\nThe runtime is ${runtimeStatus} (exit ${ended.code}); ${notifications.delivered} notifications delivered, ${notifications.waiting} waiting, ${notifications.dead} dead; ${(summary.elapsedMs / 1_000).toFixed(1)} s in all.`
    )
    if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`)
    if (ended.code !== 0 || runtimeStatus !== "offline") {
      return yield* new DemoFailed({ reason: "the runtime did not exit with code 0 and status offline" })
    }
  })
