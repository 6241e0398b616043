import { type App, type CronJob } from "./app.ts"
import { type Engine } from "./engine.ts"

const millisecondsOf = ({ type, ...schedule }: CronJob["schedule"]): number | undefined => {
  if (type !== "interval") return undefined
  const [unit, amount] = Object.entries(schedule)[0] ?? []
  const factor = { seconds: 1000, minutes: 60_000, hours: 3_600_000 }[unit ?? ""]
  return factor === undefined ? undefined : Number(amount) * factor
}

/** Runs the interval jobs of `crons.ts`, the first time at once, as a deployment does; a run still going on is not doubled. */
export const runCrons = (app: App, engine: Engine, log: (line: string) => void): { readonly close: () => void } => {
  const timers: Array<NodeJS.Timeout> = []
  for (const { name, path, args, schedule } of app.crons) {
    const every = millisecondsOf(schedule)
    if (every === undefined) {
      log(`cron job "${name}" is not run: the plane knows intervals only`)
      continue
    }
    let isRunning = false
    const run = async (): Promise<void> => {
      if (isRunning) return
      isRunning = true
      await engine.run({ path, args, identity: null, isAdmin: true, origin: "cron" })
      isRunning = false
    }
    void run()
    timers.push(setInterval(() => void run(), every))
  }
  return { close: () => timers.forEach((timer) => clearInterval(timer)) }
}
