/** Answers of the control plane made of recorded ones: copies of one delivery under other ids, at the present time. */

/** The recorded answers by what their function does. A plane whose claims carry the contexts has no `context`. */
export type Recorded = { readonly claim: string; readonly context: string; readonly complete: string }

type Answer = { readonly value: unknown }

/** Agents of the bench's account: agent-0 and so on. The recorded delivery is agent-0's. */
export const AGENTS = 100

/** Ids of the embedded plane begin with zeros; those of a copy begin with its number. */
const COPIED_ID = /(?<!\d)0{9}(?=\d*(?:notifications|sessions|tasks)\b)/g
/** Milliseconds since the epoch, of this decade or the next. */
const MOMENT = /\b[12]\d{12}\b/g

const copyOf = (text: string, copy: number): string =>
  text.replace(COPIED_ID, String(copy).padStart(9, "0")).replace(/agent-0\b/g, `agent-${copy % AGENTS}`)

/** Moves every moment by what has passed since the recorded answer's own `now`, or since its first moment. */
const atPresent = (text: string): string => {
  const then = /"now":(\d+)/.exec(text)?.[1] ?? text.match(MOMENT)?.[0]
  if (then === undefined) return text
  const passed = Date.now() - Number(then)
  return text.replace(MOMENT, (moment) => String(Number(moment) + passed))
}

/** The claimed work of a claim's answer: where it is and its first item as text; null when nothing was claimed. */
export const itemOf = (answer: string): { readonly key: string; readonly text: string } | null => {
  const { value } = JSON.parse(answer) as Answer
  for (const [key, items] of Object.entries((value ?? {}) as Record<string, unknown>)) {
    if (!Array.isArray(items) || items.length === 0) continue
    const text = JSON.stringify(items[0])
    if (/\d{10}notifications\b/.test(text)) return { key, text }
  }
  return null
}

/** Answers a call like the recorded one: as many copies as a claim asks for, or the contexts of the copies asked about. */
export const answerOf = (kind: keyof Recorded, template: string, question: string, nextCopy: () => number): string => {
  if (kind === "complete") return atPresent(template)
  if (kind === "claim") {
    const item = itemOf(template)
    if (item === null) return atPresent(template)
    const count = Number(/"(?:limit|permits)":(\d+)/.exec(question)?.[1] ?? AGENTS)
    const copies = Array.from({ length: count }, () => copyOf(item.text, nextCopy()))
    return atPresent(template.replace(`"${item.key}":[${item.text}]`, `"${item.key}":[${copies.join(",")}]`))
  }
  const { value } = JSON.parse(template) as { readonly value: ReadonlyArray<unknown> }
  const text = JSON.stringify(value[0])
  const copies = (question.match(/(?<=")\d{9}(?=\d*notifications")/g) ?? []).map((copy) => copyOf(text, Number(copy)))
  return atPresent(
    JSON.stringify({ status: "success", value: [], logLines: [] }).replace(
      '"value":[]',
      `"value":[${copies.join(",")}]`
    )
  )
}
