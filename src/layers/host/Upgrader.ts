/**
 * Hands an upgrade or rollback to the host: runs UPGRADE_COMMAND, or writes UPGRADE_FILE. The command is a program with
 * arguments and runs without a shell. It gets the request in its environment: UPGRADE_ID, UPGRADE_KIND (upgrade or
 * rollback), UPGRADE_RUNTIME_VERSION and UPGRADE_OPENCLAW_VERSION (empty if that version does not change),
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

/** Maximum duration of UPGRADE_COMMAND. */
const COMMAND_TIMEOUT = Duration.minutes(5)
const KILL_AFTER = Duration.seconds(2)
const LINE_CHARACTERS = 4_000

/** The host did not accept the upgrade; the process continues with its current versions. */
export class UpgradeFailed extends Schema.TaggedError<UpgradeFailed>()("UpgradeFailed", { detail: Schema.String }) {}

/** Hands target versions to the host. */
export class Upgrader extends Context.Service<
  Upgrader,
  {
    /** How it hands over, for messages. */
    readonly means: string
    /** Runs the command to its end, or writes the file. Fails with the command's last line, without a secret. */
    handOver(change: VersionChange, from: RunningVersions): Effect.Effect<void, UpgradeFailed>
    /** Removes the file, so that the host does not act on a request that has ended. */
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
        const lastWords = Effect.map(Ref.get(lastLine), (line) => (line === "" ? "no output" : line))
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
              // A separate process group, so that a timeout also ends the processes that it started.
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
              Effect.flatMap(lastWords, (line) =>
                Effect.fail(failed(`UPGRADE_COMMAND did not end within ${Duration.format(COMMAND_TIMEOUT)}: ${line}`))
              )
          })
        )
        if (exitCode === 0) return
        // Its last lines may not have been read yet. A process that it left running may keep the pipe open for long.
        yield* Fiber.await(output).pipe(Effect.timeoutOption("1 second"))
        const how = exitCode === null ? "was killed by a signal" : `ended with exit code ${exitCode}`
        return yield* failed(`UPGRADE_COMMAND ${how}: ${yield* lastWords}`)
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
        means: Option.isSome(upgradeCommand) ? "running UPGRADE_COMMAND" : `writing ${upgradeFile}`,
        handOver: (change, from) =>
          Option.match(upgradeCommand, {
            onNone: () => writeFile(change, from),
            onSome: (command) => runCommand(command, change, from)
          }),
        clear: Effect.ignore(fileSystem.remove(upgradeFile, { force: true }))
      })
    })
  )
  /** A host that accepts every upgrade, for tests of other subjects. */
  static readonly layerTest = Layer.succeed(Upgrader, {
    means: "notifying the test",
    handOver: () => Effect.void,
    clear: Effect.void
  })
}
