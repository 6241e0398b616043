/**
 * The value with every lone surrogate in its texts replaced by U+FFFD. JSON can escape lone surrogates but UTF-8 cannot
 * encode them, so Convex would refuse the whole body at every attempt. Returns the same value if there are none.
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
