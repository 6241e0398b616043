import { accountTables } from "./accounts.ts"
import { agentTables } from "./agents.ts"
import { approvalTables } from "./approvals.ts"
import { attemptTables } from "./attempts.ts"
import { budgetTables } from "./budgets.ts"
import { heartbeatTables } from "./heartbeats.ts"
import { notificationTables } from "./notifications.ts"
import { progressTables } from "./progress.ts"
import { rolloutTables } from "./rollouts.ts"
import { runTables } from "./runs.ts"
import { runtimeTables } from "./runtimes.ts"
import { sessionTables } from "./sessions.ts"
import { taskTables } from "./tasks.ts"
import { threadTables } from "./threads.ts"
import { usageTables } from "./usage.ts"
import { webhookTables } from "./webhooks.ts"

/** All tables of the control plane. All times are epoch milliseconds of the control plane's clock. */
export const missionControl = {
  ...accountTables,
  ...agentTables,
  ...taskTables,
  ...threadTables,
  ...notificationTables,
  ...runTables,
  ...progressTables,
  ...sessionTables,
  ...attemptTables,
  ...approvalTables,
  ...usageTables,
  ...budgetTables,
  ...heartbeatTables,
  ...runtimeTables,
  ...webhookTables,
  ...rolloutTables
}
