/** The limits of attempts and silences of a notification. */
export interface AttemptLimits {
  readonly maxAttempts: number
  /** The number of silences after which the control plane posts the fallback. */
  readonly silenceLimit: number
}

/** A turn without a text to post, and the state of its notification. */
export interface NoResponse {
  readonly isOwed: boolean
  /** The agent ended with a token, which its events allow. */
  readonly isDeclined: boolean
  /** The gateway's "internal error", which may be caused by a session that has grown too large. */
  readonly isAmbiguous: boolean
  /** The number of this attempt, from 1. */
  readonly attempt: number
  /** Silences before this attempt. */
  readonly silences: number
}

/** The next step: a retry, an end without a message, or the fallback message. */
export type NoResponseVerdict =
  | { readonly _tag: "AskAgain"; readonly isInNextGeneration: boolean }
  | { readonly _tag: "Skip" }
  | { readonly _tag: "Fallback" }

/**
 * The no-response policy. If no answer is owed there is one retry, and only if the gateway does not say what happened.
 * The last attempt before the fallback uses a new session, in case the old one is silent because of its size.
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
