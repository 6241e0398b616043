/**
 * The first module that runs: from here on SIGTERM and SIGINT no longer kill the process at once, whatever it is doing.
 * Signals that arrive before somebody listens are kept. SIGHUP asks for something else and ends nothing.
 */
type Listener = (count: number) => void

let count = 0
let listener: Listener | undefined

const onSignal = () => {
  count += 1
  listener?.(count)
}
process.on("SIGTERM", onSignal)
process.on("SIGINT", onSignal)

/** Calls the listener with 1, 2, ... for each signal, at once for those that came before. */
export const listenToSignals = (next: Listener): void => {
  listener = next
  for (let past = 1; past <= count; past++) next(past)
}

let onHangup: (() => void) | undefined
process.on("SIGHUP", () => onHangup?.())

/** Calls the listener for each SIGHUP; those that came before are forgotten, since everything was read after them. */
export const listenToHangups = (next: () => void): void => {
  onHangup = next
}
