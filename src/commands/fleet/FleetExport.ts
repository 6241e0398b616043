import { Console, DateTime, Effect, Ref, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { countRows } from "../../domain/fleet/Archive.ts"
import type { Manifest } from "../../domain/fleet/Archive.ts"
import { counted } from "../../domain/text/Count.ts"
import { newArchive } from "../../layers/fleet/NewFile.ts"
import { Fleet } from "../../services/Fleet.ts"
import { endWith } from "../EndedWith.ts"
import { account } from "./FleetAccountArgument.ts"

/** `fleet export`: one archive of everything that belongs to an account. */
export const fleetExport = Command.make(
  "export",
  {
    account,
    file: Flag.String("file").pipe(
      Flag.withDescription("The new archive: gzip, one JSON object per line, a manifest as the last line")
    )
  },
  Effect.fn(
    function* ({ account, file }) {
      const fleet = yield* Fleet
      const { id, name } = yield* fleet.account(account)
      const archive = yield* newArchive(file)
      const counts = yield* Ref.make<Manifest["rows"]>({})
      yield* Stream.runForEach(fleet.rows(id), (rows) =>
        Effect.andThen(
          archive.append(rows.map((row) => JSON.stringify(row))),
          Ref.update(counts, (before) => countRows(before, rows))
        )
      )
      const exportedAt = DateTime.formatIso(yield* DateTime.now)
      const rows = yield* Ref.get(counts)
      const manifest: Manifest = { format: 1, accountId: id, name, exportedAt, rows }
      yield* archive.append([JSON.stringify({ manifest })])
      yield* archive.complete
      const sum = Object.values(rows).reduce((left, right) => left + right, 0)
      yield* Console.error(`${file} has ${counted(sum, "row")} of ${name}, without tokens and other secrets.`)
    },
    Effect.scoped,
    Effect.catchTag("FileUnwritable", ({ detail }) => endWith(1, detail))
  )
).pipe(
  Command.withDescription("Write everything that belongs to an account to one archive, without secrets"),
  Command.withShortDescription("Write an archive of an account"),
  Command.withExamples([
    { command: "mission-control-runtime fleet export acme --file acme.jsonl.gz", description: "An archive of Acme" }
  ])
)
