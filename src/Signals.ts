/**
 * The first module that runs, so that SIGTERM and SIGINT do not kill the process while it loads. Signals are counted
 * until a listener is registered. SIGHUP does not end the process.
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

/** Calls the listener with 1, 2, ... for each signal; at once for signals that arrived earlier. */
export const listenToSignals = (next: Listener): void => {
  listener = next
  for (let past = 1; past <= count; past++) next(past)
}

let onHangup: (() => void) | undefined
process.on("SIGHUP", () => onHangup?.())

/** Calls the listener for each later SIGHUP. Earlier ones are dropped, because the secrets were read after them. */
export const listenToHangups = (next: () => void): void => {
  onHangup = next
}
