import { Clock, Duration, Effect, Ref, Stream } from "effect"
import { describeFailure } from "../../../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../../domain/controlPlane/ControlPlaneFailure.ts"
import { waitText } from "../../../domain/delivery/RunView.ts"
import { budgetText, costText } from "../../../domain/usage/UsageReport.ts"
import { Metrics } from "../../../layers/Metrics.ts"
import { Redactor } from "../../../layers/secrets/Redactor.ts"
import { ControlPlane } from "../../../services/ControlPlane.ts"

/** How often each is requested: only while a page is open, and once for all pages. Together seven calls a minute. */
const QUEUE_TTL = Duration.seconds(15)
const LETTERS_TTL = Duration.seconds(30)
const USAGE_TTL = Duration.minutes(1)
/** Maximum number of listed runs and of listed dead letters. */
const LISTED = 50

/**
 * What the page reads from the control plane, as one endless stream each: the waiting runs, the dead letters, today's
 * usage with the budgets. If a read fails, the element has the last data and the reason in `error`.
 */
export const makeStatusReads = Effect.gen(function* () {
  const controlPlane = yield* ControlPlane
  const metrics = yield* Metrics
  const redactor = yield* Redactor

  /** The difference of the clocks: times are converted to this process's clock, which the browser knows. */
  const skew = Effect.gen(function* () {
    return (yield* controlPlane.now) - (yield* Clock.currentTimeMillis)
  })

  const keepingTheLast = <A extends object>(nothing: A, read: Effect.Effect<A, ControlPlaneFailure>) =>
    Effect.map(Ref.make<A & { readonly error: string | null }>({ ...nothing, error: null }), (last) =>
      Effect.matchEffect(read, {
        onFailure: (failure) => {
          const error = redactor.error(describeFailure(failure))
          return Ref.updateAndGet(last, (before) => ({ ...before, error }))
        },
        onSuccess: (latest) => Ref.updateAndGet(last, () => ({ ...latest, error: null }))
      })
    )

  const readQueue = Effect.gen(function* () {
    const behind = yield* skew
    const runs = yield* controlPlane.runs({ limit: LISTED })
    const waiting = runs.filter(({ state }) => state === "waiting")
    return {
      isCut: runs.length >= LISTED,
      list: waiting.map((run) => ({
        id: run.id,
        agent: run.agentSlug,
        task: run.taskTitle,
        type: run.type,
        attempts: run.attempts,
        since: run.at - behind,
        wait: waitText(run),
        reason: run.wait?.reason ?? null,
        until: run.wait === null || run.wait.until === null ? null : run.wait.until - behind
      }))
    }
  })

  const readLetters = Effect.gen(function* () {
    const behind = yield* skew
    const letters = yield* controlPlane.deadLetters({ limit: LISTED })
    return {
      list: letters.map(({ agentSlug, attempts, diedAt, error, events, id, taskTitle, type }) => ({
        id,
        type,
        events: events.map(({ actorName, type }) => ({ type, by: actorName })),
        agent: agentSlug,
        task: taskTitle,
        attempts,
        diedAt: diedAt - behind,
        error: error === null ? null : `${error.class}: ${error.message}`
      }))
    }
  })

  const readUsage = Effect.gen(function* () {
    const { account, budgets, lines, total } = yield* controlPlane.usage({ days: 1 })
    return {
      account,
      budgets: budgets.map((budget) => ({
        ...budgetText(budget),
        scope: budget.scope,
        name: budget.name,
        percent: Math.floor((100 * budget.spent) / budget.limit)
      })),
      agents: lines.map(({ name, sum }) => ({ agent: name, weightedTokens: sum.weightedTokens, cost: costText(sum) })),
      total: { attempts: total.attempts, weightedTokens: total.weightedTokens, cost: costText(total) }
    }
  })

  const queue = yield* Effect.cachedWithTTL(
    yield* keepingTheLast<Effect.Success<typeof readQueue>>({ isCut: false, list: [] }, readQueue),
    QUEUE_TTL
  )
  const [letters, forgetLetters] = yield* Effect.cachedInvalidateWithTTL(
    yield* keepingTheLast<Effect.Success<typeof readLetters>>({ list: [] }, readLetters),
    LETTERS_TTL
  )
  const usage = yield* Effect.cachedWithTTL(
    yield* keepingTheLast<Effect.Success<typeof readUsage> | { readonly account: null }>({ account: null }, readUsage),
    USAGE_TTL
  )

  const deaths = metrics.activityChanges.pipe(
    Stream.mapEffect(() => Effect.map(metrics.deliverySummary, ({ deadLetters }) => deadLetters)),
    Stream.changes,
    Stream.drop(1),
    Stream.mapEffect(() => forgetLetters)
  )
  return {
    queue: Stream.mapEffect(Stream.tick(QUEUE_TTL), () => queue),
    letters: Stream.mapEffect(Stream.merge(Stream.tick(LETTERS_TTL), deaths), () => letters),
    usage: Stream.mapEffect(Stream.tick(USAGE_TTL), () => usage)
  }
})
