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
import type * as model_accountContext from "../model/accountContext.js";
import type * as model_activities from "../model/activities.js";
import type * as model_actor from "../model/actor.js";
import type * as model_agents from "../model/agents.js";
import type * as model_boots from "../model/boots.js";
import type * as model_bounded from "../model/bounded.js";
import type * as model_budgetNotices from "../model/budgetNotices.js";
import type * as model_budgetReport from "../model/budgetReport.js";
import type * as model_budgets from "../model/budgets.js";
import type * as model_change from "../model/change.js";
import type * as model_claim from "../model/claim.js";
import type * as model_claimAnswer from "../model/claimAnswer.js";
import type * as model_claimHeartbeats from "../model/claimHeartbeats.js";
import type * as model_claimNotifications from "../model/claimNotifications.js";
import type * as model_claimRequest from "../model/claimRequest.js";
import type * as model_claiming from "../model/claiming.js";
import type * as model_commands from "../model/commands.js";
import type * as model_completion from "../model/completion.js";
import type * as model_cut from "../model/cut.js";
import type * as model_days from "../model/days.js";
import type * as model_deadLetters from "../model/deadLetters.js";
import type * as model_decisions from "../model/decisions.js";
import type * as model_deliveryContext from "../model/deliveryContext.js";
import type * as model_deliveryContextView from "../model/deliveryContextView.js";
import type * as model_documents from "../model/documents.js";
import type * as model_dueWork from "../model/dueWork.js";
import type * as model_events from "../model/events.js";
import type * as model_failedAttempts from "../model/failedAttempts.js";
import type * as model_fallback from "../model/fallback.js";
import type * as model_fallbackMessage from "../model/fallbackMessage.js";
import type * as model_fanOut from "../model/fanOut.js";
import type * as model_fences from "../model/fences.js";
import type * as model_heartbeatContext from "../model/heartbeatContext.js";
import type * as model_heartbeatSchedule from "../model/heartbeatSchedule.js";
import type * as model_heartbeats from "../model/heartbeats.js";
import type * as model_leases from "../model/leases.js";
import type * as model_ledger from "../model/ledger.js";
import type * as model_loops from "../model/loops.js";
import type * as model_messages from "../model/messages.js";
import type * as model_notify from "../model/notify.js";
import type * as model_openStops from "../model/openStops.js";
import type * as model_origin from "../model/origin.js";
import type * as model_participants from "../model/participants.js";
import type * as model_pauses from "../model/pauses.js";
import type * as model_pausing from "../model/pausing.js";
import type * as model_personFunctions from "../model/personFunctions.js";
import type * as model_presence from "../model/presence.js";
import type * as model_previews from "../model/previews.js";
import type * as model_principal from "../model/principal.js";
import type * as model_pullRequests from "../model/pullRequests.js";
import type * as model_randomHex from "../model/randomHex.js";
import type * as model_readBudget from "../model/readBudget.js";
import type * as model_readWithin from "../model/readWithin.js";
import type * as model_refusal from "../model/refusal.js";
import type * as model_roster from "../model/roster.js";
import type * as model_runList from "../model/runList.js";
import type * as model_runs from "../model/runs.js";
import type * as model_runtimes from "../model/runtimes.js";
import type * as model_seenTasks from "../model/seenTasks.js";
import type * as model_serviceFunctions from "../model/serviceFunctions.js";
import type * as model_sessions from "../model/sessions.js";
import type * as model_sha256 from "../model/sha256.js";
import type * as model_skills from "../model/skills.js";
import type * as model_skips from "../model/skips.js";
import type * as model_spendingBook from "../model/spendingBook.js";
import type * as model_statusChange from "../model/statusChange.js";
import type * as model_stopRequest from "../model/stopRequest.js";
import type * as model_stops from "../model/stops.js";
import type * as model_subscriptions from "../model/subscriptions.js";
import type * as model_taskView from "../model/taskView.js";
import type * as model_tasks from "../model/tasks.js";
import type * as model_thread from "../model/thread.js";
import type * as model_tokens from "../model/tokens.js";
import type * as model_traces from "../model/traces.js";
import type * as model_turnLimit from "../model/turnLimit.js";
import type * as model_usage from "../model/usage.js";
import type * as model_usageReport from "../model/usageReport.js";
import type * as model_wakes from "../model/wakes.js";
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
  "model/accountContext": typeof model_accountContext;
  "model/activities": typeof model_activities;
  "model/actor": typeof model_actor;
  "model/agents": typeof model_agents;
  "model/boots": typeof model_boots;
  "model/bounded": typeof model_bounded;
  "model/budgetNotices": typeof model_budgetNotices;
  "model/budgetReport": typeof model_budgetReport;
  "model/budgets": typeof model_budgets;
  "model/change": typeof model_change;
  "model/claim": typeof model_claim;
  "model/claimAnswer": typeof model_claimAnswer;
  "model/claimHeartbeats": typeof model_claimHeartbeats;
  "model/claimNotifications": typeof model_claimNotifications;
  "model/claimRequest": typeof model_claimRequest;
  "model/claiming": typeof model_claiming;
  "model/commands": typeof model_commands;
  "model/completion": typeof model_completion;
  "model/cut": typeof model_cut;
  "model/days": typeof model_days;
  "model/deadLetters": typeof model_deadLetters;
  "model/decisions": typeof model_decisions;
  "model/deliveryContext": typeof model_deliveryContext;
  "model/deliveryContextView": typeof model_deliveryContextView;
  "model/documents": typeof model_documents;
  "model/dueWork": typeof model_dueWork;
  "model/events": typeof model_events;
  "model/failedAttempts": typeof model_failedAttempts;
  "model/fallback": typeof model_fallback;
  "model/fallbackMessage": typeof model_fallbackMessage;
  "model/fanOut": typeof model_fanOut;
  "model/fences": typeof model_fences;
  "model/heartbeatContext": typeof model_heartbeatContext;
  "model/heartbeatSchedule": typeof model_heartbeatSchedule;
  "model/heartbeats": typeof model_heartbeats;
  "model/leases": typeof model_leases;
  "model/ledger": typeof model_ledger;
  "model/loops": typeof model_loops;
  "model/messages": typeof model_messages;
  "model/notify": typeof model_notify;
  "model/openStops": typeof model_openStops;
  "model/origin": typeof model_origin;
  "model/participants": typeof model_participants;
  "model/pauses": typeof model_pauses;
  "model/pausing": typeof model_pausing;
  "model/personFunctions": typeof model_personFunctions;
  "model/presence": typeof model_presence;
  "model/previews": typeof model_previews;
  "model/principal": typeof model_principal;
  "model/pullRequests": typeof model_pullRequests;
  "model/randomHex": typeof model_randomHex;
  "model/readBudget": typeof model_readBudget;
  "model/readWithin": typeof model_readWithin;
  "model/refusal": typeof model_refusal;
  "model/roster": typeof model_roster;
  "model/runList": typeof model_runList;
  "model/runs": typeof model_runs;
  "model/runtimes": typeof model_runtimes;
  "model/seenTasks": typeof model_seenTasks;
  "model/serviceFunctions": typeof model_serviceFunctions;
  "model/sessions": typeof model_sessions;
  "model/sha256": typeof model_sha256;
  "model/skills": typeof model_skills;
  "model/skips": typeof model_skips;
  "model/spendingBook": typeof model_spendingBook;
  "model/statusChange": typeof model_statusChange;
  "model/stopRequest": typeof model_stopRequest;
  "model/stops": typeof model_stops;
  "model/subscriptions": typeof model_subscriptions;
  "model/taskView": typeof model_taskView;
  "model/tasks": typeof model_tasks;
  "model/thread": typeof model_thread;
  "model/tokens": typeof model_tokens;
  "model/traces": typeof model_traces;
  "model/turnLimit": typeof model_turnLimit;
  "model/usage": typeof model_usage;
  "model/usageReport": typeof model_usageReport;
  "model/wakes": typeof model_wakes;
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
