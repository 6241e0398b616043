/** How one release of OpenClaw answers where releases differ; all of it measured on that release. */
export interface Release {
  readonly version: string
  /** Whether client tools hide behind tool_search/tool_describe/tool_call unless the config says otherwise. */
  readonly toolSearch: boolean
  /** NO_REPLY as the whole reply: asked again once and then a failed run, or the placeholder text with status 200. */
  readonly noReply: "fails" | "placeholder"
  /** Silence after tool calls is asked this often for text alone before the run gives up. */
  readonly textOnlyPasses: number
  /** What stands before the name of a tool in the warning that ends a run whose tool failed. */
  readonly warningSign: string
  /** Whether a lone tool result reaches the model with its `Tool:<call_id>: ` prefix. */
  readonly prefixesLoneResult: boolean
  /** Which message carries the line that names agent and session: the session's first user text, or every system prompt. */
  readonly runtimeLine: "user" | "system"
  /** A truncated reply has status incomplete, or is completed with only a note in its text. */
  readonly reportsTruncation: boolean
  /** How often a reply with unreadable tool arguments is asked for again before the run fails. */
  readonly malformedRetries: number
  /** Whether the model sees its call of an unknown tool and the answer to it. */
  readonly showsUnknownTools: boolean
  /** A retried call's prompt says that it is one, or repeats the user's text when the provider was overloaded. */
  readonly notesRetries: boolean
  /** An aborted turn's text is told to the next turn only, or stays in the transcript with a note behind it. */
  readonly abandonedTurns: "told once" | "kept"
  /** Statuses of a provider's refusal that are passed on; others become 400. Undefined passes all. */
  readonly refusalStatuses: ReadonlyArray<number> | undefined
  /** Whether a bad input item is described, or only the input as a whole refused. */
  readonly describesItems: boolean
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
    abandonedTurns: "told once",
    refusalStatuses: undefined,
    describesItems: true
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
    describesItems: false
  }
]

/** The release of that version; undefined when the stand-in does not know it. */
export const releaseOf = (version: string): Release | undefined =>
  releases.find((release) => release.version === version)

export const knownVersions: ReadonlyArray<string> = releases.map((release) => release.version)
