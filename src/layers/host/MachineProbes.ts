/** Checks of this machine: ports, directories, commands. They change nothing. */
import { createServer } from "node:net"
import { delimiter, dirname, isAbsolute, join } from "node:path"
import { Effect, FileSystem } from "effect"

/** Whether a server can listen on the port; releases it at once. */
export const isPortFree = (host: string, port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const server = createServer()
    server.once("error", () => resume(Effect.succeed(false)))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resume(Effect.succeed(true))))
    return Effect.sync(() => server.close())
  })

/** Why a directory can neither be written nor created; null if it can. */
export const folderProblem = Effect.fn("MachineProbes.folderProblem")(function* (path: string) {
  const fileSystem = yield* FileSystem.FileSystem
  let existing = path
  while (!(yield* Effect.orElseSucceed(fileSystem.exists(existing), () => false)) && dirname(existing) !== existing) {
    existing = dirname(existing)
  }
  const info = yield* Effect.option(fileSystem.stat(existing))
  if (info._tag === "Some" && info.value.type !== "Directory") return `${existing} is not a directory`
  return yield* fileSystem.access(existing, { writable: true }).pipe(
    Effect.as(null),
    Effect.orElseSucceed(() => (existing === path ? "cannot be written" : `cannot be created in ${existing}`))
  )
})

/** Why a file cannot be read; null if it can. */
export const fileProblem = Effect.fn("MachineProbes.fileProblem")(function* (path: string) {
  const fileSystem = yield* FileSystem.FileSystem
  return yield* fileSystem.access(path, { readable: true }).pipe(
    Effect.as(null),
    Effect.catch((error) => Effect.succeed(`cannot be read (${error.reason._tag})`))
  )
})

/** Whether the command is an existing path, or is in a directory of the search path. */
export const hasCommand = Effect.fn("MachineProbes.hasCommand")(function* (command: string, searchPath: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const candidates =
    isAbsolute(command) || command.includes("/")
      ? [command]
      : searchPath.split(delimiter).flatMap((folder) => (folder === "" ? [] : [join(folder, command)]))
  for (const candidate of candidates) {
    if (yield* Effect.orElseSucceed(fileSystem.exists(candidate), () => false)) return true
  }
  return false
})
