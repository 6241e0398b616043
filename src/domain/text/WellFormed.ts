/**
 * The value with every half of a surrogate pair in its texts replaced by U+FFFD. JSON can escape such halves, no UTF-8
 * can hold them: Convex refuses the whole body, at every attempt anew. A value without any is answered as it is.
 */
export const wellFormed = <A>(value: A): A => repaired(value) as A

const repaired = (value: unknown): unknown => {
  if (typeof value === "string") return value.isWellFormed() ? value : value.toWellFormed()
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) {
    const items = value.map(repaired)
    return items.every((item, index) => item === value[index]) ? value : items
  }
  const entries = Object.entries(value)
  const changed = entries.map(([key, each]) => [key.toWellFormed(), repaired(each)] as const)
  return changed.every(([key, each], index) => key === entries[index]?.[0] && each === entries[index]?.[1])
    ? value
    : Object.fromEntries(changed)
}
