import { type Change, type ReadSet } from "./readSet.ts"

/** How mutations run concurrently. */
export type OptimisticOptions = {
  /** How long a mutation takes from its snapshot to its commit, in milliseconds. */
  readonly mutationMs: number
  /** Lets that many milliseconds pass; tests decide when they are over. */
  readonly wait?: (milliseconds: number) => Promise<void>
  /** The jitter of retries, from 0 to 1. */
  readonly random?: () => number
}

/** What a mutation did on its snapshot, before its commit. */
export type Draft = {
  readonly changes: ReadonlyArray<Change>
  /** A later commit has changed what the mutation read. */
  readonly isBeaten: boolean
}

type OpenDraft = Draft & { readonly reads: ReadSet; isBeaten: boolean }

/** Ends the run of a mutation that is committed later. */
export class Executed extends Error {}

/** The mutations that have run and are not committed yet. */
export class Drafts {
  private readonly open = new Set<OpenDraft>()

  /** Takes what a mutation read and wrote. One that wrote nothing is never beaten; a scheduled one also reads its job. */
  add(changes: ReadonlyArray<Change>, reads: ReadSet, jobId: string | undefined): Draft {
    if (jobId !== undefined) reads.ids.add(jobId)
    const draft = { changes, reads, isBeaten: false }
    if (changes.length > 0 || jobId !== undefined) this.open.add(draft)
    return draft
  }

  /** Marks the drafts that a commit beats. */
  note(changes: ReadonlyArray<Change>): void {
    for (const draft of this.open) draft.isBeaten ||= draft.reads.isTouchedBy(changes)
  }

  remove(draft: Draft): void {
    this.open.delete(draft as OpenDraft)
  }
}
