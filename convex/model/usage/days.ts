import { refusal } from "../access/refusal.ts"

/** The day in the time zone, as YYYY-MM-DD. */
export const dayIn = (timeZone: string, at: number): string => {
  const format = new Intl.DateTimeFormat("en-US", { timeZone, year: "numeric", month: "2-digit", day: "2-digit" })
  const parts = new Map(format.formatToParts(at).map(({ type, value }) => [type, value]))
  return `${parts.get("year")}-${parts.get("month")}-${parts.get("day")}`
}

const maxDayMs = 26 * 60 * 60 * 1_000
const maxMonthMs = 32 * 24 * 60 * 60 * 1_000

/** When the current day or month ends in the time zone: the first millisecond of the next. */
export const endOf = (period: "day" | "month", timeZone: string, at: number): number => {
  const nameOf = (moment: number) => (period === "day" ? dayIn(timeZone, moment) : monthOf(dayIn(timeZone, moment)))
  const current = nameOf(at)
  let [before, after] = [at, at + (period === "day" ? maxDayMs : maxMonthMs)]
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2)
    if (nameOf(middle) === current) before = middle
    else after = middle
  }
  return after
}

/** The month of a day, as YYYY-MM. */
export const monthOf = (day: string): string => day.slice(0, 7)

/** Fails with `invalid` unless the text is the name of a time zone. */
export const checkTimeZone = (timeZone: string): void => {
  try {
    dayIn(timeZone, 0)
  } catch {
    throw refusal("invalid", "timeZone is not the name of a time zone. Use a name like Europe/Berlin or UTC.")
  }
}
