/**
 * Model tokens of a team's turns: a scripted conversation with the real gateway if it is installed, otherwise with the
 * scripted one, which builds the provider's requests in the same order (tools, system prompt, append-only history).
 * Runs once with a session for each agent and once with one for each task.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Effect } from "effect"
import type { Scope } from "effect"
import { demoTeam } from "../local/account.ts"
import { sessionOf } from "../local/model/scriptedModel.ts"
import { CANARY_TOOL } from "../src/domain/gateway/Canary.ts"
import type { ActedCall } from "../test/actingModel.ts"
import { serveActingModel } from "../test/actingModel.ts"
import { eventually } from "../test/process/setup.ts"
import type { Setup, NotificationRow } from "../test/process/setup.ts"
import { inPasses } from "./passes.ts"
import type { Pass, Row } from "./passes.ts"
import { here, setupOf } from "./subject.ts"
import type { Subject } from "./subject.ts"
import { kindOf, makeRequestLog, ownText, rowsOf, tableOf } from "./tokenRequests.ts"
import { base } from "./tokensBase.ts"
import { gatewayName, isReal, startReal } from "./tokensGateway.ts"

/** Messages of a person in the first task and in the second. */
const MESSAGES = { first: 30, second: 12 }
/** Heartbeats of one agent after the conversation. */
const HEARTBEATS = 5
/**
 * Number of tasks in which a person then mentions the engineer at the same time, and how long the model takes for each
 * answer.
 */
const AT_ONCE = { tasks: 4, modelMillis: 2_000 }

const words =
  "the login button on the settings page does not react when the network is slow so we should check the retry logic and the error text before the release"

/** A text of about this many characters, different for each number. */
const textFor = (number: number, characters: number): string => {
  const rotated = words.split(" ").map((_, index, all) => all[(index * 7 + number) % all.length])
  return `(${number}) ${Array.from({ length: Math.ceil(characters / words.length) }, () => rotated.join(" ")).join(". ")}`
}

/** Answers as a team does: mentioned agents look at the task and answer, the others have nothing to add. */
const act = (own: string, number: number): string | ActedCall => {
  switch (kindOf(own)) {
    case "heartbeat":
      return "HEARTBEAT_OK"
    case "tool round":
      return textFor(number, 300)
    case "delivery": {
      const taskId = /task id: (\w+)/.exec(own)?.[1]
      if (!own.includes(" mentioned you")) return "NO_ACTION"
      return taskId === undefined || number % 3 !== 0 ? textFor(number, 300) : { name: "task_load", args: { taskId } }
    }
  }
}

/** Nothing runs or is due, except updates from other agents, which may wait. */
const isSettled = (rows: ReadonlyArray<NotificationRow>): boolean =>
  rows.every(({ state, type }) => state === "delivered" || (state === "ready" && type === "thread_update"))

/** Waits until the team has been quiet for a moment. */
const untilQuiet = ({ notifications }: Setup): Effect.Effect<unknown> =>
  eventually(notifications, isSettled).pipe(
    Effect.andThen(Effect.sleep("300 millis")),
    Effect.andThen(notifications),
    Effect.repeat({ until: isSettled })
  )

type SessionScope = "agent" | "task"

/** A team whose agents answer by `act`, and the requests that its model received. */
const makeTeam = (subject: Subject, sessionScope: SessionScope) =>
  Effect.gen(function* () {
    const log = makeRequestLog()
    let modelMillis = 0
    const modelUrl = yield* serveActingModel(async ({ tools }, chat) => {
      if (tools.includes(CANARY_TOOL)) return { name: CANARY_TOOL, args: { word: "canary" } }
      const own = ownText(chat)
      const session = sessionOf(chat.messages)?.session
      if (session === undefined || !/delivery|heartbeat|"tool":/.test(own)) return "ok"
      log.add(session, chat)
      if (modelMillis > 0) await sleep(modelMillis)
      return act(own, log.requests.length)
    })
    const setup = yield* setupOf(subject, { gatewayArgs: ["--model-url", modelUrl] })
    const env = isReal
      ? yield* startReal(
          modelUrl,
          demoTeam.map(({ slug }) => slug)
        )
      : {}
    const { accountId } = setup.account
    yield* Effect.promise(() => setup.person.mutation("app/accounts:configure", { accountId, sessionScope }))
    yield* setup.startRuntime({ LOG_LEVEL: "error", ...env })
    const slowDown = () => {
      modelMillis = AT_ONCE.modelMillis
    }
    return { setup, requests: log.requests, slowDown }
  })

