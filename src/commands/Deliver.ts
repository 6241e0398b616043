import { Effect } from "effect"
import type { Layer } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { RuntimeConfig } from "../layers/Config.ts"
import type { Redactor } from "../layers/secrets/Redactor.ts"
import { previewDelivery } from "../programs/delivery/DeliveryPreview.ts"
import type { AgentTools } from "../services/AgentTools.ts"
import type { ControlPlane } from "../services/ControlPlane.ts"
import { endWith } from "./EndedWith.ts"
import { jsonFlag, print, printJson } from "./Print.ts"

type Services = RuntimeConfig | ControlPlane | AgentTools | Redactor

/** What a state means for the preview; null if the control plane does not report it. */
const meaningOf = (state: string | null, outcome: string | null): string | null => {
  switch (state) {
    case null:
      return null
    case "ready":
      return "ready: waiting for delivery"
    case "claimed":
      return "claimed: a runtime is delivering it now; this is its prompt"
    case "delivered":
      return `delivered (${outcome ?? "no outcome"}): finished, no runtime delivers it again; a new attempt would look like this`
    case "dead":
      return "dead: failed for good; after `dead-letters retry` the next attempt would look like this"
    case "discarded":
      return "discarded: an operator ended it, no runtime delivers it; an attempt would have looked like this"
    default:
      return state
  }
}

const show = Effect.fnUntraced(function* (id: string, json: boolean) {
  const preview = yield* previewDelivery(id)
  if (json) yield* printJson(preview)
  if ("broken" in preview) return yield* endWith(1, `${id} cannot be delivered: ${preview.broken}`)
  if (json) return undefined
  const { prompt, tools, verdicts } = preview
  const meaning = meaningOf(preview.state, preview.outcome)
  return yield* print(
    [
      ...(meaning === null ? [] : [`state      ${meaning}`]),
      `agent      ${preview.agent}`,
      `session    ${preview.sessionKey}`,
      `endpoint   ${preview.endpoint}`,
      `answer     ${preview.isAnswerOwed ? "owed" : "not owed"}`,
      ...verdicts.map(
        (verdict) =>
          `verdict    ${verdict.shouldDeliver ? "deliver" : "skip"} ${verdict.type} by ${verdict.actor}: ${verdict.reason}`
      ),
      `tools      ${tools.map(({ name }) => name).join(", ") || "none in the request"}`,
      ...(prompt === null ? [] : ["", "--- instructions ---", prompt.instructions, "", "--- input ---", prompt.input])
    ].join("\n")
  )
})

/**
 * `deliver --dry-run`: shows a delivery without running it. The layer is built only with the flag, because a call without
 * it is refused before any variable is read.
 */
export const deliverWith = <E, R>(services: Layer.Layer<Services, E, R>) =>
  Command.make(
    "deliver",
    {
      id: Argument.String("id").pipe(Argument.withDescription("The notification's id, e.g. from runs list")),
      dryRun: Flag.Boolean("dry-run").pipe(
        Flag.withDescription("Required: this command only shows the delivery, `start` runs it"),
        Flag.withDefault(false)
      ),
      json: jsonFlag
    },
    Effect.fn(function* ({ dryRun, id, json }) {
      if (!dryRun) return yield* endWith(64, "deliver needs --dry-run: it only shows a delivery, and `start` delivers.")
      return yield* Effect.provide(show(id, json), services)
    })
  ).pipe(
    Command.withDescription("Show a delivery without running it: verdicts, session, endpoint, tools and prompt"),
    Command.withShortDescription("Show a delivery without running it"),
    Command.withExamples([
      { command: "mission-control-runtime deliver --dry-run <id>", description: "The prompt that the agent would get" }
    ])
  )
