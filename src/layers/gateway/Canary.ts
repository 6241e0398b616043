/** A turn that asks an agent for one tool call, to check that tool calls reach the runtime. */
import { Duration, Effect, Ref, Schedule } from "effect"
import { CANARY_TOOL, canaryRequest, TOOL_SEARCH_FIX } from "../../domain/gateway/Canary.ts"
import type { CanaryOutcome } from "../../domain/gateway/Canary.ts"
import { singleLine, truncate } from "../../domain/text/Text.ts"
import { RuntimeConfig } from "../Config.ts"
import { Gateway } from "../Gateway.ts"
import { Redactor } from "../secrets/Redactor.ts"

/** The first turn after a gateway's start takes up to 10 s, and a provider's retries longer. */
const TURN_LIMIT = Duration.seconds(90)
const INTERVAL = "10 minutes"
const SHOWN_CHARACTERS = 200

/** Asks the agent for one tool call, in a separate session; never fails. */
export const runCanary = Effect.fn("Canary.runCanary")(function* (agentSlug: string) {
  const { accountId } = yield* RuntimeConfig
  const gateway = yield* Gateway
  const { redact } = yield* Redactor
  return yield* gateway.sendToOpenClaw(canaryRequest(agentSlug, accountId)).pipe(
    Effect.map((answer): CanaryOutcome => {
      if (answer._tag === "Text") {
        // Redacted before it is cut, because a part of a secret would not be recognized.
        const text = truncate(singleLine(redact(answer.text)), SHOWN_CHARACTERS)
        return { _tag: "Silent", detail: `agent ${agentSlug} wrote: ${text}` }
      }
      return answer.calls.some(({ name }) => name === CANARY_TOOL)
        ? { _tag: "Called" }
        : { _tag: "Silent", detail: `agent ${agentSlug} called another tool` }
    }),
    Effect.catch((failure) =>
      Effect.succeed<CanaryOutcome>({ _tag: "Failed", detail: `${failure._tag}: ${failure.detail}` })
    ),
    Effect.timeoutOrElse({
      duration: TURN_LIMIT,
      orElse: () =>
        Effect.succeed<CanaryOutcome>({ _tag: "Failed", detail: `no end within ${Duration.format(TURN_LIMIT)}` })
    })
  )
})

/** A check that repeats the canary until a tool call arrives, the canary's or a delivery's. */
export const makeToolCheck = Effect.gen(function* () {
  const gateway = yield* Gateway
  /** Why agents do not see our tools; empty without a problem. Turns run nevertheless. */
  const problem = yield* Ref.make("")
  const attempt = Effect.gen(function* () {
    if ((yield* gateway.state).hasSentToolCalls) return true
    const [agentSlug] = yield* Effect.orElseSucceed(gateway.agents, () => [])
    if (agentSlug === undefined) return false
    const outcome = yield* runCanary(agentSlug)
    switch (outcome._tag) {
      case "Called":
        yield* Effect.logInfo("the gateway's agents can call the runtime's tools")
        return true
      case "Failed":
        yield* Effect.logWarning(`canary failed, retrying in ${INTERVAL}: ${outcome.detail}`)
        return false
      case "Silent": {
        const found = `agents do not see the runtime's tools: ${outcome.detail}: ${TOOL_SEARCH_FIX}`
        if ((yield* Ref.getAndSet(problem, found)) === "") yield* Effect.logError(found)
        return false
      }
    }
  })
  return {
    problem: Ref.get(problem),
    run: attempt.pipe(Effect.repeat({ schedule: Schedule.spaced(INTERVAL), until: (isDone) => isDone }))
  }
})
