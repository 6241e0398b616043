import {
  Context,
  Duration,
  Effect,
  FiberHandle,
  FileSystem,
  Layer,
  Option,
  Queue,
  Random,
  Schedule,
  Scope,
  Semaphore,
  Stream
} from "effect"
import { ChildProcessSpawner } from "effect/process"
import type { ControlPlaneFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import { backoffMillis } from "../../domain/delivery/Backoff.ts"
import { planProfiles } from "../../domain/gateway/ProfilePlan.ts"
import { singleLine } from "../../domain/text/Text.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { checkGatewayConfig } from "../../layers/gateway/GatewayConfigCheck.ts"
import { readGatewaySettings } from "../../layers/gateway/GatewayConfigFile.ts"
import { Metrics } from "../../layers/Metrics.ts"
import { Telemetry } from "../../layers/telemetry/Telemetry.ts"
import { hasSteps, SyncFailed, syncProfiles } from "../../layers/workspaces/Workspaces.ts"
import type { SyncSteps } from "../../layers/workspaces/Workspaces.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import { makeFailureStreak } from "../../services/FailureStreak.ts"
import { GatewayGuard } from "../../services/GatewayGuard.ts"
import { Lifecycle } from "../../services/Lifecycle.ts"
import { Permits } from "../../services/Permits.ts"
import { Roster } from "../../services/Roster.ts"
import { Supervisor } from "../../services/Supervisor.ts"
import { allTools } from "../../services/tools/AllTools.ts"
import { DeliveryLoop } from "../delivery/DeliveryLoop.ts"

/** The list of tools in TOOLS.md. */
export const toolsText: string = [
  "Mission Control has these tools. Each request describes those that you have, with their parameters.",
  "",
  ...allTools.map(({ description, name }) => `- \`${name}\`: ${singleLine(description)}`)
].join("\n")

/** The texts that are the same in every workspace, read each time. Fails with SyncFailed if one cannot be read. */
export const sharedTexts = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const fileSystem = yield* FileSystem.FileSystem
  const text = (path: string) =>
    Effect.mapError(
      fileSystem.readFileString(path),
      (error) => new SyncFailed({ detail: `${path} cannot be read (${error.reason._tag})` })
    )
  return {
    agentsMd: yield* text(config.agentsMdPath),
    heartbeatMd: yield* text(config.heartbeatMdPath),
    worktreeScript: yield* text(config.worktreeScriptPath),
    tools: toolsText
  }
})

/** How long the runtime asks the gateway for unknown agents after a change of its configuration. */
const RECHECK_SECONDS = 30

/** Delays before a retry after a failure, or of a problem that people have to fix. */
const retryDelays = { baseMillis: 5_000, maxMillis: Duration.toMillis("5 minutes") }

/**
 * Writes the agents' profiles from the control plane to where the gateway reads them: workspaces, and the runtime's
 * part of openclaw.json (OPENCLAW_PROFILE_SYNC). A file that cannot be written is listed in /readyz; the others are
 * written.
 */
export class ProfileSync extends Context.Service<
  ProfileSync,
  {
    /** Reads, plans and applies once; returns the changes. */
    readonly sync: Effect.Effect<SyncSteps, ControlPlaneFailure | SyncFailed>
    /**
     * The first run, before the gateway starts. Logs failures, which are retried later. Does nothing if sync is off.
     */
    readonly boot: Effect.Effect<void>
    /** Follows the roster, whose revision also changes with texts and skills. */
    readonly start: Effect.Effect<void>
  }
