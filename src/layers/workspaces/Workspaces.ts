/**
 * Writes the agents' workspaces and our settings in openclaw.json. Content that the runtime did not write stays, or is
 * copied before it is replaced.
 */
import { mkdir, rename } from "node:fs/promises"
import { dirname, join } from "node:path"
import { Effect, Schema } from "effect"
import type { AgentSettings } from "../../domain/gateway/GatewaySettings.ts"
import type { ProfilePlan } from "../../domain/gateway/ProfilePlan.ts"
import { planConfig } from "../gateway/GatewayConfigFile.ts"
import type { ConfigPlan, ConfigTarget } from "../gateway/GatewayConfigFile.ts"
import {
  digest,
  keepCopy,
  makeFolders,
  messageOf,
  mustBeFolder,
  readFolder,
  readOwn,
  Refused,
  removeEmpty,
  removeFile,
  replaceFile
} from "../host/OwnFiles.ts"
import { readRecord, recordPathOf, recordText } from "./SyncRecord.ts"
import type { SyncRecord } from "./SyncRecord.ts"

/** Paths of workspaces and configuration, and which settings may change now. */
export interface SyncTarget extends ConfigTarget {
  readonly workspaceRoot: string
}

type Path = ReadonlyArray<string>

/** The steps of a run, in this order; none if everything is as planned. */
export interface SyncSteps {
  /** Workspaces of removed agents, and the directories to which they are moved. */
  readonly moves: ReadonlyArray<{ readonly from: Path; readonly to: Path }>
  readonly folders: ReadonlyArray<Path>
  /** Files to write; `copy` is the path for a copy of a text that is not ours. */
  readonly writes: ReadonlyArray<{ readonly path: Path; readonly content: string; readonly copy: Path | null }>
  readonly removes: ReadonlyArray<Path>
  /** Directories to remove if they are empty. */
  readonly emptied: ReadonlyArray<Path>
  /** The whole new text of the gateway's configuration; null without a change. */
  readonly config: string | null
  /** Path for a copy of the configuration, and its replaced keys that are not ours. */
  readonly configCopy: string | null
  readonly replaced: ReadonlyArray<string>
  /** The record during the run, and after it; null without a change. */
  readonly ahead: string | null
  readonly after: string | null
  /** Files and keys that differ from the profile and stay, because the runtime did not write them. */
  readonly left: ReadonlyArray<string>
  /** Problems, each with its path and a fix. */
  readonly problems: ReadonlyArray<string>
  /** Keys of the configuration that wait until no turn runs. */
  readonly deferred: ReadonlyArray<string>
}

/** No agent's slug begins with a dot. */
const KEPT = ".kept"
const REMOVED = ".removed"

const nameOf = (path: Path): string => path.join("/")

/** The path for the workspace of a removed agent: the first free one. */
const placeFor = async (root: string, slug: string): Promise<Path> => {
  if (!(await readFolder(root, [REMOVED]))) return [REMOVED, `${slug}.1`]
  for (let number = 1; ; number += 1) {
    const path = [REMOVED, `${slug}.${number}`]
    if (!(await readFolder(root, path))) return path
  }
}

const copyOf = (path: Path, text: string): Path => [
  KEPT,
  ...path.slice(0, -1),
  `${path.at(-1)}.${digest(text).slice(0, 12)}`
]

