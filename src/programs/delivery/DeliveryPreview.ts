import { Effect, Option } from "effect"
import { isAnswerOwed } from "../../domain/delivery/AnswerDuty.ts"
import { divideEvents, shouldDeliverToAgent } from "../../domain/delivery/DeliveryPolicy.ts"
import { formatNotificationMessage } from "../../domain/prompt/Prompt.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { AgentTools, describeHttpTools } from "../../services/AgentTools.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"

/**
 * Shown instead of the capability and of the fences' mark, with which anyone could act as the agent or close a fence.
 */
const OF_THE_RUN = "of-the-run"

/**
 * Shows what a delivery of this notification would do now: the verdict on each event, session, endpoint, tools and
 * prompt. Makes one query to the control plane and changes nothing; fails if that query fails.
 */
export const previewDelivery = Effect.fn("DeliveryPreview.previewDelivery")(function* (id: string) {
  const config = yield* RuntimeConfig
  const agentTools = yield* AgentTools
  const found = (yield* (yield* ControlPlane).context([id])).get(id) ?? { broken: "notification_missing" }
  if ("broken" in found) return { id, broken: found.broken }
  const { context, outcome, state } = found
  const { accepted } = divideEvents(context)
  const gateway = Option.getOrElse(config.gatewayUrl, () => `http://127.0.0.1:${config.gatewayPort}`)
  const access = { baseUrl: config.taskStatusBaseUrl, capability: OF_THE_RUN }
  return {
    id,
    state,
    outcome,
    agent: context.agent.slug,
    sessionKey: context.sessionKey,
    endpoint: `POST ${gateway}/v1/responses`,
    isAnswerOwed: isAnswerOwed(accepted),
    verdicts: context.events.map((event) => ({
      event: event.index,
      type: event.type,
      actor: event.actor.name,
      ...shouldDeliverToAgent(context, event)
    })),
    tools: config.clientToolsEnabled ? agentTools.offered(context.agent) : [],
    prompt:
      accepted.length === 0
        ? null
        : formatNotificationMessage(
            { ...context, fenceMark: OF_THE_RUN },
            {
              accepted,
              attempt: context.earlier.attempts + 1,
              ...(config.clientToolsEnabled ? {} : { httpTools: describeHttpTools(context, access) })
            }
          )
  }
})
