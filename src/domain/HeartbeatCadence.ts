import { Cron, Option, Result } from "effect"

/**
 * The first moment after `now` at which a heartbeat's cron expression (five or six fields, UTC) fires, in epoch
 * milliseconds; none when it is no such expression or fires never. Minutes are reckoned by the control plane.
 */
export const nextCronMoment = (expression: string, now: number): Option.Option<number> =>
  Option.flatMap(Result.getSuccess(Cron.parse(expression, "UTC")), (cron) => {
    // A day that no month has (30 February) lets the search give up with an exception.
    const found = Result.try(() => Cron.next(cron, now).getTime())
    return Result.isSuccess(found) && Number.isFinite(found.success) ? Option.some(found.success) : Option.none()
  })

/** How many heartbeats may run at once beside deliveries: a quarter of all permits, one at least. */
export const beatPermits = (total: number): number => Math.max(1, Math.floor(total / 4))
