import { Duration, Effect, Ref } from "effect"
import { judgeGatewayVersion, parseGatewayVersion } from "../../domain/gateway/GatewayVersion.ts"
import type { VersionVerdict } from "../../domain/gateway/GatewayVersion.ts"
import { runGatewayCommand } from "./GatewayCommand.ts"

const TIMEOUT = Duration.seconds(20)

/** The output of `openclaw --version`; empty if the command does not end. */
export const readCommandVersion = runGatewayCommand(["--version"]).pipe(
  Effect.timeoutOrElse({ duration: TIMEOUT, orElse: () => Effect.succeed("") })
)

/** The verdict about a version as text, null if the gateway does not report one. */
export const verdictOf = (version: string | null): VersionVerdict =>
  judgeGatewayVersion(version === null ? null : parseGatewayVersion(version))

/** A function that judges a version and logs each warning once. */
export const makeVersionCheck = Effect.gen(function* () {
  const logged = yield* Ref.make("")
  return Effect.fnUntraced(function* (version: string | null) {
    const verdict = verdictOf(version)
    const isNew = (yield* Ref.getAndSet(logged, verdict.message ?? "")) !== verdict.message
    if (verdict._tag !== "Refused" && verdict.message !== null && isNew) yield* Effect.logWarning(verdict.message)
    return verdict
  })
})
