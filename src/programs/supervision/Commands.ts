import { Context, Effect, Layer, Queue, Ref, Result, Schedule, Scope, Stream, SubscriptionRef } from "effect"
import { nextStep } from "../../domain/controlPlane/CommandStep.ts"
import type { RunningVersions } from "../../domain/controlPlane/CommandStep.ts"
import { describeFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { RuntimeCommands, VersionChange, Watched } from "../../domain/controlPlane/RuntimeCommands.ts"
import { describeVersions } from "../../domain/shared/Versions.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { Gateway } from "../../layers/Gateway.ts"
import { Upgrader } from "../../layers/host/Upgrader.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import type { CommandResult } from "../../services/ControlPlane.ts"
import { noteRefusal } from "../../services/ControlPlaneRefusal.ts"
import { Lifecycle } from "../../services/Lifecycle.ts"
import { Supervisor } from "../../services/Supervisor.ts"

/** The runtime retries until it knows whether a command was taken, because a lost restart would never happen. */
const ASK_AGAIN = Schedule.spaced("5 seconds").pipe(Schedule.jittered)
/** Progress reports for people may be lost. */
const PROGRESS_TIMEOUT = "3 seconds"

const isPassing = ({ _tag }: ControlPlaneFailure): boolean =>
  _tag === "ControlPlaneUnavailable" || _tag === "TokenRefused"

/** The watch that ends later, because a pulse's answer can be older than the last push. */
const laterOf = (before: Watched, watched: RuntimeCommands["watched"]): Watched =>
  (watched?.until ?? 0) > before.until ? (watched ?? before) : before

/**
 * Carries out people's commands, which arrive by push and with each pulse: pause and resume at once; restart, upgrade
 * and rollback one after another, each tried once and ending with a drain and exit code 75. If the host does not accept
 * an upgrade, it is reported as failed and the process continues.
 */
export class Commands extends Context.Service<
  Commands,
  {
    /** Takes the present commands without waiting for them to be carried out. */
    obey(commands: RuntimeCommands): Effect.Effect<void>
    /** When people watch the turns: now and at each change. Zero if no one has watched yet. */
    readonly watched: Stream.Stream<Watched>
    /** Starts to follow the pushed commands and to carry them out. */
    readonly start: Effect.Effect<void>
    /** Reports, when the process ends for an upgrade, that its turns are done and the next start follows. */
    readonly leaving: Effect.Effect<void>
  }
>()("runtime-service/programs/Commands") {
  static readonly layer = Layer.effect(
    Commands,
    Effect.gen(function* () {
      const config = yield* RuntimeConfig
      const controlPlane = yield* ControlPlane
      const gateway = yield* Gateway
      const lifecycle = yield* Lifecycle
      const supervisor = yield* Supervisor
      const upgrader = yield* Upgrader
      const scope = yield* Effect.scope
      // Only the latest commands count, because each message contains all of them.
      const latest = yield* Queue.sliding<RuntimeCommands>(1)
      // Commands that arrive later may have been read before this one was taken, so none is carried out twice.
      const done = new Set<string>()
      const watched = yield* SubscriptionRef.make<Watched>({ since: 0, until: 0 })
      const current = yield* Ref.make<VersionChange | null>(null)
      let isFileJudged = false

      const running: Effect.Effect<RunningVersions> = Effect.map(gateway.state, ({ version }) => ({
        bootId: controlPlane.bootId,
        runtime: config.runtimeVersion,
        openclaw: version
      }))

      const obey = Effect.fnUntraced(function* (commands: RuntimeCommands) {
        const { isPaused } = yield* lifecycle.state
        if (isPaused !== commands.paused) {
          yield* lifecycle.setPaused(commands.paused)
          yield* Effect.logInfo(commands.paused ? "paused: no new work starts" : "resumed")
        }
        yield* SubscriptionRef.update(watched, (before) => laterOf(before, commands.watched))
        yield* Queue.offer(latest, commands)
      })

      /** Sends the report until it is answered; false if the control plane refuses it. */
      const acknowledge = (command: string, result: CommandResult, message?: string) =>
        controlPlane.acknowledge({ command, result, ...(message === undefined ? {} : { message }) }).pipe(
          Effect.retry({ schedule: ASK_AGAIN, while: isPassing }),
          Effect.as(true),
          Effect.catch((failure) =>
            Effect.gen(function* () {
              if (yield* noteRefusal(lifecycle, failure)) return false
              yield* Effect.logInfo(`a command is no longer valid: ${describeFailure(failure)}`)
              return false
            })
          )
        )

      const progress = (change: VersionChange, message: string) =>
        controlPlane
          .acknowledge({ command: change.id, result: "progress", message })
          .pipe(Effect.timeout(PROGRESS_TIMEOUT), Effect.ignore)

      const takeRestart = Effect.fnUntraced(function* (id: string) {
        done.add(id)
        return yield* acknowledge(id, "taken")
      })

      const changeVersion = Effect.fnUntraced(function* (
        change: VersionChange,
        from: RunningVersions,
        restart: RuntimeCommands["restart"]
      ) {
        const what = `${change.kind} to ${describeVersions(change)}`
        if (!(yield* acknowledge(change.id, "taken", upgrader.means))) return
        yield* Effect.logInfo(`${what}: ${upgrader.means}`)
        const handedOver = yield* upgrader.handOver(change, from).pipe(
          // After a defect the request must not stay open while this process runs.
          Effect.catchDefect((defect) => Effect.fail({ detail: `an unexpected failure: ${String(defect)}` })),
          Effect.result
        )
        if (Result.isFailure(handedOver)) {
          const { detail } = handedOver.failure
          yield* Effect.logError(`${what} failed, continuing with ${from.runtime}: ${detail}`)
          yield* acknowledge(change.id, "failed", detail)
          return
        }
        yield* Ref.set(current, change)
        yield* progress(change, "handed to the host; the process ends after the running turns")
        if (restart !== null) yield* takeRestart(restart.id)
        yield* Effect.logInfo(`${what}: handed to the host, the process ends so that the host starts it again`)
        yield* lifecycle.requestStop("upgrade")
      })

      const arrived = Effect.fnUntraced(function* (change: VersionChange) {
        yield* upgrader.clear
        const isSaid = yield* acknowledge(change.id, change.kind === "rollback" ? "rolled_back" : "success")
        if (isSaid) yield* Effect.logInfo(`${change.kind} to ${describeVersions(change)} is complete`)
      })

      const act = Effect.fnUntraced(function* (commands: RuntimeCommands) {
        if (!isFileJudged) {
          isFileJudged = true
          // Removes the file of a finished request, so that the host does not carry it out later.
          if (commands.underway === null) yield* upgrader.clear
        }
        const now = yield* running
        const without = <A extends { readonly id: string }>(command: A | null) =>
          command === null || done.has(command.id) ? null : command
        const step = nextStep(
          {
            ...commands,
            restart: without(commands.restart),
            upgrade: without(commands.upgrade),
            underway: without(commands.underway)
          },
          now
        )
        switch (step._tag) {
          case "Nothing":
            return
          case "Restart":
            if (yield* takeRestart(step.id)) {
              yield* Effect.logInfo("a restart was requested")
              yield* lifecycle.requestStop("restart")
            }
            return
          case "ChangeVersion":
            done.add(step.change.id)
            return yield* changeVersion(step.change, now, without(commands.restart))
          case "AlreadyThere":
            done.add(step.change.id)
            if (yield* acknowledge(step.change.id, "taken")) yield* arrived(step.change)
            return
          case "Refuse":
            done.add(step.change.id)
            if (yield* acknowledge(step.change.id, "taken")) {
              yield* Effect.logError(`${step.change.kind} refused: ${step.reason}`)
              yield* acknowledge(step.change.id, "failed", step.reason)
            }
            return
          case "Arrived":
            done.add(step.change.id)
            return yield* arrived(step.change)
        }
      })

      const follow = Stream.runForEach(controlPlane.commands, (result) =>
        Result.isSuccess(result) ? obey(result.success) : Effect.void
      ).pipe(Effect.andThen(Effect.never))

      return Commands.of({
        obey,
        watched: SubscriptionRef.changes(watched),
        start: Effect.gen(function* () {
          yield* supervisor.run("commands", follow)
          yield* supervisor.run("commands-carried-out", Effect.forever(Effect.flatMap(Queue.take(latest), act)))
        }).pipe(Effect.provideService(Scope.Scope, scope)),
        leaving: Effect.flatMap(Ref.get(current), (change) =>
          change === null
            ? Effect.void
            : progress(change, "the process ends; the next start reports whether the versions match")
        )
      })
    })
  )
}
