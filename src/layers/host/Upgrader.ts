/**
 * Hands an upgrade or rollback to the host: runs UPGRADE_COMMAND, or leaves UPGRADE_FILE. The command is a program and
 * its arguments, and no shell: the target versions are not put into it but into its environment, as UPGRADE_ID,
 * UPGRADE_KIND (upgrade or rollback), UPGRADE_RUNTIME_VERSION and UPGRADE_OPENCLAW_VERSION (empty where that part stays),
 * UPGRADE_FROM_RUNTIME_VERSION and UPGRADE_FROM_OPENCLAW_VERSION.
 */
import { dirname } from "node:path"
import { Context, Duration, Effect, Fiber, FileSystem, Layer, Option, Ref, Schema, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import type { RunningVersions } from "../../domain/controlPlane/CommandStep.ts"
import type { VersionChange } from "../../domain/controlPlane/RuntimeCommands.ts"
import { RuntimeConfig } from "../Config.ts"
import { Redactor } from "../secrets/Redactor.ts"
import { messageOf, writeWhole } from "./OwnFiles.ts"
import { withheldFromChildren } from "./WithheldFromChildren.ts"

/** How long UPGRADE_COMMAND may take. */
const COMMAND_TIMEOUT = Duration.minutes(5)
const KILL_AFTER = Duration.seconds(2)
const LINE_CHARACTERS = 4_000

/** The host did not take the upgrade; the process goes on with the versions it has. */
export class UpgradeFailed extends Schema.TaggedError<UpgradeFailed>()("UpgradeFailed", { detail: Schema.String }) {}

/** Carries target versions to the host. */
export class Upgrader extends Context.Service<
  Upgrader,
  {
    /** What it is going to do, in words. */
    readonly means: string
    /** Runs the command to its end, or writes the file whole; fails with its last line, without a secret. */
    handOver(change: VersionChange, from: RunningVersions): Effect.Effect<void, UpgradeFailed>
    /** Takes the file away, so that no host acts upon a request that is over. */
    readonly clear: Effect.Effect<void>
  }
>()("runtime-service/layers/host/Upgrader") {
  static readonly layer = Layer.effect(
    Upgrader,
    Effect.gen(function* () {
      const { upgradeCommand, upgradeFile } = yield* RuntimeConfig
      const fileSystem = yield* FileSystem.FileSystem
      const { redact } = yield* Redactor
      const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
      const failed = (detail: string) => new UpgradeFailed({ detail: redact(detail) })

      const runCommand = Effect.fn("Upgrader.runCommand")(function* (
        [command = "", ...args]: ReadonlyArray<string>,
        change: VersionChange,
        from: RunningVersions
      ) {
        const lastLine = yield* Ref.make("")
        const told = Effect.map(Ref.get(lastLine), (line) => (line === "" ? "it said nothing" : line))
        const handle = yield* spawner
          .spawn(
            ChildProcess.make(command, args, {
              env: {
                ...withheldFromChildren,
                UPGRADE_ID: change.id,
                UPGRADE_KIND: change.kind,
                UPGRADE_RUNTIME_VERSION: change.runtimeVersion ?? "",
                UPGRADE_OPENCLAW_VERSION: change.openclawVersion ?? "",
                UPGRADE_FROM_RUNTIME_VERSION: from.runtime,
                UPGRADE_FROM_OPENCLAW_VERSION: from.openclaw ?? ""
              },
              extendEnv: true,
              stdin: "ignore",
              // A group of its own, so that what it starts ends with it when its time is over.
              detached: true,
              killSignal: "SIGTERM",
              forceKillAfter: KILL_AFTER
            })
          )
          .pipe(
            Effect.mapError((error) =>
              failed(`UPGRADE_COMMAND is ${JSON.stringify(command)}, which cannot be started (${error.reason._tag})`)
            )
          )
        const output = yield* handle.all.pipe(
          Stream.decodeText(),
          Stream.splitLines,
          Stream.runForEach((line) =>
            line.trim() === ""
              ? Effect.void
              : Effect.andThen(
                  Ref.set(lastLine, redact(line.trim()).slice(0, 300)),
                  Effect.logInfo(redact(line).slice(0, LINE_CHARACTERS))
                )
          ),
          Effect.ignore,
          Effect.annotateLogs({ source: "upgrade-command" }),
          Effect.forkScoped
        )
        const exitCode = yield* Effect.match(handle.exitCode, {
          onSuccess: (code): number | null => code,
          onFailure: () => null
        }).pipe(
          Effect.timeoutOrElse({
            duration: COMMAND_TIMEOUT,
            orElse: () =>
              Effect.flatMap(told, (line) =>
                Effect.fail(failed(`UPGRADE_COMMAND did not end within ${Duration.format(COMMAND_TIMEOUT)}: ${line}`))
              )
          })
        )
        if (exitCode === 0) return
        // Its last words may still be on their way; what it left running may hold the pipe open for long.
        yield* Fiber.await(output).pipe(Effect.timeoutOption("1 second"))
        const how = exitCode === null ? "was ended by a signal" : `ended with exit code ${exitCode}`
        return yield* failed(`UPGRADE_COMMAND ${how}: ${yield* told}`)
      }, Effect.scoped)

      const writeFile = Effect.fn("Upgrader.writeFile")(
        function* (change: VersionChange, from: RunningVersions) {
          const { id, kind, openclawVersion, requestedAt, runtimeVersion } = change
          const text = JSON.stringify(
            {
              id,
              kind,
              runtimeVersion,
              openclawVersion,
              requestedAt,
              from: { runtimeVersion: from.runtime, openclawVersion: from.openclaw }
            },
            null,
            2
          )
          yield* fileSystem
            .makeDirectory(dirname(upgradeFile), { recursive: true, mode: 0o700 })
            .pipe(Effect.mapError(messageOf))
          yield* Effect.tryPromise({ try: () => writeWhole(upgradeFile, `${text}\n`), catch: messageOf })
        },
        Effect.mapError((problem) => failed(`UPGRADE_FILE cannot be written: ${upgradeFile}: ${problem}`))
      )

      return Upgrader.of({
        means: Option.isSome(upgradeCommand) ? "running UPGRADE_COMMAND" : `leaving ${upgradeFile}`,
        handOver: (change, from) =>
          Option.match(upgradeCommand, {
            onNone: () => writeFile(change, from),
            onSome: (command) => runCommand(command, change, from)
          }),
        clear: Effect.ignore(fileSystem.remove(upgradeFile, { force: true }))
      })
    })
  )
  /** A host that takes every upgrade, for tests that are not about it. */
  static readonly layerTest = Layer.succeed(Upgrader, {
    means: "telling the test",
    handOver: () => Effect.void,
    clear: Effect.void
  })
}
