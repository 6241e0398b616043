import { Schema } from "effect"
import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { TurnPlan } from "../../src/domain/delivery/Judgement.ts"
import { planNotification } from "../../src/domain/delivery/NotificationPlan.ts"
import { HeartbeatRun, NotificationRun } from "../../src/domain/delivery/Run.ts"
import { planHeartbeat } from "../../src/domain/heartbeats/HeartbeatPlan.ts"
import { allTools } from "../../src/services/tools/AllTools.ts"
import { minute, pass, stopTime } from "./clock.ts"
import { complete, only, type Plane, seededPlane } from "./controlPlane.ts"

stopTime()

const limits = { maxAttempts: 8, silenceLimit: 3 }

const decodeRun = Schema.decodeUnknownSync(Schema.Union([NotificationRun, HeartbeatRun]))

/** Claims the engineer's due run. Deliveries of other agents end without a turn. */
const engineersRun = async (plane: Plane, heartbeatLimit = 0): Promise<NotificationRun | HeartbeatRun> => {
  const { runs } = await plane.take({ heartbeatLimit })
  const own: Array<unknown> = []
  for (const run of runs) {
    if ("context" in run && run.context.agent.slug === "engineer") own.push(run)
    else if (run.kind === "notification") await complete(plane, run)
  }
  return decodeRun(only(own))
}

/** Numbers the ids in order, so that the page does not depend on what else the control plane stores. */
const names = new Map<string, string>()
const nameFor = (id: string, table: string): string => {
  const number = [...names.values()].filter((name) => name.startsWith(table)).length + 1
  const name = names.get(id) ?? `${table}_${number}`
  names.set(id, name)
  return name
}

const promptOf = (run: NotificationRun | HeartbeatRun) => {
  const plan: TurnPlan | { readonly _tag: string } =
    run.kind === "notification"
      ? planNotification(run, limits)
      : planHeartbeat(run, { now: Date.now(), skipsIdle: true })
  if (!("prompt" in plan)) throw new Error(`no turn: ${plan._tag}`)
  const prompt = plan.prompt({})
  // The mark and the time of an agent's first heartbeat are random.
  const moment = run.kind === "heartbeat" ? String(run.context.heartbeat.dueAt) : ""
  const shown = (text: string) =>
    text
      .replaceAll(run.context.fenceMark, "0123456789abcdef")
      .replace(moment, moment === "" ? "" : "1767607200000")
      .replaceAll(/\b\d{15,}(task|notification|agent)s\b/g, (id, table: string) => nameFor(id, table))
  return { instructions: shown(prompt.instructions), input: shown(prompt.input) }
}

const block = (text: string): string => {
  if (text.includes("\n```")) throw new Error("the text would end its block")
  return `\`\`\`text\n${text}\n\`\`\``
}

/** A person's first message, a later one in the thread, and a heartbeat, as the engineer reads them. */
const page = async (): Promise<string> => {
  const plane = await seededPlane()
  const { taskId } = await plane.asPerson(api.app.tasks.create, {
    title: "Fix the login button",
    description: "The button on the settings page does nothing when the network is slow.",
    labels: ["web"],
    priority: 2
  })
  await plane.asPerson(api.app.documents.upsert, {
    title: "Repository",
    content: "git@example.org:acme/web, default branch main",
    type: "reference",
    isRepository: true
  })
  await plane.asPerson(api.app.documents.upsert, {
    taskId,
    title: "How to reproduce it",
    content: "Limit the network to 50 kbit/s, open Settings, press Log in twice.",
    type: "note"
  })
  pass(minute)
  await plane.post(taskId, "@engineer please find out why, and fix it.")
  const first = await engineersRun(plane)
  const firstPrompt = promptOf(first)
  await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [plane.engineer] })
  pass(2 * minute)
  await complete(plane, first, {
    outcome: "replied",
    reply: "The handler waits for the session forever. I will give it a limit of five seconds."
  })
  await complete(plane, await engineersRun(plane))
  pass(5 * minute)
  await plane.post(taskId, "Five seconds is fine.")
  await plane.post(taskId, "@engineer does it also happen on phones? @qa please try one.")
  const later = await engineersRun(plane)
  const laterPrompt = promptOf(later)
  await complete(plane, later, { outcome: "replied", reply: "Yes, the same handler runs there." })
  pass(20 * minute)
  const heartbeat = await engineersRun(plane, 8)
  const heartbeatPrompt = promptOf(heartbeat)
  expect([first.kind, later.kind, heartbeat.kind]).toEqual(["notification", "notification", "heartbeat"])
  expect(laterPrompt.instructions).toBe(firstPrompt.instructions)
  const { agent } = first.context
  const tools = allTools
    .filter((tool) => tool.isOffered(agent))
    .map(({ name }) => `\`${name}\``)
    .join(", ")
  return `# What an agent reads

Three complete prompts of one agent, with function tools on. The gateway puts its own system prompt, the workspace's files
and the history of the session before them. A test plays the conversation against the control plane's functions and
compares this page; \`npx vitest run --project unit test/convex/agentsPrompt.test.ts --update\` writes it. Each request
offers the same tools, with their schemas: ${tools}.

- [The first message of a new task](#the-first-message-of-a-new-task)
- [A later message in the thread](#a-later-message-in-the-thread)
- [A heartbeat](#a-heartbeat)

## The first message of a new task

\`instructions\`, the same in every turn of the session:

${block(firstPrompt.instructions)}

\`input\`:

${block(firstPrompt.input)}

## A later message in the thread

\`instructions\` are byte for byte those above. \`input\`:

${block(laterPrompt.input)}

## A heartbeat

Heartbeats have a separate session. \`instructions\`:

${block(heartbeatPrompt.instructions)}

\`input\`:

${block(heartbeatPrompt.input)}
`
}

describe("docs/agents-prompt.md", () => {
  it("shows the current prompts (run this test with --update to write them)", async () => {
    await expect(await page()).toMatchFileSnapshot("../../docs/agents-prompt.md")
  })
})
