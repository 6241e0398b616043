/**
 * The agents' workspaces and our part of openclaw.json on disk. Agents can write there too, so every step looks again:
 * names are ours or nobody's, no symbolic link is followed, and a file is replaced whole or not at all.
 */
import { createHash } from "node:crypto"
import type { Stats } from "node:fs"
import { lstat, mkdir, open, readFile, rename, rmdir, unlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import { Effect, Schema } from "effect"
import { mergeGatewaySettings, SettingsUnusable } from "../domain/GatewaySettings.ts"
import type { AgentSettings, JsonObject } from "../domain/GatewaySettings.ts"
import { agentFolders, isWorkspacePath } from "../domain/ProfilePlan.ts"
import type { ProfilePlan } from "../domain/ProfilePlan.ts"
import { isWorkspaceSlug } from "../domain/WorkspaceSlug.ts"

/** Where workspaces and configuration are, and how far a run may go. */
export interface SyncTarget {
  readonly workspaceRoot: string
  readonly configPath: string
  readonly bindsLoopback: boolean
  readonly defersBootOnly: boolean
}

/** What a run would do, in this order; nothing at all when everything stands as planned. */
export interface SyncSteps {
  readonly folders: ReadonlyArray<ReadonlyArray<string>>
  readonly writes: ReadonlyArray<{ readonly path: ReadonlyArray<string>; readonly content: string }>
  readonly removes: ReadonlyArray<ReadonlyArray<string>>
  /** Folders that go with what was in them, if nothing else is. */
  readonly emptied: ReadonlyArray<ReadonlyArray<string>>
  /** The whole new text of the gateway's configuration; null when it stays. */
  readonly config: string | null
  /** The record of what is ours while the run is under way, and after it; null when it stays. */
  readonly ahead: string | null
  readonly after: string | null
  /** What cannot be done, each with its path and a way out. */
  readonly problems: ReadonlyArray<string>
  /** Keys of the configuration that wait until no turn runs. */
  readonly deferred: ReadonlyArray<string>
}

/** A path is no plain file or folder where one must be; it is left as it is. */
class Refused extends Error {}

/** The record of what was written here, kept in the root: path to the digests that a file of ours may have. */
const Record = Schema.Struct({
  version: Schema.Literal(1),
  files: Schema.Record(Schema.String, Schema.Array(Schema.String)),
  agents: Schema.Array(Schema.Struct({ slug: Schema.String, workspace: Schema.String }))
})
type Record = typeof Record.Type
const decodeRecord = Schema.decodeUnknownOption(Schema.fromJsonString(Record))
const RECORD = ".mission-control.json"
/** Always the same name, so that what a killed run left behind is taken away by the next write of the file. */
const temporary = (path: string): string => `${path}.mission-control.tmp`

const digest = (content: string): string => createHash("sha256").update(content).digest("hex")

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

const mustBeFolder = async (path: string): Promise<boolean> => {
  const stats = await look(path)
  if (stats === null) return false
  if (stats.isSymbolicLink()) throw new Refused(`${path} is a symbolic link: replace it by a folder`)
  if (!stats.isDirectory()) throw new Refused(`${path} is no folder: move it away`)
  return true
}

/** The file's text, null when there is none; refuses links, also in the folders above it up to the root. */
const readOwn = async (root: string, path: ReadonlyArray<string>): Promise<string | null> => {
  let folder = root
  if (!(await mustBeFolder(folder))) return null
  for (const segment of path.slice(0, -1)) {
    folder = join(folder, segment)
    if (!(await mustBeFolder(folder))) return null
  }
  return readPlain(join(folder, path.at(-1) ?? ""))
}

const readPlain = async (path: string): Promise<string | null> => {
  const stats = await look(path)
  if (stats === null) return null
  if (stats.isSymbolicLink()) throw new Refused(`${path} is a symbolic link: replace it by the file itself`)
  if (!stats.isFile()) throw new Refused(`${path} is no file: move it away`)
  return readFile(path, "utf8")
}

const makeFolder = async (path: string): Promise<void> => {
  if (await mustBeFolder(path)) return
  await mkdir(path, { mode: 0o700 })
}

const makeFolders = async (root: string, path: ReadonlyArray<string>): Promise<void> => {
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

/** Replaces a file whole: a reader, or a crash at any point, finds the old text or the new one. */
const replaceFile = async (path: string, content: string): Promise<void> => {
  await readPlain(path)
  const draft = temporary(path)
  await unlink(draft).catch((error: unknown) => {
    if (!hasCode(error, "ENOENT")) throw error
  })
  // Exclusive: a link put there in the meantime is not followed.
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

const removeFile = async (path: string): Promise<void> => {
  for (const one of [temporary(path), path]) {
    await unlink(one).catch((error: unknown) => {
      if (!hasCode(error, "ENOENT", "ENOTDIR")) throw error
    })
  }
}

const removeEmpty = async (path: string): Promise<void> => {
  await rmdir(path).catch((error: unknown) => {
    if (!hasCode(error, "ENOENT", "ENOTDIR", "ENOTEMPTY", "EEXIST")) throw error
  })
}

const textOf = (record: Record): string => `${JSON.stringify(record, null, 2)}\n`

const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Why a text is no JSON, without the piece of it that V8 quotes: it may be of a secret that nobody here knows. */
const withoutQuote = (message: string): string => message.replace(/, (?:\.\.\.)?".*/s, "")

const parseConfig = (path: string, text: string | null): JsonObject => {
  if (text === null) return {}
  try {
    const value: unknown = JSON.parse(text)
    if (isJsonObject(value)) return value
  } catch (cause) {
    throw new Refused(
      `${path} is broken (${withoutQuote((cause as Error).message)}): mend it; comments and trailing commas cannot be kept and have to go`
    )
  }
  throw new Refused(`${path} is broken (no JSON object): mend it`)
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Finds out what a run would do; reads only. What is refused becomes a problem, everything else goes on. */
export const planSync = async (target: SyncTarget, plan: ProfilePlan): Promise<SyncSteps> => {
  const { workspaceRoot: root } = target
  const problems: Array<string> = [...plan.problems]
  const nothing = {
    folders: [],
    writes: [],
    removes: [],
    emptied: [],
    config: null,
    ahead: null,
    after: null,
    deferred: []
  }
  const orProblem = async <A>(work: Promise<A>, otherwise: A): Promise<A> => {
    try {
      return await work
    } catch (error) {
      problems.push(error instanceof Refused ? error.message : `${root}: ${messageOf(error)}`)
      return otherwise
    }
  }
  let recordText: string | null
  try {
    await mustBeFolder(root)
    recordText = await readOwn(root, [RECORD])
  } catch (error) {
    return { ...nothing, problems: [...problems, messageOf(error)] }
  }
  const decoded = recordText === null ? null : decodeRecord(recordText)
  if (decoded?._tag === "None") {
    problems.push(`${join(root, RECORD)} is not readable as a record of what was written here: nothing is removed`)
  }
  const record: Record = decoded?._tag === "Some" ? decoded.value : { version: 1, files: {}, agents: [] }
  // Agents can write the record too: only what may be ours is believed.
  const known = new Map(
    Object.entries(record.files)
      .map(([path, digests]) => [path.split("/"), digests] as const)
      .filter(([path]) => isWorkspacePath(path))
      .map(([path, digests]) => [path.join("/"), digests] as const)
  )
  const formerly = record.agents.filter(({ slug }) => isWorkspaceSlug(slug))

  const writes: Array<{ path: ReadonlyArray<string>; content: string }> = []
  const after = new Map<string, ReadonlyArray<string>>()
  for (const { content, isOnce, path } of plan.files) {
    const name = path.join("/")
    const digests = known.get(name)
    const wanted = digest(content)
    if (isOnce && digests !== undefined) {
      after.set(name, digests)
      continue
    }
    const text = await orProblem(readOwn(root, path), undefined)
    if (text === undefined) {
      if (digests !== undefined) after.set(name, digests)
      continue
    }
    if (isOnce && text !== null) continue
    if (text !== content) writes.push({ path, content })
    after.set(name, [wanted])
  }

  const planned = new Set(plan.files.map(({ path }) => path.join("/")))
  const removes: Array<ReadonlyArray<string>> = []
  const emptied: Array<ReadonlyArray<string>> = []
  for (const [name, digests] of known) {
    if (planned.has(name)) continue
    const path = name.split("/")
    const text = await orProblem(readOwn(root, path), undefined)
    if (text === undefined) after.set(name, digests)
    // What somebody has changed since is not what we wrote: it stays.
    else if (text !== null && digests.includes(digest(text))) removes.push(path)
  }
  const slugs = new Set(plan.agents.map(({ slug }) => slug))
  for (const [name] of known) {
    if (planned.has(name)) continue
    const [slug = "", ...rest] = name.split("/")
    if (rest.length === 3) emptied.push([slug, ...rest.slice(0, 2)])
  }
  for (const slug of new Set(
    [...known.keys()].filter((name) => !planned.has(name)).map((name) => name.split("/")[0] ?? "")
  )) {
    emptied.push([slug, "skills"])
    if (!slugs.has(slug)) emptied.push(...agentFolders.map((folder) => [slug, folder]), [slug])
  }

  const folders: Array<ReadonlyArray<string>> = []
  for (const path of plan.folders) {
    if ((await orProblem(readFolder(root, path), true)) === false) folders.push(path)
  }

  const agents = plan.agents.map((agent): AgentSettings => ({ ...agent, workspace: join(root, agent.slug) }))
  const { config, deferred, isUsable } = await orProblem(planConfig(target, agents, formerly), {
    config: null,
    deferred: [],
    isUsable: false
  })
  const entries = agents.map(({ slug, workspace }) => ({ slug, workspace }))
  const former = formerly.filter(({ slug }) => !slugs.has(slug))

  const finished: Record = {
    version: 1,
    files: Object.fromEntries([...after].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    // What could not be taken out of the configuration is still to be taken out.
    agents: isUsable ? entries : formerly
  }
  const begun: Record = {
    version: 1,
    files: Object.fromEntries(
      [...new Set([...known.keys(), ...after.keys()])]
        .toSorted()
        .map((name) => [name, [...new Set([...(known.get(name) ?? []), ...(after.get(name) ?? [])])]])
    ),
    agents: isUsable ? [...former, ...entries] : formerly
  }
  const hasWork = writes.length + removes.length > 0 || config !== null
  const finishedText = textOf(finished)
  const begunText = textOf(begun)
  return {
    folders,
    writes,
    removes,
    emptied: removes.length > 0 || finishedText !== recordText ? emptied : [],
    config,
    ahead: hasWork && begunText !== recordText ? begunText : null,
    after: finishedText === recordText ? null : finishedText,
    problems: [...new Set(problems)],
    deferred
  }
}

const readFolder = async (root: string, path: ReadonlyArray<string>): Promise<boolean> => {
  let folder = root
  if (!(await mustBeFolder(folder))) return false
  for (const segment of path) {
    folder = join(folder, segment)
    if (!(await mustBeFolder(folder))) return false
  }
  return true
}

const planConfig = async (
  { bindsLoopback, configPath, defersBootOnly }: SyncTarget,
  agents: ReadonlyArray<AgentSettings>,
  formerly: ReadonlyArray<{ readonly slug: string; readonly workspace: string }>
): Promise<{
  readonly config: string | null
  readonly deferred: ReadonlyArray<string>
  readonly isUsable: boolean
}> => {
  const text = await readPlain(configPath)
  const existing = parseConfig(configPath, text)
  try {
    const { deferred, settings } = mergeGatewaySettings(existing, { agents, formerly, bindsLoopback, defersBootOnly })
    const isSame = text !== null && JSON.stringify(settings) === JSON.stringify(existing)
    return { config: isSame ? null : `${JSON.stringify(settings, null, 2)}\n`, deferred, isUsable: true }
  } catch (error) {
    if (error instanceof SettingsUnusable) throw new Refused(`${configPath}: ${error.message}`)
    throw error
  }
}

/**
 * Carries the steps out and answers what could not be done; the rest is. The record goes ahead of everything that it
 * speaks of, so that a run which is killed leaves nothing behind that the next one would not know for ours.
 */
export const applySync = async (target: SyncTarget, steps: SyncSteps): Promise<ReadonlyArray<string>> => {
  const { configPath, workspaceRoot: root } = target
  const recordPath = join(root, RECORD)
  const problems: Array<string> = []
  /** What changed under us since the plan stops this step alone. */
  const attempt = async (path: string, step: () => Promise<void>): Promise<void> => {
    try {
      await step()
    } catch (error) {
      problems.push(error instanceof Refused ? error.message : `${path}: ${messageOf(error)}`)
    }
  }
  const inRoot = (path: ReadonlyArray<string>) => join(root, ...path)
  if (steps.ahead !== null) {
    // Without the record nothing is written: nobody would know it for ours.
    await makeFolders(root, [])
    await replaceFile(recordPath, steps.ahead)
  }
  for (const path of steps.folders) await attempt(inRoot(path), () => makeFolders(root, path))
  for (const { content, path } of steps.writes) {
    await attempt(inRoot(path), async () => {
      await makeFolders(root, path.slice(0, -1))
      await replaceFile(inRoot(path), content)
    })
  }
  const { config } = steps
  if (config !== null) {
    await attempt(configPath, async () => {
      await mkdir(dirname(configPath), { recursive: true, mode: 0o700 })
      await replaceFile(configPath, config)
    })
  }
  for (const path of steps.removes) {
    await attempt(inRoot(path), async () => {
      if ((await readOwn(root, path)) !== null) await removeFile(inRoot(path))
    })
  }
  for (const path of steps.emptied) {
    await attempt(inRoot(path), async () => {
      if (await readFolder(root, path)) await removeEmpty(inRoot(path))
    })
  }
  // After a failure the record stays with both, so that the next run knows what may be there.
  if (steps.after !== null && problems.length === 0) {
    await makeFolders(root, [])
    await replaceFile(recordPath, steps.after)
  }
  return [...new Set(problems)]
}

/** Whether the steps change anything. */
export const hasSteps = (steps: SyncSteps): boolean =>
  steps.config !== null ||
  steps.ahead !== null ||
  steps.after !== null ||
  steps.folders.length + steps.writes.length + steps.removes.length > 0

/** A run of profile sync ended early: the disk refused, or a path changed under it. */
export class SyncFailed extends Schema.TaggedError<SyncFailed>()("SyncFailed", { detail: Schema.String }) {}

/** Brings workspaces and configuration in line with the plan; answers what was done. */
export const syncProfiles = (target: SyncTarget, plan: ProfilePlan): Effect.Effect<SyncSteps, SyncFailed> =>
  Effect.tryPromise({
    try: async () => {
      const steps = await planSync(target, plan)
      const failures = await applySync(target, steps)
      return { ...steps, problems: [...steps.problems, ...failures] }
    },
    catch: (error) => new SyncFailed({ detail: messageOf(error) })
  }).pipe(Effect.uninterruptible, Effect.withSpan("Workspaces.syncProfiles"))