>()("runtime-service/programs/ProfileSync") {
  static readonly layer = Layer.effect(
    ProfileSync,
    Effect.gen(function* () {
      const config = yield* RuntimeConfig
      const controlPlane = yield* ControlPlane
      const fileSystem = yield* FileSystem.FileSystem
      const guard = yield* GatewayGuard
      const lifecycle = yield* Lifecycle
      const metrics = yield* Metrics
      const loop = yield* DeliveryLoop
      const permits = yield* Permits
      const roster = yield* Roster
      const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
      const supervisor = yield* Supervisor
      const telemetry = yield* Telemetry
      const scope = yield* Effect.scope
      const one = yield* Semaphore.make(1)
      const failing = makeFailureStreak()
      /** Already logged as not changed. */
      const logged = new Set<string>()
      const later = yield* FiberHandle.make<void>()
      const recheck = yield* FiberHandle.make<void>()
      /** There may be a change to write. One run is enough for several, because each reads the newest state. */
      const changes = yield* Queue.sliding<void>(1)
      const isSupervised = Option.isNone(config.gatewayUrl)

      const texts = sharedTexts.pipe(
        Effect.provideService(RuntimeConfig, config),
        Effect.provideService(FileSystem.FileSystem, fileSystem)
      )

      const sync = Effect.gen(function* () {
        const shared = yield* texts
        const gateway = yield* readGatewaySettings(config.gatewayConfigPath).pipe(
          Effect.provideService(FileSystem.FileSystem, fileSystem)
        )
        const plan = planProfiles(yield* controlPlane.profiles, shared, gateway)
        const steps = yield* syncProfiles(
          {
            workspaceRoot: config.workspaceRoot,
            configPath: config.gatewayConfigPath,
            bindsLoopback: isSupervised,
            // The gateway restarts for these keys.
            defersBootOnly: (yield* permits.free) < permits.total
          },
          plan
        )
        if (hasSteps(steps)) {
          yield* Effect.logInfo("profiles written").pipe(
            Effect.annotateLogs({
              agents: plan.agents.length,
              written: steps.writes.length,
              removed: steps.removes.length,
              movedAside: steps.moves.length,
              copiesKept: steps.writes.filter(({ copy }) => copy !== null).length,
              configuration: steps.config === null ? "unchanged" : "changed"
            })
          )
        }
        for (const what of steps.left) {
          if (logged.has(what)) continue
          logged.add(what)
          yield* Effect.logInfo(`profile sync does not change ${what}: the runtime did not write it`)
        }
        for (const problem of steps.problems) {
          const message = `profile sync: ${problem}`
          yield* failing.isFirst(problem) ? Effect.logError(message) : Effect.logDebug(message)
        }
        if (steps.problems.length === 0) yield* failing.recovered("profile sync works again")
        yield* lifecycle.setReason("profile-sync", steps.problems[0] ?? null)
        yield* telemetry.note({
          "mission_control.agents": plan.agents.length,
          "mission_control.profiles.written": steps.writes.length,
          "mission_control.profiles.removed": steps.removes.length
        })
        return steps
      }).pipe(
        telemetry.root("ProfileSync.sync"),
        Effect.onExit((exit) =>
          metrics.synced("profiles", exit._tag === "Success" && exit.value.problems.length === 0)
        ),
        one.withPermits(1)
      )

      const say = (failure: ControlPlaneFailure | SyncFailed) => {
        const detail = "detail" in failure ? failure.detail : failure._tag
        const message = `profile sync failed, earlier files stay in use: ${detail}`
        const isFirst = failing.isFirst(failure._tag === "SyncFailed" ? detail : failure._tag)
        return Effect.andThen(
          lifecycle.setReason("profile-sync", detail),
          isFirst ? Effect.logError(message) : Effect.logDebug(message)
        )
      }

      /**
       * The gateway takes a second or more to read a change, so agents that it did not know are tried again after that.
       */
      const recheckAgents = guard.recheck.pipe(
        Effect.flatMap((isRecovered) => (isRecovered ? loop.wake("gateway") : Effect.void)),
        Effect.repeat(Schedule.spaced("1 second").pipe(Schedule.upTo({ times: RECHECK_SECONDS }))),
        Effect.asVoid
      )

      /**
       * Makes a change, and returns whether it is complete. Keys that have to wait for running turns are retried after
       * them.
       */
      const syncAndReport = Effect.gen(function* () {
        const { config: written, deferred, problems } = yield* sync
        if (written !== null) yield* FiberHandle.run(recheck, recheckAgents)
        if (deferred.length > 0) {
          yield* Effect.logInfo(
            `${deferred.join(", ")} of the gateway's configuration: will be changed when no turn is running`
          )
          yield* FiberHandle.run(later, Effect.andThen(permits.idle, Effect.asVoid(Queue.offer(changes, undefined))))
        }
        return problems.length === 0
      }).pipe(Effect.catch((failure) => Effect.as(say(failure), false)))

      const check = Effect.gen(function* () {
        const issues = yield* checkGatewayConfig
        if (Option.isNone(issues) || issues.value.length === 0) return
        yield* Effect.logError(`the gateway rejects ${config.gatewayConfigPath}: ${issues.value.join("; ")}`)
      }).pipe(
        Effect.provideService(RuntimeConfig, config),
        Effect.provideService(ChildProcessSpawner.ChildProcessSpawner, spawner)
      )

      const boot = Effect.gen(function* () {
        const { config: written } = yield* sync
        if (isSupervised && written !== null) yield* check
      }).pipe(Effect.catch(say))

      const followRoster = roster.changes.pipe(
        Stream.map(({ revision }) => revision),
        Stream.changes,
        Stream.runForEach(() => Queue.offer(changes, undefined))
      )

      const write = Effect.gen(function* () {
        let misses = 0
        const step = Effect.gen(function* () {
          misses = (yield* syncAndReport) ? 0 : misses + 1
          if (misses === 0) return yield* Queue.take(changes)
          // No event reports a corrected file, so it is checked regularly, while changes are written at once.
          const hasNews = yield* Queue.take(changes).pipe(
            Effect.as(true),
            Effect.timeoutOrElse({
              duration: Duration.millis(backoffMillis(retryDelays, misses, yield* Random.next)),
              orElse: () => Effect.succeed(false)
            })
          )
          if (hasNews) misses = 0
        })
        yield* Queue.take(changes)
        return yield* Effect.forever(step)
      })

      const follow = Effect.raceFirst(Effect.andThen(followRoster, Effect.never), write)

      return ProfileSync.of({
        sync,
        boot: config.profileSync ? boot : Effect.void,
        start: config.profileSync
          ? supervisor.run("profile-sync", follow).pipe(Effect.provideService(Scope.Scope, scope))
          : Effect.void
      })
    })
  )

  /** Writes nothing; for tests of other programs. */
  static readonly layerTest = Layer.succeed(ProfileSync, {
    sync: Effect.fail(new SyncFailed({ detail: "profile sync is off" })),
    boot: Effect.void,
    start: Effect.void
  })
}
