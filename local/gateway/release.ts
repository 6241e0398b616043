/** The differences between releases of OpenClaw, each measured on that release. */
export interface Release {
  readonly version: string
  /**
   * Whether client tools are hidden behind tool_search, tool_describe and tool_call unless the configuration differs.
   */
  readonly toolSearch: boolean
  /**
   * For a reply that is only NO_REPLY: a second call and then a failed run, or the placeholder text with status 200.
   */
  readonly noReply: "fails" | "placeholder"
  /** How often the gateway asks for text alone after tool calls without a text, before the run fails. */
  readonly textOnlyPasses: number
  /** The sign in front of the tool's name in the warning that ends a run whose tool failed. */
  readonly warningSign: string
  /** Whether a single tool result reaches the model with its `Tool:<call_id>: ` prefix. */
  readonly prefixesLoneResult: boolean
  /** Which message has the line that names agent and session: the session's first user text, or every system prompt. */
  readonly runtimeLine: "user" | "system"
  /** A truncated reply has the status incomplete, or the status completed and only a note in its text. */
  readonly reportsTruncation: boolean
  /** How often the gateway retries a reply with unreadable tool arguments before the run fails. */
  readonly malformedRetries: number
  /** Whether the model sees its call of an unknown tool and the answer to it. */
  readonly showsUnknownTools: boolean
  /**
   * Whether a retried call's prompt has a note about the retry, or repeats the user's text if the provider was
   * overloaded.
   */
  readonly notesRetries: boolean
  /** Whether only the next turn sees the text of an aborted turn, or the transcript keeps it with a note after it. */
  readonly abandonedTurns: "passed on once" | "kept"
  /** Statuses of a provider's refusal that the gateway passes on; it answers 400 for others. Undefined passes all. */
  readonly refusalStatuses: ReadonlyArray<number> | undefined
  /** Whether the refusal of a bad input item describes the item, or only refuses the input as a whole. */
  readonly describesItems: boolean
  /** Whether the events name a person's stop, a closed request and an overflow, or 2026.8.2 only a text. */
  readonly explainsEnds: boolean
  /** Whether the WebSocket lists the sessions with running or queued turns. */
  readonly listsActiveSessions: boolean
}

const releases: ReadonlyArray<Release> = [
  {
    version: "2026.9.6",
    toolSearch: true,
    noReply: "fails",
    textOnlyPasses: 2,
    warningSign: "⚠️",
    prefixesLoneResult: true,
    runtimeLine: "user",
    reportsTruncation: true,
    malformedRetries: 3,
    showsUnknownTools: true,
    notesRetries: true,
    abandonedTurns: "passed on once",
    refusalStatuses: undefined,
    describesItems: true,
    explainsEnds: true,
    listsActiveSessions: true
  },
  {
    version: "2026.8.2",
    toolSearch: false,
    noReply: "placeholder",
    textOnlyPasses: 0,
    warningSign: "⚠️ 🧩",
    prefixesLoneResult: false,
    runtimeLine: "system",
    reportsTruncation: false,
    malformedRetries: 0,
    showsUnknownTools: false,
    notesRetries: false,
    abandonedTurns: "kept",
    refusalStatuses: [400, 401, 402, 403, 404],
    describesItems: false,
    explainsEnds: false,
    listsActiveSessions: false
  }
]

/** The release of that version, or undefined if the scripted gateway does not know it. */
export const releaseOf = (version: string): Release | undefined =>
  releases.find((release) => release.version === version)

export const knownVersions: ReadonlyArray<string> = releases.map((release) => release.version)
