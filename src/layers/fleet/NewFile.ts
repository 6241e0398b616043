import { gzipSync } from "node:zlib"
import { Effect, FileSystem, Schema } from "effect"
import type { PlatformError } from "effect"
import type { Scope } from "effect/Scope"

/** A file that a command makes cannot be written. The detail names it. */
export class FileUnwritable extends Schema.TaggedError<FileUnwritable>()("FileUnwritable", { detail: Schema.String }) {}

const unwritable = (path: string) => (error: PlatformError.PlatformError) =>
  new FileUnwritable({
    detail:
      error.reason._tag === "AlreadyExists"
        ? `${path} exists already. Choose a new path.`
        : `${path} cannot be written (${error.reason._tag}). Choose another path.`
  })

const encoder = new TextEncoder()

/**
 * Creates a file that only its owner may read. Fails if it exists. A scope that ends before `keep` deletes the file.
 */
const create = Effect.fnUntraced(function* (path: string) {
  const fileSystem = yield* FileSystem.FileSystem
  let isKept = false
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => (isKept ? Effect.void : Effect.ignore(fileSystem.remove(path))))
  )
  const file = yield* fileSystem.open(path, { flag: "wx", mode: 0o600 }).pipe(
    Effect.tapError(() => Effect.sync(() => (isKept = true))),
    Effect.mapError(unwritable(path))
  )
  return {
    append: (bytes: Uint8Array) => Effect.mapError(file.writeAll(bytes), unwritable(path)),
    keep: Effect.mapError(
      Effect.tap(file.sync, () => Effect.sync(() => (isKept = true))),
      unwritable(path)
    )
  }
})

/** A new file for one secret text, which exists before the secret does. Only its owner may read it. */
export const newSecretFile = (
  path: string
): Effect.Effect<
  { write(text: string): Effect.Effect<void, FileUnwritable> },
  FileUnwritable,
  FileSystem.FileSystem | Scope
> =>
  Effect.map(create(path), ({ append, keep }) => ({
    write: (text) => Effect.andThen(append(encoder.encode(`${text}\n`)), keep)
  }))

/** A new gzip file of lines. The file is deleted unless `complete` was called. Only its owner may read it. */
export const newArchive = (
  path: string
): Effect.Effect<
  {
    append(lines: ReadonlyArray<string>): Effect.Effect<void, FileUnwritable>
    readonly complete: Effect.Effect<void, FileUnwritable>
  },
  FileUnwritable,
  FileSystem.FileSystem | Scope
> =>
  Effect.map(create(path), ({ append, keep }) => ({
    // A gzip file may have several members, so a page can be written without those that follow.
    append: (lines) =>
      lines.length === 0 ? Effect.void : append(gzipSync(encoder.encode(lines.map((line) => `${line}\n`).join("")))),
    complete: keep
  }))
