/** What Node's timers can hold, about 24.8 days; anything longer would fire at once. */
const longest = 2 ** 31 - 1

/** Runs work at a moment, in milliseconds since 1970, however far it is; a moment that has passed is now. Answers how to cancel it. */
export const at = (moment: number, work: () => void): (() => void) => {
  let timer: NodeJS.Timeout | undefined
  const arm = (): void => {
    const wait = Math.max(0, moment - Date.now())
    timer = setTimeout(wait > longest ? arm : work, Math.min(wait, longest))
  }
  arm()
  return () => clearTimeout(timer)
}
