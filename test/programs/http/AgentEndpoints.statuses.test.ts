import { assert, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import type { NewAgent } from "../../../local/account.ts"
import type { DeliveryContext } from "../../../src/domain/delivery/DeliveryContext.ts"
import { formatNotificationMessage } from "../../../src/domain/prompt/Prompt.ts"
import { agentTaskStatuses, taskStatuses } from "../../../src/domain/shared/TaskStatus.ts"
import type { LiveRun } from "../../../src/services/LiveRuns.ts"
import { makeToolHouse } from "./toolHouse.ts"

/** Every kind of agent as far as statuses go; all make the tasks that they move, so that these are their own. */
const kinds: ReadonlyArray<NewAgent> = [
  { slug: "lead", name: "Lead", role: "plans", isOrchestrator: true },
  { slug: "plain", name: "Plain", role: "builds" },
  { slug: "finisher", name: "Finisher", role: "ends", flags: { canMarkDone: true } },
  { slug: "reviewer", name: "Reviewer", role: "reviews", flags: { canReviewTasks: true } },
  { slug: "frozen", name: "Frozen", role: "reads", flags: { canModifyTaskStatus: false, canMarkDone: true } }
].map((agent) => ({ ...agent, flags: { ...agent.flags, canCreateTasks: true } }))

it.live(
  "prompt, tool, endpoint and control plane agree on every status that every kind of agent may set",
  () =>
    Effect.gen(function* () {
      const house = yield* makeToolHouse(kinds)
      const { accountId, agents, mention, person, plane } = house
      // A run may make twenty tasks: each agent has one for each status.
      yield* Effect.promise(() => person.mutation("app/accounts:configure", { accountId, sessionScope: "task" }))
      const causes = new Map<string, string>()
      for (const from of taskStatuses) {
        const taskId = yield* house.make(`Own, for ${from}`)
        causes.set(taskId, from)
        yield* mention(taskId, `please look: ${kinds.map(({ slug }) => `@${slug}`).join(" ")}`)
      }
      const nameOf = ({ context }: LiveRun) =>
        `${context.agent.slug} ${causes.get("task" in context ? (context.task?.id ?? "") : "")}`
      const runs = new Map((yield* house.claimEach).map((run) => [nameOf(run), run]))
      for (const { slug } of kinds)
        for (const from of taskStatuses) assert.property(Object.fromEntries(runs), `${slug} ${from}`)
      let made = 0
      /** A task of the agent's run in that status, moved there by a person. */
      const taskIn = Effect.fnUntraced(function* (slug: string, status: string) {
        const call = {
          callId: "call",
          name: "task_create",
          arguments: JSON.stringify({ title: `Task ${(made += 1)}` })
        }
        const { taskId } = JSON.parse(
          (yield* house.agentTools.executeAgentTool(runs.get(`${slug} ${status}`)!, call)).json
        )
        yield* Effect.promise(async () => {
          if (status === "inbox") return
          await person.mutation("app/tasks:assign", { accountId, taskId, assigneeIds: [agents[slug]!] })
          const move = { accountId, taskId, status, blockedReason: "waits" }
          if (status !== "assigned") await person.mutation("app/tasks:setStatus", move)
        })
        return String(taskId)
      })
      const ways = ["tool", "endpoint", "plane"] as const
      const cells = kinds.flatMap(({ slug }) => taskStatuses.map((from) => ({ slug, from })))
      const tasks = yield* Effect.forEach(cells, ({ from, slug }) =>
        Effect.gen(function* () {
          const shown = yield* taskIn(slug, from)
          const moves = yield* Effect.forEach(agentTaskStatuses, (to) =>
            Effect.map(
              Effect.forEach(ways, (way) => Effect.map(taskIn(slug, from), (taskId) => ({ way, taskId }))),
              (tried) => ({ to, tried })
            )
          )
          return { slug, from, shown, moves }
        })
      )
      // A turn changes nothing that a person set after its claim.
      const later = new Map((yield* house.claimAgain).map((run) => [nameOf(run), run]))
      for (const [name, run] of runs) {
        for (const taskId of run.createdTaskIds) later.get(name)!.createdTaskIds.add(taskId)
      }
      const statusOf = (taskId: string) => Effect.map(plane.loadTask({ taskId }), ({ task }) => task)
      const disagreements: Array<string> = []
      let allowed = 0
      for (const { from, moves, shown, slug } of tasks) {
        const run = later.get(`${slug} ${from}`)!
        const promptTask = yield* statusOf(shown)
        assert.strictEqual(promptTask.status, from)
        const { input } = formatNotificationMessage(
          { ...(run.context as DeliveryContext), task: promptTask },
          { accepted: [], attempt: 1 }
        )
        const promised = /You may set it to: ([a-z_, ]+)\./.exec(input)?.[1]?.split(", ") ?? []
        for (const { to, tried } of moves) {
          const isPromised = promised.includes(to)
          allowed += isPromised ? 1 : 0
          for (const { taskId, way } of tried) {
            const parameters = { taskId, status: to, ...(to === "blocked" ? { blockedReason: "waits" } : {}) }
            const call = { callId: "call", name: "task_status", arguments: JSON.stringify(parameters) }
            const sets: Record<(typeof ways)[number], Effect.Effect<unknown, unknown>> = {
              tool: house.agentTools.executeAgentTool(run, call),
              endpoint: house.post("/agent/task-status", run, parameters),
              plane: Effect.ignore(plane.setTaskStatus(run.fence, parameters))
            }
            yield* sets[way]
            const after = (yield* statusOf(taskId)).status
            if ((after === to && to !== from) !== isPromised || (after !== to && after !== from)) {
              disagreements.push(`${slug}: ${from} -> ${to}: prompt ${isPromised}, ${way} left it in ${after}`)
            }
          }
        }
      }
      assert.deepStrictEqual(disagreements, [])
      // Neither everything nor nothing: the matrix has both.
      assert.isAbove(allowed, 30)
      assert.isBelow(allowed, kinds.length * taskStatuses.length * agentTaskStatuses.length)
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([]))),
  60_000
)
