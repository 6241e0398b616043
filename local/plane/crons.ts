import { Cron } from "effect"
import { type App, type CronJob } from "./app.ts"
import { type Engine } from "./engine.ts"
import { at } from "./longTimer.ts"

const weekdays = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
const unitMilliseconds: Record<string, number> = { seconds: 1000, minutes: 60_000, hours: 3_600_000 }

/**
 * The times of a schedule of `crons.ts`: returns the next one after the given one, both in milliseconds since 1970.
 * Times of day are UTC.
 */
export const nextMoment = (schedule: CronJob["schedule"]): ((after: number) => number) => {
  const { type, ...fields } = schedule
  const minute = Number(fields["minuteUTC"] ?? 0)
  const daily = `${minute} ${Number(fields["hourUTC"] ?? 0)}`
  const byCron = (expression: string): ((after: number) => number) => {
    const cron = Cron.parseUnsafe(expression, "UTC")
    return (after) => Cron.next(cron, after).getTime()
  }
  switch (type) {
    case "interval": {
      const [unit = "", amount] = Object.entries(fields)[0] ?? []
      const every = Number(amount) * (unitMilliseconds[unit] ?? Number.NaN)
      if (!(every > 0)) throw new Error(`not an interval: ${JSON.stringify(schedule)}`)
      return (after) => after + every
    }
    case "hourly":
      return byCron(`${minute} * * * *`)
    case "daily":
      return byCron(`${daily} * * *`)
    case "weekly":
      return byCron(`${daily} * * ${weekdays.indexOf(String(fields["dayOfWeek"]))}`)
    case "monthly":
      return byCron(`${daily} ${Number(fields["day"])} * *`)
    case "cron":
      return byCron(String(fields["cron"]))
    default:
      throw new Error(`not a schedule: ${JSON.stringify(schedule)}`)
  }
}

/**
 * Runs the jobs of `crons.ts` as a deployment does: intervals the first time at once, and no job while its last run is
 * still active.
 */
export const runCrons = (app: App, engine: Engine): { readonly close: () => void } => {
  const cancels = new Map<string, () => void>()
  for (const { name, path, args, schedule } of app.crons) {
    const next = nextMoment(schedule)
    const run = (): Promise<unknown> => engine.run({ path, args, identity: null, isAdmin: true, origin: "cron" })
    const arm = (moment: number): void => {
      const fire = async (): Promise<void> => {
        await run()
        if (cancels.has(name)) arm(Math.max(next(moment), Date.now()))
      }
      cancels.set(
        name,
        at(moment, () => void fire())
      )
    }
    const now = Date.now()
    arm(schedule.type === "interval" ? now : next(now))
  }
  return {
    close: () => {
      for (const cancel of cancels.values()) cancel()
      cancels.clear()
    }
  }
}
