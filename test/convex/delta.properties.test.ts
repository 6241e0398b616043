import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Doc } from "../../convex/_generated/dataModel.js"
import { formatNotificationMessage } from "../../src/domain/prompt/Prompt.ts"
import { Dice } from "../simulation/dice.ts"
import { pass, stopTime } from "./clock.ts"
import {
  complete,
  contextOf,
  type DeliveryContext,
  fail,
  makeTask,
  release,
  resetLastCreationTime,
  seededPlane
} from "./controlPlane.ts"

stopTime()

/** The messages that a full text would show, newest first, and that the session's history does not contain. */
const missing = (
  { events, task }: DeliveryContext,
  messages: ReadonlyArray<Doc<"messages">>,
  history: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const asked = new Set<string | undefined>(events.map(({ message }) => message?.id))
  const thread = messages.filter(({ taskId }) => taskId === task?.id).slice(0, 25 + events.length)
  const before = thread.filter(({ _id }) => !asked.has(_id)).slice(0, 25)
  const shown = [...before.map(({ content }) => content), ...events.map(({ message }) => message?.content ?? "")]
  return shown.filter((content) => !history.some((text) => text.includes(content)))
}

describe("over random histories", () => {
  for (let seed = 1; seed <= 10; seed += 1) {
    it(`an agent has seen all that a full text would show (${seed})`, async () => {
      const dice = new Dice(`delta ${seed}`)
      const plane = await seededPlane({ sessionScope: dice.pick(["agent", "task"]) })
      const tasks = [await makeTask(plane), await makeTask(plane)]
      const histories = new Map<string, Array<string>>()
      let count = 0
      let deltas = 0
      /** A message that may have begun some seconds before it is committed. */
      const postRandomly = async () => {
        const late = dice.chance(0.3) ? dice.between(1, 9_000) : 0
        pass(1 - late)
        resetLastCreationTime(plane)
        await plane.post(dice.pick(tasks), `${dice.chance(0.5) ? "@engineer " : ""}words <${(count += 1)}>`)
        pass(late)
      }
      for (let step = 0; step < 30; step += 1) {
        pass(dice.pick([5, 800, 9_000, 20_000, 300_000]))
        for (let each = dice.pick([0, 1, 1, 2, 30]); each > 0; each -= 1) await postRandomly()
        if (dice.chance(0.05)) await plane.mutate(api.service.sessions.rotate, { agent: "engineer" })
        const { runs } = await plane.take()
        const messages = await plane.t.run((ctx) => ctx.db.query("messages").order("desc").collect())
        for (const run of runs) {
          const context = contextOf(run)
          const { input } = formatNotificationMessage(context, { accepted: context.events, attempt: run.attempt })
          const history = histories.get(context.sessionKey) ?? []
          histories.set(context.sessionKey, history)
          history.push(input)
          expect(missing(context, messages, history)).toEqual([])
          if (context.delta !== null) deltas += 1
          if (dice.chance(0.5)) await postRandomly()
          const how = dice.weighted({ replied: 6, acted: 2, failed: 1, released: 1, none: 1 })
          const reply = `reply <${(count += 1)}>`
          if (how === "replied") {
            history.push(reply)
            await complete(plane, run, { outcome: "replied", reply })
          } else if (how === "acted") await complete(plane, run, { outcome: "acted" })
          else {
            history.pop()
            if (how === "failed") await fail(plane, run, { nextAttemptAt: Date.now() + dice.pick([0, 60_000]) })
            if (how === "released") await release(plane, run)
            if (how === "none") await complete(plane, run, { turn: "none" })
          }
        }
      }
      expect(deltas).toBeGreaterThan(0)
    })
  }
})
