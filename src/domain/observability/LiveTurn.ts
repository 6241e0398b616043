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
  /** The length of the text that the model is writing, and its last line. */
  readonly textLength: number
  readonly lastLine: string
  /** The tokens of the model calls so far, and their number. */
  readonly usage: Usage
  readonly modelCalls: number
  /** The model that answered last, e.g. `openai/gpt-5`; null if not known. */
  readonly model: string | null
}

const LINE_LENGTH = 200
const NAME_LENGTH = 100
/** More tools at once are not shown. */
const MAX_TOOLS = 20

export const turnStarted = (sessionKey: string, startedAt: number): LiveTurn => ({
  sessionKey,
  startedAt,
  lastEventAt: null,
  tools: [],
  textLength: 0,
  lastLine: "",
  usage: noUsage,
  modelCalls: 0,
  model: null
})

const lastLineOf = (text: string): string => {
  const trimmed = text.trimEnd()
  return trimmed.slice(trimmed.lastIndexOf("\n") + 1).slice(-LINE_LENGTH)
}

/** The turn after an event of its session. */
export const afterEvent = (turn: LiveTurn, event: GatewayEvent, now: number): LiveTurn => {
  const seen = { ...turn, lastEventAt: now }
  switch (event._tag) {
    case "RunStarted":
      return { ...seen, tools: [], textLength: 0, lastLine: "" }
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
      return { ...seen, textLength: event.text.length, lastLine: lastLineOf(event.text) }
    case "ModelCalled":
      return {
        ...seen,
        usage: addUsage(turn.usage, event.usage),
        modelCalls: turn.modelCalls + 1,
        model: event.model ?? turn.model
      }
    case "RunEnded":
      return { ...seen, tools: [], model: event.model ?? turn.model }
  }
}
