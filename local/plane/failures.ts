import { type ConvexError, type Value } from "convex/values"

/** The only kind of error whose data a deployment passes to the client. */
export const isConvexError = (error: unknown): error is ConvexError<Value> =>
  typeof error === "object" && error !== null && Symbol.for("ConvexError") in error

/** The error's text for the plane's log. Validation errors quote the value, which may be a secret. */
export const describe = (error: unknown): string =>
  (error instanceof Error ? (error.stack ?? error.message) : String(error)).replace(/got `[^`]*`/g, "got another value")
