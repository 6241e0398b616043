/** How one release of OpenClaw answers where releases differ. */
export interface Release {
  readonly version: string
  /** Whether client tools hide behind tool_search/tool_describe/tool_call unless the config says otherwise. */
  readonly toolSearch: boolean
  /** NO_REPLY as the whole reply: a failed run after one re-prompt, or the placeholder text with status 200. */
  readonly noReply: "fails" | "placeholder"
  /** Whether a lone tool result reaches the model with its `Tool:<call_id>: ` prefix. */
  readonly prefixesLoneResult: boolean
}

const releases: ReadonlyArray<Release> = [
  { version: "2026.9.6", toolSearch: true, noReply: "fails", prefixesLoneResult: true },
  { version: "2026.8.2", toolSearch: false, noReply: "placeholder", prefixesLoneResult: false }
]

/** The release of that version; undefined when the stand-in does not know it. */
export const releaseOf = (version: string): Release | undefined =>
  releases.find((release) => release.version === version)

export const knownVersions: ReadonlyArray<string> = releases.map((release) => release.version)
