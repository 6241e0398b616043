import { type ConvexGlobal } from "./convexInternals.ts"
import { cancel, schedule, type ScheduleRequest } from "./jobs.ts"
import { type Store } from "./store.ts"

/** What the plane does in place of convex-test. */
export type Replacements = {
  readonly store: Store
  readonly isKnown: (path: string) => boolean
  /** Runs a function that an action calls; `invoke` has convex-test run it. */
  readonly fromAction: (target: { readonly name?: string }, invoke: () => Promise<string>) => Promise<string>
}

/** Replaces convex-test's handling of scheduling and of calls by actions, and counts the documents that functions read. */
export const replaceSyscalls = (internals: ConvexGlobal, { store, isKnown, fromAction }: Replacements): void => {
  const original = internals.asyncSyscall
  internals.asyncSyscall = async (operation, json) => {
    switch (operation) {
      case "1.0/actions/query":
      case "1.0/actions/mutation":
      case "1.0/actions/action":
        return await fromAction(JSON.parse(json) as { name?: string }, () => original(operation, json))
      case "1.0/schedule":
        return JSON.stringify(schedule(internals, isKnown, JSON.parse(json) as ScheduleRequest))
      case "1.0/cancel_job":
        cancel(internals, store, (JSON.parse(json) as { id: string }).id)
        return JSON.stringify({})
      default: {
        const result = await original(operation, json)
        // Counted here and not in the store, because the library reads a document up to three times for one patch.
        if (readsOne.has(operation) && result !== "null") store.usage.documentsRead += 1
        return result
      }
    }
  }
}

const readsOne = new Set(["1.0/get", "1.0/shallowMerge", "1.0/replace", "1.0/remove"])