/** Plans a run; only reads. A refusal becomes a problem, and the rest is planned nevertheless. */
export const planSync = async (target: SyncTarget, plan: ProfilePlan): Promise<SyncSteps> => {
  const { workspaceRoot: root } = target
  const problems: Array<string> = [...plan.problems]
  const left: Array<string> = []
  const orProblem = async <A, B>(work: Promise<A>, otherwise: B): Promise<A | B> => {
    try {
      return await work
    } catch (error) {
      problems.push(error instanceof Refused ? error.message : `${root}: ${messageOf(error)}`)
      return otherwise
    }
  }
  const record = await readRecord(root).catch((error: unknown) => messageOf(error))
  if (typeof record === "string") {
    const nothing = { moves: [], folders: [], writes: [], removes: [], emptied: [], config: null, configCopy: null }
    return { ...nothing, replaced: [], ahead: null, after: null, left, problems: [...problems, record], deferred: [] }
  }
  if (!record.isReadable) {
    problems.push(`${recordPathOf(root)} cannot be read as the record of profile sync: nothing is removed`)
  }

  const settings = plan.agents.map((agent): AgentSettings => ({ ...agent, workspace: join(root, agent.slug) }))
  const unplanned: ConfigPlan = {
    config: null,
    copy: null,
    deferred: [],
    replaced: [],
    kept: [],
    foreign: [],
    written: record.agents
  }
  const config = await orProblem(planConfig(target, settings, record.agents), unplanned)
  left.push(...config.kept.map((key) => `${key} of ${target.configPath}`))

  // A workspace belongs to one agent. A later agent with the same slug starts with an empty directory.
  const ids = new Map(plan.agents.map(({ id, slug }) => [slug, id]))
  const owners = new Map(record.workspaces)
  const moves: Array<SyncSteps["moves"][number]> = []
  /** Agents whose files are not changed. */
  const untouched = new Set(config.foreign.map(({ slug }) => slug))
  const slugOf = (name: string): string => name.split("/")[0] ?? ""
  for (const slug of new Set([...owners.keys(), ...[...record.files.keys()].map(slugOf)])) {
    const owner = owners.get(slug)
    if (ids.has(slug) && (owner === undefined || owner === ids.get(slug))) continue
    const isThere = await orProblem(readFolder(root, [slug]), null)
    const to = isThere === true ? await orProblem(placeFor(root, slug), null) : null
    if (isThere === null || (isThere && to === null)) untouched.add(slug)
    else owners.delete(slug)
    if (to !== null) moves.push({ from: [slug], to })
  }
  const moved = new Set(moves.map(({ from }) => nameOf(from)))
  const known = new Map([...record.files].filter(([name]) => !moved.has(slugOf(name))))
  for (const [slug, id] of ids) if (!untouched.has(slug)) owners.set(slug, id)

  const writes: Array<SyncSteps["writes"][number]> = []
  const after = new Map([...known].filter(([name]) => untouched.has(slugOf(name))))
  const files = plan.files.filter(({ path }) => !untouched.has(slugOf(nameOf(path))))
  for (const { content, kind, path } of files) {
    const name = nameOf(path)
    const digests = known.get(name)
    const keep = () => digests !== undefined && after.set(name, digests)
    const text =
      kind === "made" && digests !== undefined
        ? undefined
        : moved.has(slugOf(name))
          ? null
          : await orProblem(readOwn(root, path), undefined)
    const isOther = typeof text === "string" && text !== content && digests?.includes(digest(text)) !== true
    if (text === undefined || (isOther && kind !== "given")) {
      keep()
      if (isOther && kind === "default") left.push(join(root, ...path))
      continue
    }
    if (text !== content) writes.push({ path, content, copy: isOther ? copyOf(path, text) : null })
    after.set(name, [digest(content)])
  }

  const planned = new Set(files.map(({ path }) => nameOf(path)))
  const removes: Array<Path> = []
  const emptied: Array<Path> = []
  for (const [name, digests] of known) {
    if (planned.has(name) || untouched.has(slugOf(name))) continue
    const path = name.split("/")
    const text = await orProblem(readOwn(root, path), undefined)
    if (text === undefined) after.set(name, digests)
    // A file that was changed since we wrote it stays.
    else if (text !== null && digests.includes(digest(text))) removes.push(path)
    if (path.length === 4) emptied.push(path.slice(0, 3), path.slice(0, 2))
  }

  const folders: Array<Path> = []
  for (const path of plan.folders) {
    if (untouched.has(slugOf(nameOf(path)))) continue
    const isThere = moved.has(slugOf(nameOf(path))) ? false : await orProblem(readFolder(root, path), true)
    if (!isThere) folders.push(path)
  }

  const recordOf = (files: ReadonlyMap<string, ReadonlyArray<string>>, agents: SyncRecord["agents"]): string =>
    recordText({
      version: 1,
      files: Object.fromEntries([...files].toSorted(([a], [b]) => (a < b ? -1 : 1))),
      workspaces: Object.fromEntries(owners),
      agents
    })
  const finished = recordOf(after, config.written)
  const begun = recordOf(
    new Map(
      [...known.keys(), ...after.keys()].map((name) => [
        name,
        [...new Set([...(known.get(name) ?? []), ...(after.get(name) ?? [])])]
      ])
    ),
    [...new Map([...record.agents, ...config.written].map((agent) => [JSON.stringify(agent), agent])).values()]
  )
  const hasWork = moves.length + writes.length + removes.length > 0 || config.config !== null
  return {
    moves,
    folders,
    writes,
    removes,
    emptied,
    config: config.config,
    configCopy: config.copy,
    replaced: config.replaced,
    ahead: hasWork && begun !== record.text ? begun : null,
    after: finished === record.text ? null : finished,
    left,
    problems: [...new Set(problems)],
    deferred: config.deferred
  }
}

