import { readFileSync } from "node:fs"

/**
 * One answer of the scripted model. At most one of text/toolCalls, status, drop, hang and empty applies; the rest
 * modify it.
 */
export interface Action {
  /** Reply text; allowed together with toolCalls. */
  readonly text?: string
  /** Tool calls; args as an object, or as a string to send malformed JSON. */
  readonly toolCalls?: ReadonlyArray<{ readonly name: string; readonly args?: unknown }>
  /** Ends the reply with finish_reason "length". */
  readonly truncated?: boolean
  /** Fails with this HTTP status. The body is the provider's error form by default. */
  readonly status?: number
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** Closes the connection without an answer. */
  readonly drop?: boolean
  /** Never answers, so the caller must time out. */
  readonly hang?: boolean
  /** Answers with no text and no calls. */
  readonly empty?: boolean
  /** Milliseconds to wait before any of the above. */
  readonly delayMs?: number
  readonly usage?: { readonly input: number; readonly output: number }
}

/** A substring, or a regular expression as `{ regex, flags? }`. */
export type Match = string | { readonly regex: string; readonly flags?: string }

/**
 * Actions that the model plays in order when the prompt matches. A rule that has played its actions `times` times no
 * longer matches.
 */
export interface Rule {
  /** Searched in the last four messages other than system. Without it the rule matches every prompt. */
  readonly match?: Match
  /** Searched in the system prompt, which has the caller's instructions. If both are given, both must match. */
  readonly matchSystem?: Match
  /** How often the list of actions is played; 1 by default. */
  readonly times?: number
  /** Plays the list endlessly. */
  readonly repeat?: boolean
  /** Counts per session instead of globally, so that each of several concurrent sessions gets the whole list. */
  readonly perSession?: boolean
  /**
   * Placeholder name to a regular expression with one group. It is searched in the whole prompt, and the last match
   * fills `{{name}}` in texts and args.
   */
  readonly capture?: Readonly<Record<string, string>>
  readonly actions: ReadonlyArray<Action>
}

/** The content of `--script FILE` and of `POST /__local/script`. */
export interface Script {
  readonly rules?: ReadonlyArray<Rule>
  /** Played if no rule matches; the text `ok` by default. */
  readonly fallback?: Action
  /** With `true`, POST replaces the rules instead of adding to them. */
  readonly replace?: boolean
}

const actionKeys = new Set([
  "text",
  "toolCalls",
  "truncated",
  "status",
  "body",
  "headers",
  "drop",
  "hang",
  "empty",
  "delayMs",
  "usage"
])
const ruleKeys = new Set(["match", "matchSystem", "times", "repeat", "perSession", "capture", "actions"])
const scriptKeys = new Set(["rules", "fallback", "replace"])

/**
 * Checks a script from a file or request. Throws an Error that names the place, because a misspelt key would silently
 * play the fallback.
 */
export const parseScript = (input: unknown): Script => {
  const script = record(input, "script")
  refuseUnknown(script, scriptKeys, "script")
  const rules = script["rules"]
  if (rules !== undefined) {
    if (!Array.isArray(rules)) throw new Error("script.rules must be an array")
    for (const [index, rule] of rules.entries()) checkRule(rule, `rules[${index}]`)
  }
  if (script["fallback"] !== undefined) checkAction(script["fallback"], "fallback")
  return script as Script
}

/** Reads a script file; throws an Error that names the file. */
export const readScript = (path: string): Script => {
  try {
    return parseScript(JSON.parse(readFileSync(path, "utf8")))
  } catch (cause) {
    throw new Error(`script ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

const checkRule = (input: unknown, where: string): void => {
  const rule = record(input, where)
  refuseUnknown(rule, ruleKeys, where)
  for (const key of ["match", "matchSystem"]) {
    const match = rule[key]
    if (match === undefined || typeof match === "string") continue
    const regex = record(match, `${where}.${key}`)
    if (typeof regex["regex"] !== "string") throw new Error(`${where}.${key} must be a string or { regex, flags? }`)
    void new RegExp(regex["regex"], typeof regex["flags"] === "string" ? regex["flags"] : undefined)
  }
  if (rule["capture"] !== undefined) {
    for (const [name, regex] of Object.entries(record(rule["capture"], `${where}.capture`))) {
      if (typeof regex !== "string") throw new Error(`${where}.capture.${name} must be a regular expression`)
      void new RegExp(regex)
    }
  }
  const actions = rule["actions"]
  if (!Array.isArray(actions) || actions.length === 0) throw new Error(`${where}.actions must be a non-empty array`)
  for (const [index, action] of actions.entries()) checkAction(action, `${where}.actions[${index}]`)
}

const checkAction = (input: unknown, where: string): void => {
  const action = record(input, where)
  refuseUnknown(action, actionKeys, where)
  const calls = action["toolCalls"]
  if (calls === undefined) return
  if (!Array.isArray(calls)) throw new Error(`${where}.toolCalls must be an array`)
  for (const [index, call] of calls.entries()) {
    if (typeof record(call, `${where}.toolCalls[${index}]`)["name"] !== "string") {
      throw new Error(`${where}.toolCalls[${index}].name must be a string`)
    }
  }
}

const record = (value: unknown, where: string): Record<string, unknown> => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(`${where} must be an object`)
  return value as Record<string, unknown>
}

const refuseUnknown = (value: Record<string, unknown>, known: ReadonlySet<string>, where: string): void => {
  for (const key of Object.keys(value)) {
    if (!known.has(key)) throw new Error(`${where} has the unknown key "${key}"; known are ${[...known].join(", ")}`)
  }
}
