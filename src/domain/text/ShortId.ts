import { Result } from "effect"
import { truncate } from "./Text.ts"

const SHORTEST = 8
const CANDIDATES = 5
/** Convex's ids. One that is not listed may still exist. */
const WHOLE_ID = /^[a-z0-9]{31,37}$/

/** The first characters of the ids: enough to distinguish them, at least eight. */
export const shortIds = (ids: ReadonlyArray<string>): ((id: string) => string) => {
  const longest = Math.max(SHORTEST, ...ids.map((id) => id.length))
  const distinct = new Set(ids).size
  let length = SHORTEST
  while (length < longest && new Set(ids.map((id) => id.slice(0, length))).size < distinct) length += 1
  return (id) => id.slice(0, length)
}

/** What kind of element an id names, for the message that there is no such element. */
export interface Kind<A> {
  readonly noun: "task" | "run" | "dead letter" | "token" | "approval" | "policy" | "webhook" | "delivery"
  /** The command that lists them. */
  readonly listedBy: string
  /** What people know an element by. */
  readonly title: (element: A) => string
}

/**
 * The whole id of the only element whose id is the text or begins with it. Fails with a sentence that names the
 * candidates. A text in the form of a whole id is returned as it is.
 */
export const wholeId = <A extends { readonly id: string }>(
  elements: ReadonlyArray<A>,
  text: string,
  { listedBy, noun, title }: Kind<A>
): Result.Result<string, string> => {
  const found = text === "" ? [] : elements.filter(({ id }) => id.startsWith(text))
  const [first] = found
  if (elements.some(({ id }) => id === text) || (first === undefined && WHOLE_ID.test(text))) {
    return Result.succeed(text)
  }
  if (first !== undefined && found.length === 1) return Result.succeed(first.id)
  const candidates = first === undefined ? elements : found
  const short = shortIds(candidates.map(({ id }) => id))
  const named = candidates
    .slice(0, CANDIDATES)
    .map((element) => `${short(element.id)} (${truncate(title(element), 40)})`)
    .join(", ")
  const more = candidates.length > CANDIDATES ? `, and ${candidates.length - CANDIDATES} more` : ""
  const quoted = JSON.stringify(text)
  if (first !== undefined) {
    const nouns = `${noun.replace(/y$/, "ie")}s`
    return Result.fail(
      `The ids of ${found.length} ${nouns} begin with ${quoted}: ${named}${more}. Give more characters.`
    )
  }
  const there = named === "" ? `There is no ${noun}.` : `There are ${named}${more}.`
  return Result.fail(`No ${noun}'s id begins with ${quoted}. ${there} \`${listedBy}\` lists them.`)
}
