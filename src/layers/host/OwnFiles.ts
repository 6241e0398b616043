/**
 * Files in directories that agents can write too. Every step checks again, no symbolic link is followed, and a file is
 * replaced as a whole or not at all.
 */
import { createHash } from "node:crypto"
import { constants } from "node:fs"
import type { Stats } from "node:fs"
import { copyFile, lstat, mkdir, open, readFile, rename, rmdir, unlink } from "node:fs/promises"
import { dirname, join } from "node:path"

/** A path is not a plain file or directory as required. It is left unchanged. */
export class Refused extends Error {}

/** Always the same name, so that the next write of the file removes the draft of a killed run. */
const temporary = (path: string): string => `${path}.mission-control.tmp`

export const digest = (content: string): string => createHash("sha256").update(content).digest("hex")

const hasCode = (error: unknown, ...codes: ReadonlyArray<string>): boolean =>
  error instanceof Error && "code" in error && codes.includes(String(error.code))

const look = async (path: string): Promise<Stats | null> => {
  try {
    return await lstat(path)
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return null
    throw error
  }
}

export const mustBeFolder = async (path: string): Promise<boolean> => {
  const stats = await look(path)
  if (stats === null) return false
  if (stats.isSymbolicLink()) throw new Refused(`${path} is a symbolic link: replace it by a directory`)
  if (!stats.isDirectory()) throw new Refused(`${path} is not a directory: move it away`)
  return true
}

/** The file's text, null if it does not exist; refuses links, also in the path from the root. */
export const readOwn = async (root: string, path: ReadonlyArray<string>): Promise<string | null> => {
  let folder = root
  if (!(await mustBeFolder(folder))) return null
  for (const segment of path.slice(0, -1)) {
    folder = join(folder, segment)
    if (!(await mustBeFolder(folder))) return null
  }
  return readPlain(join(folder, path.at(-1) ?? ""))
}

export const readPlain = async (path: string): Promise<string | null> => {
  const stats = await look(path)
  if (stats === null) return null
  if (stats.isSymbolicLink()) throw new Refused(`${path} is a symbolic link: replace it by the file itself`)
  if (!stats.isFile()) throw new Refused(`${path} is not a file: move it away`)
  return readFile(path, "utf8")
}

const makeFolder = async (path: string): Promise<void> => {
  if (await mustBeFolder(path)) return
  await mkdir(path, { mode: 0o700 })
}

export const makeFolders = async (root: string, path: ReadonlyArray<string>): Promise<void> => {
  await mkdir(dirname(root), { recursive: true, mode: 0o700 })
  let folder = root
  await makeFolder(folder)
  for (const segment of path) {
    folder = join(folder, segment)
    await makeFolder(folder)
  }
}

const syncFolder = async (path: string): Promise<void> => {
  const handle = await open(path, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Replaces a file as a whole; refuses a path that is not a plain file. */
export const replaceFile = async (path: string, content: string): Promise<void> => {
  await readPlain(path)
  await writeWhole(path, content)
}

/** Writes a file as a whole: a reader, or a crash at any point, finds the old text or the new one. */
export const writeWhole = async (path: string, content: string): Promise<void> => {
  const draft = temporary(path)
  await unlink(draft).catch((error: unknown) => {
    if (!hasCode(error, "ENOENT")) throw error
  })
  // Exclusive, so that a link created in the meantime is not followed.
  const handle = await open(draft, "wx", 0o600)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(draft, path)
  await syncFolder(dirname(path))
}

export const removeFile = async (path: string): Promise<void> => {
  for (const one of [temporary(path), path]) {
    await unlink(one).catch((error: unknown) => {
      if (!hasCode(error, "ENOENT", "ENOTDIR")) throw error
    })
  }
}

export const removeEmpty = async (path: string): Promise<void> => {
  await rmdir(path).catch((error: unknown) => {
    if (!hasCode(error, "ENOENT", "ENOTDIR", "ENOTEMPTY", "EEXIST")) throw error
  })
}

/** Whether the directory exists; refuses links in its path. */
export const readFolder = async (root: string, path: ReadonlyArray<string>): Promise<boolean> => {
  let folder = root
  if (!(await mustBeFolder(folder))) return false
  for (const segment of path) {
    folder = join(folder, segment)
    if (!(await mustBeFolder(folder))) return false
  }
  return true
}

/** Copies a file to a name that is derived from its content, unless that copy already exists. */
export const keepCopy = async (path: string, copy: string): Promise<void> => {
  await copyFile(path, copy, constants.COPYFILE_EXCL).catch((error: unknown) => {
    if (!hasCode(error, "EEXIST")) throw error
  })
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