const play = (subject: Subject, sessionScope: SessionScope): Effect.Effect<ReadonlyArray<Row>, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const { setup, requests, slowDown } = yield* makeTeam(subject, sessionScope)
    const { accountId, agents } = setup.account
    const engineer = agents["engineer"]!
    const newTask = (title: string) =>
      Effect.gen(function* () {
        const taskId = yield* setup.newTask(title)
        yield* Effect.promise(() =>
          setup.person.mutation("app/tasks:assign", { accountId, taskId, assigneeIds: [engineer] })
        )
        return taskId
      })
    const converse = (title: string, messages: number) =>
      Effect.gen(function* () {
        const taskId = yield* newTask(title)
        for (let number = 0; number < messages; number += 1) {
          const slug = ["engineer", "qa", "squad-lead"][number % 3]!
          yield* setup.post(taskId, `@${slug} ${textFor(number, 400)}`)
          yield* untilQuiet(setup)
        }
      })
    yield* converse("Fix the login button", MESSAGES.first)
    const first = [...requests]
    yield* converse("Write the release notes", MESSAGES.second)
    const heartbeat = (schedule: string) =>
      Effect.promise(() =>
        setup.person.mutation("app/agents:update", { accountId, agentId: engineer, heartbeat: schedule })
      )
    yield* heartbeat("* * * * * *")
    yield* eventually(
      Effect.sync(() => requests.filter(({ kind }) => kind === "heartbeat").length),
      (count) => count >= HEARTBEATS
    )
    yield* heartbeat("0 0 29 2 *")
    const measured = [...requests]
    const tasks = yield* Effect.forEach(Array.from({ length: AT_ONCE.tasks }), (_, index) => newTask(`Task ${index}`))
    yield* untilQuiet(setup)
    slowDown()
    const from = performance.now()
    yield* Effect.forEach(tasks, (taskId) => setup.post(taskId, "@engineer how is it going?"))
    yield* untilQuiet(setup)
    const seconds = (performance.now() - from) / 1_000
    process.stderr.write(`\n${subject.root}, a session per ${sessionScope}, ${gatewayName}\n${tableOf(measured)}\n`)
    return [
      ...rowsOf(measured, first),
      { name: `${AT_ONCE.tasks} messages to one agent in as many tasks, all answered`, unit: "s", samples: [seconds] }
    ]
  })

/** The maximum share of the figures of commit f135eba. */
const shares = [
  ["input per turn", 0.38],
  ["input per turn, price-weighted, warm, Anthropic", 0.07],
  ["input per turn, price-weighted, cold, Anthropic", 0.4],
  ["own input of a delivery, at 30 messages", 0.2]
] as const

const toBase = (rows: ReadonlyArray<Row>): ReadonlyArray<Row> =>
  shares.flatMap(([name, below]) => {
    const before = base[isReal ? "real" : "scripted"][name]
    const sample = rows.find((row) => row.name === name)?.samples[0]
    if (before === undefined || sample === undefined) return []
    return [{ name: `${name}, to commit f135eba`, unit: "ratio", samples: [sample / before], goal: { below } }]
  })

const pass: Pass = (subject) =>
  Effect.gen(function* () {
    const agent = yield* Effect.scoped(play(subject, "agent"))
    const task = yield* Effect.scoped(play(subject, "task"))
    return [
      ...agent.map((row) => ({ ...row, name: `tokens: ${row.name}` })),
      ...(subject === here ? toBase(agent) : []).map((row) => ({ ...row, name: `tokens: ${row.name}` })),
      // The goals apply to the default.
      ...task.map(({ name, samples, unit }) => ({ name: `tokens, a session per task: ${name}`, samples, unit }))
    ]
  })

/** Runs the measurement; about ten minutes for each checkout. One pass, because the conversation is always the same. */
export const run = inPasses(pass, 1)
