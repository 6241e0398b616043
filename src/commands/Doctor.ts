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
import { Redactor } from "../layers/secrets/Redactor.ts"
import { collectFindings } from "../programs/Doctor.ts"
import type { AccountWork } from "../services/AccountWork.ts"
import type { Operator } from "../services/Operator.ts"
import { EndedWith } from "./EndedWith.ts"

type Services = AccountWork | RuntimeConfig | ConvexClient | Gateway | Operator | Redactor | HttpClient.HttpClient

/** `doctor`: finds problems and says how to fix them. The layer is built only if the variables are valid. */
export const doctorWith = <R>(services: Layer.Layer<Services, ConfigInvalid, R>) =>
  Command.make(
    "doctor",
    {
      json: Flag.Boolean("json").pipe(
        Flag.withDescription("Print JSON: an object with the list `checks`"),
        Flag.withDefault(false)
      ),
      verbose: Flag.Boolean("verbose").pipe(
        Flag.withDescription("Print every check, not only problems"),
        Flag.withDefault(false)
      ),
      canary: Flag.Boolean("canary").pipe(
        Flag.withDescription("Also run one turn with a tool call, in a separate session"),
        Flag.withDefault(false)
      ),
      validate: Flag.Boolean("validate").pipe(
        Flag.withDescription("Also have the gateway check its configuration; takes about 4 s"),
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
            services
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
    Command.withDescription(
      "Check variables, machine, control plane and gateway; exit code 0, 1 for warnings, 2 for failures"
    ),
    Command.withShortDescription("Find problems and how to fix them"),
    Command.withExamples([
      { command: "mission-control-runtime doctor", description: "Problems, and how to fix them" },
      { command: "mission-control-runtime doctor --verbose", description: "Every check" },
      { command: "mission-control-runtime doctor --canary", description: "Also have an agent call a tool" },
      {
        command: `mission-control-runtime doctor --json | jq -r '.checks[] | select(.status == "fail") | .fix'`,
        description: "Only the fixes of failed checks"
      }
    ])
  )
