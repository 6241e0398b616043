/** After the scenario: what a newcomer types goes to the team, and the scripted model answers it. */
import { Effect } from "effect"
import { type Account, demoTeam } from "../account.ts"
import type { Action, Script } from "../model/script.ts"
import type { Person } from "../person.ts"
import type { Story } from "./story.ts"
import { talk } from "./thread.ts"

const asksForStatus = /\b(status|progress|news|how far|done|left|open)\b/i
const asksForWork = /\b(add|build|change|create|fix|make|remove|update|write)\b/i

const taskIdInResult = '\\\\?"taskId\\\\?":\\\\?"([A-Za-z0-9]+)'

/** The agent of the first mention; the squad lead without one. */
const addresseeOf = (line: string) =>
  demoTeam.find(({ slug }) => line.toLowerCase().includes(`@${slug}`)) ?? demoTeam.find((each) => each.isOrchestrator)

/** How the model answers this line: with the status, by a task that it creates and finishes, or with a question. */
export const scriptFor = (line: string): Script => {
  const addressee = addresseeOf(line)
  const request = line.replaceAll(/@\S+/g, "").trim()
  const matchSystem = `You are ${addressee?.name ?? ""}`
  /** The first action answers this line and no other work of the agent; the others answer the results of its tools. */
  const rule = ([first, ...others]: readonly [Action, ...ReadonlyArray<Action>]): Script => ({
    replace: true,
    fallback: { text: "NO_ACTION" },
    rules: [
      { matchSystem, match: line, actions: [first] },
      ...(others.length === 0
        ? []
        : [{ matchSystem, match: { regex: taskIdInResult }, capture: { taskId: taskIdInResult }, actions: others }]),
      { match: "assigned this task to you", repeat: true, actions: [{ text: "I have done this already." }] }
    ]
  })
  if (asksForWork.test(request)) {
    const move = (status: string) => ({
      toolCalls: [{ name: "task_status", args: { taskId: "{{taskId}}", status } }]
    })
    const title = request.slice(0, 1).toUpperCase() + request.slice(1, 100)
    // Done is set by the orchestrator and by agents that review.
    const isReviewed = addressee?.slug !== "engineer"
    // An orchestrator names the assignees of a task that it creates.
    const assignees = addressee?.isOrchestrator === true ? { assigneeSlugs: [addressee.slug] } : {}
    const text = isReviewed
      ? `I created the task "${title}", did it, reviewed it and set it to done.`
      : `I created the task "${title}" and did it. It is ready for review.`
    return rule([
      { toolCalls: [{ name: "task_create", args: { title, status: "in_progress", ...assignees } }] },
      move("review"),
      ...(isReviewed ? [move("done")] : []),
      { text }
    ])
  }
  return asksForStatus.test(request)
    ? rule([{ text: "The login button works again: Engineer fixed it, and QA checked it. No work is open." }])
    : rule([{ text: "What exactly should be different afterwards, and for whom? Then I can create a task for it." }])
}

/** Creates the task for what the newcomer types. Its agents may create tasks. */
export const openConversation = (person: Person, { accountId }: Account) =>
  Effect.promise(async () => {
    await person.mutation("app/accounts:configure", { accountId, agentFlags: { canCreateTasks: true } })
    const { taskId } = await person.mutation("app/tasks:create", { accountId, title: "Questions to the team" })
    return { accountId, taskId: String(taskId) }
  })

/** The message for a typed line: to the squad lead if it mentions no one. */
export const addressed = (line: string): string => (line.includes("@") ? line : `@squad-lead ${line}`)

/** Posts each typed line to a new task, and prints its thread, until the scope ends. */
export const talkWithTeam = (person: Person, account: Account, scriptUrl: string, story: Story) =>
  Effect.gen(function* () {
    const task = yield* openConversation(person, account)
    return yield* talk(person, task, story, async (line) => {
      await fetch(`${scriptUrl}/__local/script`, { method: "POST", body: JSON.stringify(scriptFor(line)) })
      return addressed(line)
    })
  })
