import { ConvexError } from "convex/values"

/** The codes by which callers branch. */
export type RefusalCode =
  | "unauthenticated"
  | "forbidden"
  | "not_found"
  | "invalid"
  | "conflict"
  | "lease_lost"
  | "limit"

/** Marks a refusal as the agent's permission, not the token's: the run goes on, the token is good. */
export const byPolicy = { reason: "policy" } as const

/**
 * The one error of the control plane: a code to branch on, and a sentence that says what is wrong and what to do. It
 * never repeats arguments, since a token may be among them.
 */
export const refusal = (
  code: RefusalCode,
  message: string,
  details: Record<string, string | number | boolean | null> = {}
): ConvexError<{ code: RefusalCode; message: string }> => new ConvexError({ ...details, code, message })
