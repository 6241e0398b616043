import { Console, Effect, FileSystem, Option, Redacted, Result } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { Provisioned, ProvisioningPlan, readAccountFile } from "../../domain/fleet/AccountFile.ts"
import { fleetFunctions } from "../../domain/fleet/FleetFunctions.ts"
import { counted } from "../../domain/text/Count.ts"
import { newSecretFile } from "../../layers/fleet/NewFile.ts"
import { readJson5 } from "../../layers/gateway/Json5Text.ts"
import { Fleet } from "../../services/Fleet.ts"
import { endWith } from "../EndedWith.ts"
import { jsonFlag, print, printJson } from "../Print.ts"

/** The account's file at this path; ends the command with every problem of it. */
const readFile = Effect.fnUntraced(function* (path: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const text = yield* fileSystem
    .readFileString(path)
    .pipe(
      Effect.catchTag("PlatformError", ({ reason }) =>
        endWith(1, `${path} cannot be read (${reason._tag}). Name the account's file.`)
      )
    )
  const value = Result.try({
    try: (): unknown => readJson5(text),
    catch: (error) => (error instanceof Error ? error.message : String(error))
  })
  if (Result.isFailure(value)) return yield* endWith(1, `${path} ${value.failure}.`)
  const file = readAccountFile(value.success)
  if (Result.isSuccess(file)) return file.success
  const problems = file.failure.map((problem) => `  - ${problem}`)
  return yield* endWith(1, `${path} has ${counted(file.failure.length, "problem")}:`, ...problems)
})

/** The changes, one line each, or JSON. */
const show = (changes: ReadonlyArray<string>, json: boolean, more: object) =>
  json
    ? printJson({ changes, ...more })
    : changes.length === 0
      ? Console.error("Nothing to change: the account agrees with the file.")
      : print(changes.map((change) => `- ${change}`).join("\n"))

/** `fleet provision`: makes an account agree with a file. */
export const fleetProvision = Command.make(
  "provision",
  {
    file: Argument.String("file").pipe(Argument.withDescription("The account's file, in JSON5")),
    apply: Flag.Boolean("apply").pipe(
      Flag.withDescription("Make the changes; without it the command only lists them"),
      Flag.withDefault(false)
    ),
    tokenFile: Flag.String("token-file").pipe(
      Flag.withDescription("The new file for the service token, if one is created. It is written only there"),
      Flag.optional
    ),
    json: jsonFlag
  },
  Effect.fn(
    function* ({ apply, file: path, json, tokenFile }) {
      const file = yield* readFile(path)
      const fleet = yield* Fleet
      const plan = yield* fleet.mutation(fleetFunctions.provisionDryRun, ProvisioningPlan, { file })
      if (!apply) {
        yield* show(plan.changes, json, { isApplied: false })
        const flags = plan.createsToken ? "--apply, and --token-file with a new file for the token," : "--apply"
        if (plan.changes.length > 0) yield* Console.error(`Nothing was changed. Add ${flags} to make these changes.`)
        return
      }
      if (plan.createsToken && Option.isNone(tokenFile)) {
        return yield* endWith(
          1,
          "Nothing was changed. A service token would be created: name a new file for it with --token-file."
        )
      }
      // The file exists before the token does, because the token cannot be read again.
      const secret = plan.createsToken ? yield* newSecretFile(Option.getOrElse(tokenFile, () => "")) : undefined
      const { accountId, changes, serviceToken } = yield* fleet.mutation(fleetFunctions.provision, Provisioned, {
        file
      })
      if (serviceToken !== null) {
        if (secret === undefined) {
          return yield* endWith(
            1,
            "A service token was created, but no file was given for it. Revoke it, and provision again."
          )
        }
        yield* secret.write(Redacted.value(serviceToken))
      }
      yield* show(changes, json, { isApplied: true, accountId })
      if (serviceToken !== null)
        yield* Console.error(`The service token is in ${Option.getOrElse(tokenFile, () => "")}.`)
    },
    Effect.scoped,
    Effect.catchTag("FileUnwritable", ({ detail }) => endWith(1, detail))
  )
).pipe(
  Command.withDescription(
    [
      "Make an account agree with a file: lists the changes, and makes them with --apply. A minimal file:",
      '{ key: "acme", name: "Acme", members: [{ tokenIdentifier: "https://login.example.com|pat", name: "Pat", role: "owner" }] }'
    ].join(" ")
  ),
  Command.withShortDescription("Create or change an account from a file"),
  Command.withExamples([
    { command: "mission-control-runtime fleet provision acme.json5", description: "What would change" },
    {
      command: "mission-control-runtime fleet provision acme.json5 --apply --token-file acme.token",
      description: "Make the changes"
    }
  ])
)
