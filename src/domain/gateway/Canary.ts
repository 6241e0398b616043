import { sessionKey } from "../shared/SessionKey.ts"

/** The only tool of the canary, a turn with one tool call that tests whether calls reach the runtime. */
export const CANARY_TOOL = "mission_control_canary"

const TASK = "canary"

/** Whether the session is the canary's, which no delivery uses. */
export const isCanarySession = (key: string): boolean => key.endsWith(`:task:${TASK}`)

/** The canary's request to an agent of this account. */
export const canaryRequest = (agentSlug: string, accountId: string) => ({
  agentSlug,
  sessionKey: sessionKey({ slug: agentSlug, accountId, taskId: TASK, generation: 1 }),
  instructions: "This is a check of the installation, not work.",
  input: `Call the tool ${CANARY_TOOL} once with {"word":"canary"}, and write nothing.`,
  tools: [
    {
      type: "function" as const,
      name: CANARY_TOOL,
      description: "Shows the operator that tools work.",
      parameters: {
        type: "object",
        properties: { word: { type: "string" } },
        required: ["word"],
        additionalProperties: false
      }
    }
  ]
})

/** How the canary ended: `Silent` is an answer without the call, `Failed` a turn that proves nothing about tools. */
export type CanaryOutcome =
  | { readonly _tag: "Called" }
  | { readonly _tag: "Silent"; readonly detail: string }
  | { readonly _tag: "Failed"; readonly detail: string }

/** How to make the tools visible to a gateway's agents. */
export const TOOL_SEARCH_FIX =
  "set tools.toolSearch to false in the gateway's configuration; the gateway applies it without a restart"
