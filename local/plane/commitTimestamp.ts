import { CommitTsPlaceholder } from "convex/values"

/** Whether a value has a `commitTs` placeholder anywhere in it. */
export const holdsCommitTimestamp = (value: unknown): boolean =>
  value instanceof CommitTsPlaceholder ||
  (typeof value === "object" &&
    value !== null &&
    !(value instanceof ArrayBuffer) &&
    Object.values(value).some(holdsCommitTimestamp))

/** The value with the timestamp of its commit in place of each placeholder. */
export const withCommitTimestamp = (value: unknown, timestamp: bigint): unknown => {
  if (!holdsCommitTimestamp(value)) return value
  if (value instanceof CommitTsPlaceholder) return timestamp
  if (Array.isArray(value)) return value.map((item) => withCommitTimestamp(item, timestamp))
  return Object.fromEntries(
    Object.entries(value as object).map(([field, item]) => [field, withCommitTimestamp(item, timestamp)])
  )
}
