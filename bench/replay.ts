/** Builds answers of the control plane from recorded ones: copies of one delivery with other ids and current times. */

/** The recorded answers by their function. A plane whose claims contain the contexts has no `context`. */
export type Recorded = { readonly claim: string; readonly context: string; readonly complete: string }

type Answer = { readonly value: unknown }

/** Agents of the bench's account: agent-0 and so on. The recorded delivery is agent-0's. */
export const AGENTS = 100

/** Ids of the local plane start with zeros; those of a copy start with its number. */
const COPIED_ID = /(?<!\d)0{9}(?=\d*(?:notifications|sessions|tasks)\b)/g
/** Milliseconds since the epoch, in this decade or the next. */
const MOMENT = /\b[12]\d{12}\b/g

const copyOf = (text: string, copy: number): string =>
  text.replace(COPIED_ID, String(copy).padStart(9, "0")).replace(/agent-0\b/g, `agent-${copy % AGENTS}`)

/** Shifts every time by the time since the recorded answer's own `now`, or since its first time. */
const atPresent = (text: string): string => {
  const then = /"now":(\d+)/.exec(text)?.[1] ?? text.match(MOMENT)?.[0]
  if (then === undefined) return text
  const passed = Date.now() - Number(then)
  return text.replace(MOMENT, (moment) => String(Number(moment) + passed))
}

/** The claimed work in a claim's answer: its position and its first item as text; null if the claim was empty. */
export const itemOf = (answer: string): { readonly key: string; readonly text: string } | null => {
  const { value } = JSON.parse(answer) as Answer
  for (const [key, items] of Object.entries((value ?? {}) as Record<string, unknown>)) {
    if (!Array.isArray(items) || items.length === 0) continue
    const text = JSON.stringify(items[0])
    if (/\d{10}notifications\b/.test(text)) return { key, text }
  }
  return null
}

/**
 * Answers a call from the recorded answer: as many copies as a claim asks for, or the contexts of the requested copies.
 */
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
