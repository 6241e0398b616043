import { noUsage } from "../delivery/Run.ts"
import type { Usage } from "../delivery/Run.ts"
import type { GatewayEvent } from "../gateway/GatewayEvent.ts"
import { addUsage } from "../usage/Spending.ts"

/** A tool call that has started and not ended. */
export interface RunningTool {
  readonly callId: string
  readonly name: string
  readonly startedAt: number
}

/** A running turn as the gateway's events show it. Times are epoch milliseconds of this process. */
export interface LiveTurn {
  readonly sessionKey: string
  readonly startedAt: number
  /** Null before the first event, and while the gateway sends none. */
  readonly lastEventAt: number | null
  /** The tools that run now, built-in ones included, in order of their starts. Usually one or none. */
  readonly tools: ReadonlyArray<RunningTool>
  /** The length of the text that the model is writing. */
  readonly textLength: number
  /** The tokens of the model calls so far, and their number. */
  readonly usage: Usage
  readonly modelCalls: number
  /** The model that answered last, e.g. `openai/gpt-5`; null if not known. */
  readonly model: string | null
}

/** A running turn with the end of the text that the model is writing, secrets included: show `lastLineOf` instead. */
export interface SpeakingTurn extends LiveTurn {
  readonly textEnd: string
}

const LINE_LENGTH = 200
/** More than the longest credential that the redactor recognises by its form, a private key of 4096 bits. */
const TEXT_LENGTH = 4_000
const NAME_LENGTH = 100
/** More tools at once are not shown. */
const MAX_TOOLS = 20

export const turnStarted = (sessionKey: string, startedAt: number): SpeakingTurn => ({
  sessionKey,
  startedAt,
  lastEventAt: null,
  tools: [],
  textLength: 0,
  textEnd: "",
  usage: noUsage,
  modelCalls: 0,
  model: null
})

/**
 * The last line of the turn's text without secrets. A word that is not complete is left out, because the redactor would
 * not recognise a part of a secret: the one that is being written, and the one that the start of `textEnd` cuts.
 */
export const lastLineOf = ({ textEnd, textLength }: SpeakingTurn, redact: (text: string) => string): string => {
  const isCut = textLength >= TEXT_LENGTH
  const words = textEnd.slice(isCut ? textEnd.search(/[^!-~]|$/) : 0, textEnd.search(/(?<![!-~])[!-~]*$/))
  const text = redact(words).trimEnd()
  return text.slice(text.lastIndexOf("\n") + 1).slice(-LINE_LENGTH)
}

/** The turn after an event of its session. */
export const afterEvent = (turn: SpeakingTurn, event: GatewayEvent, now: number): SpeakingTurn => {
  const seen = { ...turn, lastEventAt: now }
  switch (event._tag) {
    case "RunStarted":
      return { ...seen, tools: [], textLength: 0, textEnd: "" }
    case "ToolStarted":
      return {
        ...seen,
        tools: [
          ...turn.tools.slice(-(MAX_TOOLS - 1)),
          { callId: event.callId.slice(0, NAME_LENGTH), name: event.tool.slice(0, NAME_LENGTH), startedAt: now }
        ]
      }
    case "ToolEnded":
      return { ...seen, tools: turn.tools.filter(({ callId }) => callId !== event.callId.slice(0, NAME_LENGTH)) }
    case "TextGrew":
      return { ...seen, textLength: event.text.length, textEnd: event.text.slice(-TEXT_LENGTH) }
    case "ModelCalled":
      return {
        ...seen,
        usage: addUsage(turn.usage, event.usage),
        modelCalls: turn.modelCalls + 1,
        // Its text is complete, the last word included.
        textEnd: turn.textEnd === "" ? "" : `${turn.textEnd} `,
        model: event.model ?? turn.model
      }
    case "RunEnded":
      return { ...seen, tools: [], model: event.model ?? turn.model }
  }
}
