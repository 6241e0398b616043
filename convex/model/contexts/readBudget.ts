/** Read intervals of a claim; a Convex transaction may have 4,096. */
const intervalLimit = 2_000
/** Characters of a claim's contexts, at most 4 MiB; a Convex transaction may read 16. */
const characterLimit = 1_300_000
/**
 * What one run needs at most in addition to the messages of its events: its session, work, task, thread, documents and
 * effects.
 */
const intervalsPerRun = 20
/** Characters that one run's context reads, so that one long thread leaves room for other runs. */
const charactersPerRun = 300_000
/** With the rows that go beyond them: a message, a document, a task and what the run did before. */
const maxCharactersPerRun = 700_000

/** What one claim has read of what it may read. */
export class ReadBudget {
  private intervals: number
  private characters = 0

  /** @param intervals what is read before the first run. */
  constructor(intervals: number) {
    this.intervals = intervals
  }

  /** Whether there is room for one more run. */
  get hasRoom(): boolean {
    return this.intervals + intervalsPerRun <= intervalLimit && this.characters + maxCharactersPerRun <= characterLimit
  }

  /** Counts what is read in addition to the runs. */
  note(intervals: number): void {
    this.intervals += intervals
  }

  noteCharacters(characters: number): void {
    this.characters += characters
  }

  /** Room for the context of one run: what it needs is counted at once, what it reads beyond that by itself. */
  forRun(): RunBudget {
    this.intervals += intervalsPerRun
    return new RunBudget(
      () => (this.intervals += 1),
      (characters) => (this.characters += characters)
    )
  }
}

/** What the context of one run may read. */
export class RunBudget {
  /** Single messages that may be read in addition to the thread. */
  private messagesLeft = 25
  private charactersLeft = charactersPerRun
  readonly noteInterval: () => void
  private readonly noteCharacters: (characters: number) => void

  constructor(noteInterval: () => void = () => {}, noteCharacters: (characters: number) => void = () => {}) {
    this.noteInterval = noteInterval
    this.noteCharacters = noteCharacters
  }

  /** Characters that may still be read. */
  get characters(): number {
    return Math.max(0, this.charactersLeft)
  }

  read(characters: number): void {
    this.charactersLeft -= characters
    this.noteCharacters(characters)
  }

  /** Whether one more single message may be read; counts it if so. */
  takeMessage(): boolean {
    if (this.messagesLeft === 0 || this.charactersLeft <= 0) return false
    this.messagesLeft -= 1
    this.noteInterval()
    return true
  }
}

/** Whether Convex ended the transaction because it read or wrote too much: no fault of the data it was about. */
export const isLimitError = (error: unknown): boolean =>
  error instanceof Error && /\bToo (?:many|much|large)\b|\blimit\b/i.test(error.message)