/**
 * Applies the steps and returns the problems of those that failed. The record is written before the files that it lists,
 * so that after a killed run the next one recognizes all files as ours.
 */
export const applySync = async (target: SyncTarget, steps: SyncSteps): Promise<ReadonlyArray<string>> => {
  const { configPath, workspaceRoot: root } = target
  const problems: Array<string> = []
  /** A path that changed since the plan fails only its own step. */
  const attempt = async (path: string, step: () => Promise<void>): Promise<void> => {
    try {
      await step()
    } catch (error) {
      problems.push(error instanceof Refused ? error.message : `${path}: ${messageOf(error)}`)
    }
  }
  const inRoot = (path: Path) => join(root, ...path)
  // Before the record, which would assign the old directory to the new agent. A failure ends the run.
  for (const { from, to } of steps.moves) {
    await makeFolders(root, to.slice(0, -1))
    if (await mustBeFolder(inRoot(from))) await rename(inRoot(from), inRoot(to))
  }
  if (steps.ahead !== null) {
    // Without the record nothing is written, because no later run would recognize it as ours.
    await makeFolders(root, [])
    await replaceFile(recordPathOf(root), steps.ahead)
  }
  for (const path of steps.folders) await attempt(inRoot(path), () => makeFolders(root, path))
  for (const { content, copy, path } of steps.writes) {
    await attempt(inRoot(path), async () => {
      await makeFolders(root, path.slice(0, -1))
      if (copy !== null) {
        await makeFolders(root, copy.slice(0, -1))
        await keepCopy(inRoot(path), inRoot(copy))
      }
      await replaceFile(inRoot(path), content)
    })
  }
  const { config, configCopy } = steps
  if (config !== null) {
    await attempt(configPath, async () => {
      await mkdir(dirname(configPath), { recursive: true, mode: 0o700 })
      if (configCopy !== null) await keepCopy(configPath, configCopy)
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
  // After a failure the record keeps old and new entries, so that the next run knows what may exist.
  if (steps.after !== null && problems.length === 0) {
    await makeFolders(root, [])
    await replaceFile(recordPathOf(root), steps.after)
  }
  return [...new Set(problems)]
}

/** Whether the steps change anything. */
export const hasSteps = (steps: SyncSteps): boolean =>
  steps.config !== null ||
  steps.ahead !== null ||
  steps.after !== null ||
  steps.moves.length + steps.folders.length + steps.writes.length + steps.removes.length > 0

/** A run of profile sync ended early: a write failed, or a path changed during the run. */
export class SyncFailed extends Schema.TaggedError<SyncFailed>()("SyncFailed", { detail: Schema.String }) {}

/** Changes workspaces and configuration to match the plan; returns what was done. */
export const syncProfiles = (target: SyncTarget, plan: ProfilePlan): Effect.Effect<SyncSteps, SyncFailed> =>
  Effect.tryPromise({
    try: async () => {
      const steps = await planSync(target, plan)
      const failures = await applySync(target, steps)
      return { ...steps, problems: [...steps.problems, ...failures] }
    },
    catch: (error) => new SyncFailed({ detail: messageOf(error) })
  }).pipe(Effect.uninterruptible, Effect.withSpan("Workspaces.syncProfiles"))
