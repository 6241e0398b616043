import { Deferred, Effect, Exit } from "effect"
import type { Scope } from "effect"
import { type Launched, type LaunchFailed, launchRuntime, type RuntimeOptions } from "../launcher.ts"
import { DemoFailed } from "./demoFailed.ts"
import { entryOf, type Story } from "./story.ts"

/** The lines of a process that are no JSON; it prints its reason to end as such a line. */
const plainLines = (output: string): string =>
  output
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("{"))
    .join(" ")

/** Variables of the shell that would reach another gateway or account. */
const foreign = /^(?:OPENCLAW_|CONVEX_|MISSION_CONTROL_)/

/** The variable for `--port`. */
export const portOf = ({ port }: { readonly port: string | undefined }): Record<string, string> =>
  port === undefined ? {} : { HEALTH_PORT: port }

/**
 * Starts the runtime and tells the story of its log. Fails at its first error before it is ready, because it would
 * otherwise wait for someone to correct the mistake. `onEntry` is called with every entry of the log.
 */
export const startRuntime = (
  story: Story,
  options: RuntimeOptions,
  onEntry: (entry: Record<string, unknown>) => void = () => {}
): Effect.Effect<Launched, DemoFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const mistake = yield* Deferred.make<never, DemoFailed>()
    // The port is an option of the demonstration.
    const fail = (reason: string) =>
      new DemoFailed({ reason: `the runtime did not start: ${reason.replaceAll("HEALTH_PORT", "--port")}` })
    const unset = Object.keys(process.env).filter((name) => foreign.test(name))
    const launched = launchRuntime({
      // It may have to wait for the real gateway.
      readyTimeout: 180_000,
      stopsGateway: true,
      ...options,
      env: { ...Object.fromEntries(unset.map((name) => [name, undefined])), ...options.env },
      onLine: (line) => {
        story.hear(line)
        const entry = entryOf(line)
        if (entry === undefined) return
        onEntry(entry)
        if (entry["level"] === "error") Deferred.doneUnsafe(mistake, Exit.fail(fail(String(entry["message"]))))
      }
    }).pipe(
      Effect.catchTag("LaunchFailed", (failure: LaunchFailed) => {
        const text = plainLines(failure.output)
        return fail(text === "" ? failure.reason : text)
      })
    )
    return yield* Effect.raceFirst(launched, Deferred.await(mistake))
  })
