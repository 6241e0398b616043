/** The longest delay of Node's timers, about 24.8 days. A longer delay would fire at once. */
const longest = 2 ** 31 - 1

/** Runs work at a time, in milliseconds since 1970; a past time means now. Returns the function that cancels it. */
export const at = (moment: number, work: () => void): (() => void) => {
  let timer: NodeJS.Timeout | undefined
  const arm = (): void => {
    const wait = Math.max(0, moment - Date.now())
    timer = setTimeout(wait > longest ? arm : work, Math.min(wait, longest))
  }
  arm()
  return () => clearTimeout(timer)
}
