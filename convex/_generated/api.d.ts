/* eslint-disable */
/**
 * Generated `api` utility.
 *
 * THIS CODE IS AUTOMATICALLY GENERATED.
 *
 * To regenerate, run `npx convex dev`.
 * @module
 */

import type {
  ApiFromModules,
  FilterApi,
  FunctionReference,
} from "convex/server";
import type * as app_accounts from "../app/accounts.js";
import type * as app_activities from "../app/activities.js";
import type * as app_agents from "../app/agents.js";
import type * as app_budgets from "../app/budgets.js";
import type * as app_documents from "../app/documents.js";
import type * as app_members from "../app/members.js";
import type * as app_messages from "../app/messages.js";
import type * as app_notifications from "../app/notifications.js";
import type * as app_runs from "../app/runs.js";
import type * as app_runtimes from "../app/runtimes.js";
import type * as app_skills from "../app/skills.js";
import type * as app_tasks from "../app/tasks.js";
import type * as app_tokens from "../app/tokens.js";
import type * as app_usage from "../app/usage.js";
import type * as crons from "../crons.js";
import type * as model_access_personFunctions from "../model/access/personFunctions.js";
import type * as model_access_principal from "../model/access/principal.js";
import type * as model_access_refusal from "../model/access/refusal.js";
import type * as model_access_serviceFunctions from "../model/access/serviceFunctions.js";
import type * as model_access_tokens from "../model/access/tokens.js";
import type * as model_accounts_activities from "../model/accounts/activities.js";
import type * as model_accounts_actor from "../model/accounts/actor.js";
import type * as model_agents_agents from "../model/agents/agents.js";
import type * as model_agents_roster from "../model/agents/roster.js";
import type * as model_agents_skills from "../model/agents/skills.js";
import type * as model_budgets_budgetNotices from "../model/budgets/budgetNotices.js";
import type * as model_budgets_budgetReport from "../model/budgets/budgetReport.js";
import type * as model_budgets_budgets from "../model/budgets/budgets.js";
import type * as model_budgets_heldNotifications from "../model/budgets/heldNotifications.js";
import type * as model_budgets_spendingBook from "../model/budgets/spendingBook.js";
import type * as model_contexts_accountContext from "../model/contexts/accountContext.js";
import type * as model_contexts_deliveryContext from "../model/contexts/deliveryContext.js";
import type * as model_contexts_deliveryContextView from "../model/contexts/deliveryContextView.js";
import type * as model_contexts_deliveryPreviews from "../model/contexts/deliveryPreviews.js";
import type * as model_contexts_heartbeatContext from "../model/contexts/heartbeatContext.js";
import type * as model_contexts_readBudget from "../model/contexts/readBudget.js";
import type * as model_contexts_seenTasks from "../model/contexts/seenTasks.js";
import type * as model_database_bounded from "../model/database/bounded.js";
import type * as model_database_change from "../model/database/change.js";
import type * as model_database_cut from "../model/database/cut.js";
import type * as model_database_randomHex from "../model/database/randomHex.js";
import type * as model_database_readWithin from "../model/database/readWithin.js";
import type * as model_database_sha256 from "../model/database/sha256.js";
import type * as model_heartbeats_heartbeatSchedule from "../model/heartbeats/heartbeatSchedule.js";
import type * as model_heartbeats_heartbeats from "../model/heartbeats/heartbeats.js";
import type * as model_limits_taskLoops from "../model/limits/taskLoops.js";
import type * as model_limits_turnLimit from "../model/limits/turnLimit.js";
import type * as model_notifications_deadLetters from "../model/notifications/deadLetters.js";
import type * as model_notifications_events from "../model/notifications/events.js";
import type * as model_notifications_fanOut from "../model/notifications/fanOut.js";
import type * as model_notifications_notify from "../model/notifications/notify.js";
import type * as model_notifications_origin from "../model/notifications/origin.js";
import type * as model_notifications_skips from "../model/notifications/skips.js";
import type * as model_queue_claim from "../model/queue/claim.js";
import type * as model_queue_claimAnswer from "../model/queue/claimAnswer.js";
import type * as model_queue_claimHeartbeats from "../model/queue/claimHeartbeats.js";
import type * as model_queue_claimNotifications from "../model/queue/claimNotifications.js";
import type * as model_queue_claimRequest from "../model/queue/claimRequest.js";
import type * as model_queue_claiming from "../model/queue/claiming.js";
import type * as model_queue_dueWork from "../model/queue/dueWork.js";
import type * as model_queue_fences from "../model/queue/fences.js";
import type * as model_queue_leases from "../model/queue/leases.js";
import type * as model_queue_pauses from "../model/queue/pauses.js";
import type * as model_queue_pausing from "../model/queue/pausing.js";
import type * as model_queue_sessions from "../model/queue/sessions.js";
import type * as model_queue_wakes from "../model/queue/wakes.js";
import type * as model_runs_completion from "../model/runs/completion.js";
import type * as model_runs_effects from "../model/runs/effects.js";
import type * as model_runs_failedAttempts from "../model/runs/failedAttempts.js";
import type * as model_runs_fallback from "../model/runs/fallback.js";
import type * as model_runs_fallbackMessage from "../model/runs/fallbackMessage.js";
import type * as model_runs_openStops from "../model/runs/openStops.js";
import type * as model_runs_runList from "../model/runs/runList.js";
import type * as model_runs_runs from "../model/runs/runs.js";
import type * as model_runs_stopRequest from "../model/runs/stopRequest.js";
import type * as model_runs_stops from "../model/runs/stops.js";
import type * as model_runs_traces from "../model/runs/traces.js";
import type * as model_runtimes_boots from "../model/runtimes/boots.js";
import type * as model_runtimes_commands from "../model/runtimes/commands.js";
import type * as model_runtimes_presence from "../model/runtimes/presence.js";
import type * as model_runtimes_runtimes from "../model/runtimes/runtimes.js";
import type * as model_tasks_decisions from "../model/tasks/decisions.js";
import type * as model_tasks_participants from "../model/tasks/participants.js";
import type * as model_tasks_pullRequests from "../model/tasks/pullRequests.js";
import type * as model_tasks_statusChange from "../model/tasks/statusChange.js";
import type * as model_tasks_subscriptions from "../model/tasks/subscriptions.js";
import type * as model_tasks_taskView from "../model/tasks/taskView.js";
import type * as model_tasks_tasks from "../model/tasks/tasks.js";
import type * as model_threads_documents from "../model/threads/documents.js";
import type * as model_threads_messages from "../model/threads/messages.js";
import type * as model_threads_thread from "../model/threads/thread.js";
import type * as model_usage_attempts from "../model/usage/attempts.js";
import type * as model_usage_days from "../model/usage/days.js";
import type * as model_usage_usage from "../model/usage/usage.js";
import type * as model_usage_usageReport from "../model/usage/usageReport.js";
import type * as scheduled_budgets from "../scheduled/budgets.js";
import type * as scheduled_gitHub from "../scheduled/gitHub.js";
import type * as scheduled_pauses from "../scheduled/pauses.js";
import type * as scheduled_removals from "../scheduled/removals.js";
import type * as scheduled_retention from "../scheduled/retention.js";
import type * as scheduled_runtimes from "../scheduled/runtimes.js";
import type * as scheduled_stops from "../scheduled/stops.js";
import type * as service_agents from "../service/agents.js";
import type * as service_documents from "../service/documents.js";
import type * as service_functions from "../service/functions.js";
import type * as service_messages from "../service/messages.js";
import type * as service_notifications from "../service/notifications.js";
import type * as service_pauses from "../service/pauses.js";
import type * as service_responseRequests from "../service/responseRequests.js";
import type * as service_runs from "../service/runs.js";
import type * as service_runtimes from "../service/runtimes.js";
import type * as service_sessions from "../service/sessions.js";
import type * as service_tasks from "../service/tasks.js";
import type * as service_usage from "../service/usage.js";
import type * as tables_accounts from "../tables/accounts.js";
import type * as tables_actor from "../tables/actor.js";
import type * as tables_agents from "../tables/agents.js";
import type * as tables_attempts from "../tables/attempts.js";
import type * as tables_budgets from "../tables/budgets.js";
import type * as tables_heartbeats from "../tables/heartbeats.js";
import type * as tables_missionControl from "../tables/missionControl.js";
import type * as tables_notifications from "../tables/notifications.js";
import type * as tables_runs from "../tables/runs.js";
import type * as tables_runtimes from "../tables/runtimes.js";
import type * as tables_sessions from "../tables/sessions.js";
import type * as tables_tasks from "../tables/tasks.js";
import type * as tables_threads from "../tables/threads.js";
import type * as tables_usage from "../tables/usage.js";

