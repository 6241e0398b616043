import { Effect, Option } from "effect"
import { isAnswerOwed } from "../domain/AnswerDuty.ts"
import { shouldDeliverToAgent } from "../domain/DeliveryPolicy.ts"
import { formatNotificationMessage } from "../domain/Prompt.ts"
import { nextStatusesFor } from "../domain/TaskStatus.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { AgentTools, buildHttpCapabilityLabels, describeHttpTools } from "../services/AgentTools.ts"
import { ControlPlane } from "../services/ControlPlane.ts"

/** Stands where each run has a secret or a chance of its own. */
const OF_THE_RUN = "of-the-run"

/**
 * What a delivery of this notification would do now: verdict for each row, session, endpoint, tools and prompt. Asks one
 * query of the control plane and changes nothing; fails as that query does.
 */
export const previewDelivery = Effect.fn("DeliveryPreview.previewDelivery")(function* (id: string) {
  const config = yield* RuntimeConfig
  const controlPlane = yield* ControlPlane
  const agentTools = yield* AgentTools
  const found = (yield* controlPlane.context([id])).get(id) ?? { broken: "notification_missing" }
  if ("broken" in found) return { id, broken: found.broken }
  const { context } = found
  const verdicts = context.fold.map((row) => ({ id: row.id, type: row.type, ...shouldDeliverToAgent(context, row) }))
  const accepted = context.fold.filter((_, index) => verdicts[index]?.shouldDeliver === true)
  const gateway = Option.getOrElse(config.gatewayUrl, () => `http://127.0.0.1:${config.gatewayPort}`)
  const prompt =
    accepted.length === 0
      ? null
      : formatNotificationMessage(context, {
          accepted,
          attempt: context.earlier.attempts + 1,
          boundary: OF_THE_RUN,
          capabilities: buildHttpCapabilityLabels(context),
          nextStatuses:
            context.task === null
              ? []
              : nextStatusesFor(context.agent, context.task.status, context.task.assignees.length),
          ...(config.clientToolsEnabled
            ? {}
            : { httpTools: describeHttpTools(context, { baseUrl: config.taskStatusBaseUrl, capability: OF_THE_RUN }) })
        })
  return {
    id,
    agent: context.agent.slug,
    sessionKey: context.sessionKey,
    endpoint: `POST ${gateway}/v1/responses`,
    isAnswerOwed: isAnswerOwed(accepted),
    verdicts,
    tools: config.clientToolsEnabled ? agentTools.offered(context) : [],
    prompt
  }
})
