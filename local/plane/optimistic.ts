import { type Change, type ReadSet } from "./readSet.ts"

/** The options for concurrent mutations. */
export type OptimisticOptions = {
  /** How long a mutation takes from its snapshot to its commit, in milliseconds. */
  readonly mutationMs: number
  /** Waits that many milliseconds; a test can control it. */
  readonly wait?: (milliseconds: number) => Promise<void>
  /** The jitter of retries, from 0 to 1. */
  readonly random?: () => number
}

/** What a mutation read and wrote on its snapshot, before its commit. */
export type Draft = {
  readonly changes: ReadonlyArray<Change>
  /** A later commit changed something that the mutation read. */
  readonly isBeaten: boolean
}

type OpenDraft = Draft & { readonly reads: ReadSet; isBeaten: boolean }

/** Ends the run of a mutation that is committed later. */
export class Executed extends Error {}

/** The mutations that have run and are not yet committed. */
export class Drafts {
  private readonly open = new Set<OpenDraft>()

  /** Adds a mutation's reads and writes. One that wrote nothing never loses; a scheduled one also reads its job. */
  add(changes: ReadonlyArray<Change>, reads: ReadSet, jobId: string | undefined): Draft {
    if (jobId !== undefined) reads.ids.add(jobId)
    const draft = { changes, reads, isBeaten: false }
    if (changes.length > 0 || jobId !== undefined) this.open.add(draft)
    return draft
  }

  /** Marks the drafts that lose against a commit. */
  note(changes: ReadonlyArray<Change>): void {
    for (const draft of this.open) draft.isBeaten ||= draft.reads.isTouchedBy(changes)
  }

  remove(draft: Draft): void {
    this.open.delete(draft as OpenDraft)
  }
}
