/** How often a notification may be tried. */
export interface AttemptLimits {
  readonly maxAttempts: number
  /** At this many silences the control plane posts the fallback. */
  readonly silenceLimit: number
}

/** A turn that left no text to post, and what is known of its notification. */
export interface NoResponse {
  readonly isOwed: boolean
  /** The agent ended with a token, and nothing that it was asked forbids that. */
  readonly isDeclined: boolean
  /** The gateway's "internal error", which can also be a session that has grown too large. */
  readonly isAmbiguous: boolean
  /** The number of this attempt, from 1. */
  readonly attempt: number
  /** Silences before this attempt. */
  readonly silences: number
}

/** What follows: another try, an end without a message, or the fallback message. */
export type NoResponseVerdict =
  | { readonly _tag: "AskAgain"; readonly isInNextGeneration: boolean }
  | { readonly _tag: "Skip" }
  | { readonly _tag: "Fallback" }

/**
 * The no-response policy. Without a duty to answer there is one more try, and only if the gateway does not say what
 * happened. The last try before the fallback leaves a session that is silent because of its size.
 */
export const afterNoResponse = (
  { attempt, isAmbiguous, isDeclined, isOwed, silences }: NoResponse,
  { maxAttempts, silenceLimit }: AttemptLimits
): NoResponseVerdict => {
  if (isDeclined) return { _tag: "Skip" }
  const triesLeft = Math.min(maxAttempts - attempt, silenceLimit - silences - 1)
  if (!isOwed) {
    return isAmbiguous && silences === 0 && triesLeft > 0
      ? { _tag: "AskAgain", isInNextGeneration: false }
      : { _tag: "Skip" }
  }
  return triesLeft > 0 ? { _tag: "AskAgain", isInNextGeneration: isAmbiguous && triesLeft === 1 } : { _tag: "Fallback" }
}
