import { type ConvexError, type Value } from "convex/values"

/** The one kind of error whose data a deployment passes on. */
export const isConvexError = (error: unknown): error is ConvexError<Value> =>
  typeof error === "object" && error !== null && Symbol.for("ConvexError") in error

/** An error as the plane's own log shows it. Validation errors quote the value, and the value may be a secret. */
export const describe = (error: unknown): string =>
  (error instanceof Error ? (error.stack ?? error.message) : String(error)).replace(
    /got `[^`]*`/g,
    "got something else"
  )
