/** What this machine offers: ports, folders, commands. Looks only; nothing is made or changed. */
import { createServer } from "node:net"
import { delimiter, dirname, isAbsolute, join } from "node:path"
import { Effect, FileSystem } from "effect"

/** Whether the port can be listened on; it is given back at once. */
export const isPortFree = (host: string, port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const server = createServer()
    server.once("error", () => resume(Effect.succeed(false)))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resume(Effect.succeed(true))))
    return Effect.sync(() => server.close())
  })

/** Why a folder can neither be written nor made, null when it can. */
export const folderProblem = Effect.fn("MachineProbes.folderProblem")(function* (path: string) {
  const fileSystem = yield* FileSystem.FileSystem
  let existing = path
  while (!(yield* Effect.orElseSucceed(fileSystem.exists(existing), () => false)) && dirname(existing) !== existing) {
    existing = dirname(existing)
  }
  const info = yield* Effect.option(fileSystem.stat(existing))
  if (info._tag === "Some" && info.value.type !== "Directory") return `${existing} is no folder`
  return yield* fileSystem.access(existing, { writable: true }).pipe(
    Effect.as(null),
    Effect.orElseSucceed(() => (existing === path ? "cannot be written" : `cannot be made in ${existing}`))
  )
})

/** Why a file cannot be read, null when it can. */
export const fileProblem = Effect.fn("MachineProbes.fileProblem")(function* (path: string) {
  const fileSystem = yield* FileSystem.FileSystem
  return yield* fileSystem.access(path, { readable: true }).pipe(
    Effect.as(null),
    Effect.catch((error) => Effect.succeed(`cannot be read (${error.reason._tag})`))
  )
})

/** Whether the command is a path that exists, or is in one of these folders. */
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
