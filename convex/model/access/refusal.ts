import { ConvexError } from "convex/values"

/** The codes on which callers branch. */
export type RefusalCode =
  | "unauthenticated"
  | "forbidden"
  | "not_found"
  | "invalid"
  | "conflict"
  | "lease_lost"
  | "limit"

/** Marks a refusal that concerns the agent's permission and not the token: the run continues. */
export const byPolicy = { reason: "policy" } as const

/**
 * The only error of the control plane: a code to branch on, and a sentence that says what is wrong and what to do. The
 * sentence never repeats arguments, because a token may be among them.
 */
export const refusal = (
  code: RefusalCode,
  message: string,
  details: Record<string, string | number | boolean | null> = {}
): ConvexError<{ code: RefusalCode; message: string }> => new ConvexError({ ...details, code, message })
