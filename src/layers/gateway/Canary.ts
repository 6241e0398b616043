import { Duration, Effect } from "effect"
import { CANARY_TOOL, canaryRequest } from "../../domain/gateway/Canary.ts"
import type { CanaryOutcome } from "../../domain/gateway/Canary.ts"
import { RuntimeConfig } from "../Config.ts"
import { Gateway } from "../Gateway.ts"
import { Redactor } from "../secrets/Redactor.ts"

/** The first turn of a gateway that has just started takes up to 10 s, and a provider's retries longer. */
const PATIENCE = Duration.seconds(90)
const SHOWN_CHARACTERS = 200

/** Asks the agent for one tool call, in a session of its own; never fails. */
export const runCanary = Effect.fn("Canary.runCanary")(function* (agentSlug: string) {
  const { accountId } = yield* RuntimeConfig
  const gateway = yield* Gateway
  const { redact } = yield* Redactor
  return yield* gateway.sendToOpenClaw(canaryRequest(agentSlug, accountId)).pipe(
    Effect.map((answer): CanaryOutcome => {
      if (answer._tag === "Text") {
        // Before the cut, which could leave a part of a secret.
        const words = redact(answer.text).replace(/\s+/g, " ").slice(0, SHOWN_CHARACTERS).toWellFormed()
        return { _tag: "Silent", detail: `agent ${agentSlug} wrote: ${words}` }
      }
      return answer.calls.some(({ name }) => name === CANARY_TOOL)
        ? { _tag: "Called" }
        : { _tag: "Silent", detail: `agent ${agentSlug} called another tool` }
    }),
    Effect.catch((failure) =>
      Effect.succeed<CanaryOutcome>({ _tag: "Failed", detail: `${failure._tag}: ${failure.detail}` })
    ),
    Effect.timeoutOrElse({
      duration: PATIENCE,
      orElse: () =>
        Effect.succeed<CanaryOutcome>({ _tag: "Failed", detail: `no end within ${Duration.format(PATIENCE)}` })
    })
  )
})