/**
 * A utility for referencing Convex functions in your app's API.
 *
 * Usage:
 * ```js
 * const myFunctionReference = api.myModule.myFunction;
 * ```
 */
declare const fullApi: ApiFromModules<{
  "app/accounts": typeof app_accounts;
  "app/activities": typeof app_activities;
  "app/agents": typeof app_agents;
  "app/budgets": typeof app_budgets;
  "app/documents": typeof app_documents;
  "app/members": typeof app_members;
  "app/messages": typeof app_messages;
  "app/notifications": typeof app_notifications;
  "app/runs": typeof app_runs;
  "app/runtimes": typeof app_runtimes;
  "app/skills": typeof app_skills;
  "app/tasks": typeof app_tasks;
  "app/tokens": typeof app_tokens;
  "app/usage": typeof app_usage;
  crons: typeof crons;
  "model/access/personFunctions": typeof model_access_personFunctions;
  "model/access/principal": typeof model_access_principal;
  "model/access/refusal": typeof model_access_refusal;
  "model/access/serviceFunctions": typeof model_access_serviceFunctions;
  "model/access/tokens": typeof model_access_tokens;
  "model/accounts/activities": typeof model_accounts_activities;
  "model/accounts/actor": typeof model_accounts_actor;
  "model/agents/agents": typeof model_agents_agents;
  "model/agents/roster": typeof model_agents_roster;
  "model/agents/skills": typeof model_agents_skills;
  "model/budgets/budgetNotices": typeof model_budgets_budgetNotices;
  "model/budgets/budgetReport": typeof model_budgets_budgetReport;
  "model/budgets/budgets": typeof model_budgets_budgets;
  "model/budgets/heldNotifications": typeof model_budgets_heldNotifications;
  "model/budgets/spendingBook": typeof model_budgets_spendingBook;
  "model/contexts/accountContext": typeof model_contexts_accountContext;
  "model/contexts/deliveryContext": typeof model_contexts_deliveryContext;
  "model/contexts/deliveryContextView": typeof model_contexts_deliveryContextView;
  "model/contexts/deliveryPreviews": typeof model_contexts_deliveryPreviews;
  "model/contexts/heartbeatContext": typeof model_contexts_heartbeatContext;
  "model/contexts/readBudget": typeof model_contexts_readBudget;
  "model/contexts/seenTasks": typeof model_contexts_seenTasks;
  "model/database/bounded": typeof model_database_bounded;
  "model/database/change": typeof model_database_change;
  "model/database/cut": typeof model_database_cut;
  "model/database/randomHex": typeof model_database_randomHex;
  "model/database/readWithin": typeof model_database_readWithin;
  "model/database/sha256": typeof model_database_sha256;
  "model/heartbeats/heartbeatSchedule": typeof model_heartbeats_heartbeatSchedule;
  "model/heartbeats/heartbeats": typeof model_heartbeats_heartbeats;
  "model/limits/taskLoops": typeof model_limits_taskLoops;
  "model/limits/turnLimit": typeof model_limits_turnLimit;
  "model/notifications/deadLetters": typeof model_notifications_deadLetters;
  "model/notifications/events": typeof model_notifications_events;
  "model/notifications/fanOut": typeof model_notifications_fanOut;
  "model/notifications/notify": typeof model_notifications_notify;
  "model/notifications/origin": typeof model_notifications_origin;
  "model/notifications/skips": typeof model_notifications_skips;
  "model/queue/claim": typeof model_queue_claim;
  "model/queue/claimAnswer": typeof model_queue_claimAnswer;
  "model/queue/claimHeartbeats": typeof model_queue_claimHeartbeats;
  "model/queue/claimNotifications": typeof model_queue_claimNotifications;
  "model/queue/claimRequest": typeof model_queue_claimRequest;
  "model/queue/claiming": typeof model_queue_claiming;
  "model/queue/dueWork": typeof model_queue_dueWork;
  "model/queue/fences": typeof model_queue_fences;
  "model/queue/leases": typeof model_queue_leases;
  "model/queue/pauses": typeof model_queue_pauses;
  "model/queue/pausing": typeof model_queue_pausing;
  "model/queue/sessions": typeof model_queue_sessions;
  "model/queue/wakes": typeof model_queue_wakes;
  "model/runs/completion": typeof model_runs_completion;
  "model/runs/effects": typeof model_runs_effects;
  "model/runs/failedAttempts": typeof model_runs_failedAttempts;
  "model/runs/fallback": typeof model_runs_fallback;
  "model/runs/fallbackMessage": typeof model_runs_fallbackMessage;
  "model/runs/openStops": typeof model_runs_openStops;
  "model/runs/runList": typeof model_runs_runList;
  "model/runs/runs": typeof model_runs_runs;
  "model/runs/stopRequest": typeof model_runs_stopRequest;
  "model/runs/stops": typeof model_runs_stops;
  "model/runs/traces": typeof model_runs_traces;
  "model/runtimes/boots": typeof model_runtimes_boots;
  "model/runtimes/commands": typeof model_runtimes_commands;
  "model/runtimes/presence": typeof model_runtimes_presence;
  "model/runtimes/runtimes": typeof model_runtimes_runtimes;
  "model/tasks/decisions": typeof model_tasks_decisions;
  "model/tasks/participants": typeof model_tasks_participants;
  "model/tasks/pullRequests": typeof model_tasks_pullRequests;
  "model/tasks/statusChange": typeof model_tasks_statusChange;
  "model/tasks/subscriptions": typeof model_tasks_subscriptions;
  "model/tasks/taskView": typeof model_tasks_taskView;
  "model/tasks/tasks": typeof model_tasks_tasks;
  "model/threads/documents": typeof model_threads_documents;
  "model/threads/messages": typeof model_threads_messages;
  "model/threads/thread": typeof model_threads_thread;
  "model/usage/attempts": typeof model_usage_attempts;
  "model/usage/days": typeof model_usage_days;
  "model/usage/usage": typeof model_usage_usage;
  "model/usage/usageReport": typeof model_usage_usageReport;
  "scheduled/budgets": typeof scheduled_budgets;
  "scheduled/gitHub": typeof scheduled_gitHub;
  "scheduled/pauses": typeof scheduled_pauses;
  "scheduled/removals": typeof scheduled_removals;
  "scheduled/retention": typeof scheduled_retention;
  "scheduled/runtimes": typeof scheduled_runtimes;
  "scheduled/stops": typeof scheduled_stops;
  "service/agents": typeof service_agents;
  "service/documents": typeof service_documents;
  "service/functions": typeof service_functions;
  "service/messages": typeof service_messages;
  "service/notifications": typeof service_notifications;
  "service/pauses": typeof service_pauses;
  "service/responseRequests": typeof service_responseRequests;
  "service/runs": typeof service_runs;
  "service/runtimes": typeof service_runtimes;
  "service/sessions": typeof service_sessions;
  "service/tasks": typeof service_tasks;
  "service/usage": typeof service_usage;
  "tables/accounts": typeof tables_accounts;
  "tables/actor": typeof tables_actor;
  "tables/agents": typeof tables_agents;
  "tables/attempts": typeof tables_attempts;
  "tables/budgets": typeof tables_budgets;
  "tables/heartbeats": typeof tables_heartbeats;
  "tables/missionControl": typeof tables_missionControl;
  "tables/notifications": typeof tables_notifications;
  "tables/runs": typeof tables_runs;
  "tables/runtimes": typeof tables_runtimes;
  "tables/sessions": typeof tables_sessions;
  "tables/tasks": typeof tables_tasks;
  "tables/threads": typeof tables_threads;
  "tables/usage": typeof tables_usage;
}>;
export declare const api: FilterApi<
  typeof fullApi,
  FunctionReference<any, "public">
>;
export declare const internal: FilterApi<
  typeof fullApi,
  FunctionReference<any, "internal">
>;
