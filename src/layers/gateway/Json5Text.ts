/** Changes values in the text of a JSON5 file, and keeps the comments, order and layout of everything else. */
import { isDeepStrictEqual } from "node:util"
import { evaluate, parse } from "@humanwhocodes/momoa"
import type { DocumentNode, MemberNode, ObjectNode, Token } from "@humanwhocodes/momoa"
import type { JsonObject } from "../../domain/gateway/GatewaySettings.ts"

/** The text is not a JSON5 object, or cannot be changed. The message has the place and quotes nothing. */
export class Json5Unusable extends Error {}

interface Parsed {
  readonly text: string
  readonly root: ObjectNode
  readonly tokens: ReadonlyArray<Token>
  readonly value: JsonObject
}

/** Replaces the characters from `start` up to `end` by `text`. */
interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const startOf = ({ loc }: Pick<Token, "loc">): number => loc.start.offset
const endOf = ({ loc }: Pick<Token, "loc">): number => loc.end.offset
const isComment = ({ type }: Token): boolean => type === "LineComment" || type === "BlockComment"
const hasLines = (text: string): boolean => /[\r\n]/.test(text)

const parsed = (text: string): Parsed => {
  let document: DocumentNode
  try {
    document = parse(text, { mode: "json5", tokens: true })
  } catch (error) {
    const { column, line } = error as { readonly column?: number; readonly line?: number }
    throw new Json5Unusable(
      line === undefined ? "is nested too deeply" : `is not valid JSON5 at line ${line}, column ${column}`
    )
  }
  if (document.body.type !== "Object") throw new Json5Unusable("is not an object")
  return { text, root: document.body, tokens: document.tokens ?? [], value: evaluate(document.body) as JsonObject }
}

/** Reads a text as a JSON5 object, as the gateway does; throws Json5Unusable with the place of the error. */
export const readJson5 = (text: string): JsonObject => parsed(text).value

const nameOf = ({ name }: MemberNode): string => (name.type === "Identifier" ? name.name : name.value)

/** The last member with this name, which is the one that counts. */
const memberOf = (object: ObjectNode, key: string): MemberNode | undefined =>
  object.members.findLast((member) => nameOf(member) === key)

/** Removes a member, with the comma that only it needs. */
const removal = ({ tokens }: Parsed, member: MemberNode): ReadonlyArray<Edit> => {
  const before = tokens.filter((token) => endOf(token) <= startOf(member))
  const after = tokens.find((token) => startOf(token) >= endOf(member) && !isComment(token))
  const start = endOf(before.at(-1) ?? member)
  if (after?.type === "Comma") return [{ start, end: endOf(after), text: "" }]
  const comma = before.findLast((token) => !isComment(token))
  return [
    ...(comma?.type === "Comma" ? [{ start: startOf(comma), end: endOf(comma), text: "" }] : []),
    { start, end: endOf(member), text: "" }
  ]
}

/** Adds members at the end of an object, in the object's layout. */
const addition = ({ text, tokens }: Parsed, object: ObjectNode, added: JsonObject): ReadonlyArray<Edit> => {
  const inside = tokens.filter((token) => startOf(token) > startOf(object) && endOf(token) < endOf(object))
  const last = object.members.at(-1)
  const isOneLine = !hasLines(text.slice(startOf(object), endOf(object)))
  const isCompact = isOneLine && (last !== undefined || !hasLines(text))
  const newline = text.includes("\r\n") ? "\r\n" : "\n"
  const unit = /[\r\n]([ \t]+)\S/.exec(text)?.[1] ?? "  "
  const lineStart = (offset: number): string => /[^\r\n]*$/.exec(text.slice(0, offset))?.[0] ?? ""
  const outer = /^[ \t]*/.exec(lineStart(startOf(object)))?.[0] ?? ""
  const beforeLast = last === undefined ? "-" : lineStart(startOf(last))
  const indent = /^[ \t]*$/.test(beforeLast) ? beforeLast : outer + unit
  const members = Object.entries(added).map(([key, value]) =>
    isCompact
      ? `${JSON.stringify(key)}: ${JSON.stringify(value)}`
      : newline +
        indent +
        `${JSON.stringify(key)}: ${JSON.stringify(value, null, unit)}`.replaceAll("\n", newline + indent)
  )
  const hasComma = last === undefined || inside.some((token) => token.type === "Comma" && startOf(token) >= endOf(last))
  const from = inside.length === 0 ? startOf(object) + 1 : endOf(inside.at(-1) ?? object)
  const lead = isCompact && last !== undefined ? " " : ""
  const trailingComma = last !== undefined && hasComma ? "," : ""
  const closing = isOneLine && !isCompact ? newline + outer : ""
  return [
    { start: from, end: from, text: lead + members.join(isCompact ? ", " : ",") + trailingComma + closing },
    // Of two edits at the same place the later one in the list is inserted first, so the comma precedes the members.
    ...(hasComma ? [] : [{ start: endOf(last), end: endOf(last), text: "," }])
  ]
}

/** Applies the edits from the last place to the first. Of several at one place, the later one precedes. */
const applied = (text: string, edits: ReadonlyArray<Edit>): string =>
  edits
    .toSorted((left, right) => right.start - left.start || right.end - left.end)
    .reduce((result, { end, start, text }) => result.slice(0, start) + text + result.slice(end), text)

/** The first member that is not in the wanted object. */
const surplus = (object: ObjectNode, wanted: JsonObject): MemberNode | undefined => {
  for (const member of object.members) {
    const value = Object.hasOwn(wanted, nameOf(member)) ? wanted[nameOf(member)] : undefined
    if (value === undefined) return member
    const inner = member.value.type === "Object" && isObject(value) ? surplus(member.value, value) : undefined
    if (inner !== undefined) return inner
  }
  return undefined
}

/** The edits that add missing members and replace different values. */
const changes = (whole: Parsed, object: ObjectNode, wanted: JsonObject): ReadonlyArray<Edit> => {
  const added = Object.entries(wanted).filter(([key]) => memberOf(object, key) === undefined)
  const replaced = Object.entries(wanted).flatMap(([key, value]): ReadonlyArray<Edit> => {
    const node = memberOf(object, key)?.value
    if (node === undefined || isDeepStrictEqual(evaluate(node), value)) return []
    if (node.type === "Object" && isObject(value)) return changes(whole, node, value)
    return [{ start: startOf(node), end: endOf(node), text: JSON.stringify(value) }]
  })
  return added.length === 0 ? replaced : [...replaced, ...addition(whole, object, Object.fromEntries(added))]
}

/** The text with the wanted values; throws Json5Unusable if it cannot be read or changed. */
export const changeJson5 = (text: string, wanted: JsonObject): string => {
  let whole = parsed(text)
  for (let member = surplus(whole.root, wanted); member !== undefined; member = surplus(whole.root, wanted)) {
    whole = parsed(applied(whole.text, removal(whole, member)))
  }
  const result = applied(whole.text, changes(whole, whole.root, wanted))
  if (!isDeepStrictEqual(readJson5(result), wanted))
    throw new Json5Unusable("cannot be changed without losing its comments")
  return result
}
