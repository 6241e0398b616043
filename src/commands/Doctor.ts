import { ConfigProvider, Console, Effect, Result } from "effect"
import type { Layer } from "effect"
import { Command, Flag, TerminalCapabilities } from "effect/cli"
import type { HttpClient } from "effect/http"
import type { Findings } from "../domain/doctor/DoctorFindings.ts"
import { doctorExitCode, examine, renderDoctorReport } from "../domain/doctor/DoctorReport.ts"
import { makeRedactor } from "../domain/observability/Redaction.ts"
import { readSettings } from "../layers/Config.ts"
import type { ConfigInvalid, RuntimeConfig } from "../layers/Config.ts"
import type { ConvexClient } from "../layers/ConvexClient.ts"
import type { Gateway } from "../layers/Gateway.ts"
import { Redactor } from "../layers/Redactor.ts"
import { collectFindings } from "../programs/Doctor.ts"
import type { Operator } from "../services/Operator.ts"
import { EndedWith } from "./EndedWith.ts"

type Surroundings = RuntimeConfig | ConvexClient | Gateway | Operator | Redactor | HttpClient.HttpClient

/** `doctor`: what stands in the way of working, and how to fix it. The layer is built only when the variables can be used. */
export const doctorWith = <R>(surroundings: Layer.Layer<Surroundings, ConfigInvalid, R>) =>
  Command.make(
    "doctor",
    {
      json: Flag.Boolean("json").pipe(Flag.withDescription("Print { checks } as JSON"), Flag.withDefault(false)),
      verbose: Flag.Boolean("verbose").pipe(
        Flag.withDescription("Print every check, not only what is wrong"),
        Flag.withDefault(false)
      ),
      canary: Flag.Boolean("canary").pipe(
        Flag.withDescription("Also run one turn with a tool call, in a session of its own"),
        Flag.withDefault(false)
      ),
      validate: Flag.Boolean("validate").pipe(
        Flag.withDescription("Also have the gateway's command judge its configuration, about four seconds"),
        Flag.withDefault(false)
      )
    },
    Effect.fn(function* ({ canary, json, validate, verbose }) {
      const settings = yield* Effect.result(readSettings(yield* ConfigProvider.ConfigProvider))
      const found: { readonly findings: Findings; readonly redact: (text: string) => string } = Result.isFailure(
        settings
      )
        ? {
            findings: {
              problems: settings.failure.problems,
              hints: settings.failure.hints ?? [],
              controlPlane: null,
              gateway: null,
              machine: null
            },
            redact: makeRedactor([])
          }
        : yield* Effect.provide(
            Effect.gen(function* () {
              return { findings: yield* collectFindings({ canary, validate }), redact: (yield* Redactor).redact }
            }),
            surroundings
          )
      const checks = examine(found.findings)
      const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
      yield* Console.log(
        found.redact(
          json
            ? JSON.stringify({ checks }, null, 2)
            : renderDoctorReport(checks, { isColored: canColor, isVerbose: verbose })
        )
      )
      const exitCode = doctorExitCode(checks)
      return exitCode === 0 ? undefined : yield* new EndedWith({ exitCode })
    })
  ).pipe(
    Command.withDescription("Check everything that has to be right; exit code 0, 1 with warnings, 2 with failures"),
    Command.withExamples([
      { command: "mission-control-runtime doctor", description: "What is wrong, and how to fix it" },
      { command: "mission-control-runtime doctor --verbose", description: "Every check" },
      { command: "mission-control-runtime doctor --canary", description: "Also one tool call by an agent" },
      {
        command: `mission-control-runtime doctor --json | jq -r '.checks[] | select(.status == "fail") | .fix'`,
        description: "What to fix"
      }
    ])
  )
