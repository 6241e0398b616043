/** The maximum number of read intervals of a claim. A Convex transaction may have 4,096. */
const intervalLimit = 2_000
/** The maximum number of characters in a claim's contexts, at most 4 MiB. A Convex transaction may read 16 MiB. */
const characterLimit = 1_300_000
/**
 * The maximum that one run needs in addition to the messages of its events: its session, work, task, thread, documents
 * and effects.
 */
const intervalsPerRun = 20
/** The characters that one run's context may read, so that a long thread leaves enough for other runs. */
const charactersPerRun = 300_000
/** The same with the rows that may exceed it: a message, a document, a task and earlier effects. */
const maxCharactersPerRun = 700_000

/** Counts what one claim has read, against the limits of a transaction. */
export class ReadBudget {
  private intervals: number
  private characters = 0

  /** @param intervals those read before the first run. */
  constructor(intervals: number) {
    this.intervals = intervals
  }

  /** Whether one more run fits. */
  get hasRoom(): boolean {
    return this.intervals + intervalsPerRun <= intervalLimit && this.characters + maxCharactersPerRun <= characterLimit
  }

  /** Counts read intervals outside the runs. */
  note(intervals: number): void {
    this.intervals += intervals
  }

  noteCharacters(characters: number): void {
    this.characters += characters
  }

  /** The budget of one run's context. Counts the run's usual intervals now, and the rest as they are read. */
  forRun(): RunBudget {
    this.intervals += intervalsPerRun
    return new RunBudget(
      (count) => this.note(count),
      (characters) => (this.characters += characters)
    )
  }
}

/** What the context of one run may read. */
export class RunBudget {
  /** The number of single messages that may be read in addition to the thread. */
  private messagesLeft = 25
  private charactersLeft = charactersPerRun
  /** Counts read intervals beyond the run's usual ones. */
  readonly noteIntervals: (count: number) => void
  private readonly noteCharacters: (characters: number) => void

  constructor(
    noteIntervals: (count: number) => void = () => {},
    noteCharacters: (characters: number) => void = () => {}
  ) {
    this.noteIntervals = noteIntervals
    this.noteCharacters = noteCharacters
  }

  /** The number of characters that may still be read. */
  get characters(): number {
    return Math.max(0, this.charactersLeft)
  }

  read(characters: number): void {
    this.charactersLeft -= characters
    this.noteCharacters(characters)
  }

  /** Returns whether one more single message may be read, and counts it. */
  takeMessage(): boolean {
    if (this.messagesLeft === 0 || this.charactersLeft <= 0) return false
    this.messagesLeft -= 1
    this.noteIntervals(1)
    return true
  }
}

/** Whether Convex ended the transaction because it read or wrote too much. The data is not at fault. */
export const isLimitError = (error: unknown): boolean =>
  error instanceof Error && /\bToo (?:many|much|large)\b|\blimit\b/i.test(error.message)
