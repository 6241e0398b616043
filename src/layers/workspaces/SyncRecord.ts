/** The record of what profile sync wrote, kept in the workspace root, so that it knows its own from what is not. */
import { join } from "node:path"
import { Schema } from "effect"
import { isWorkspacePath } from "../../domain/gateway/ProfilePlan.ts"
import { isWorkspaceSlug } from "../../domain/gateway/WorkspaceSlug.ts"
import { readOwn } from "../host/OwnFiles.ts"

/** What a root's record says. */
export const SyncRecord = Schema.Struct({
  version: Schema.Literal(1),
  /** The digests that a file of ours may have, by its path. */
  files: Schema.Record(Schema.String, Schema.Array(Schema.String)),
  /** The id of the agent whose workspace a folder is, by slug. */
  workspaces: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
  /** What is ours in the gateway's configuration; of an agent several times while a run is under way. */
  agents: Schema.Array(
    Schema.Struct({
      slug: Schema.String,
      workspace: Schema.String,
      skills: Schema.optionalKey(Schema.Array(Schema.String)),
      model: Schema.optionalKey(Schema.String)
    })
  )
})
export type SyncRecord = typeof SyncRecord.Type
const decode = Schema.decodeUnknownOption(Schema.fromJsonString(SyncRecord))

const NAME = ".mission-control.json"

export const recordPathOf = (root: string): string => join(root, NAME)

export const recordText = (record: SyncRecord): string => `${JSON.stringify(record, null, 2)}\n`

/** The root's record, and its text; agents can write it too, so only what may be ours is believed. */
export const readRecord = async (
  root: string
): Promise<{
  readonly text: string | null
  readonly isReadable: boolean
  readonly files: ReadonlyMap<string, ReadonlyArray<string>>
  readonly workspaces: ReadonlyMap<string, string>
  readonly agents: SyncRecord["agents"]
}> => {
  const text = await readOwn(root, [NAME])
  const decoded = text === null ? null : decode(text)
  const record = decoded?._tag === "Some" ? decoded.value : null
  return {
    text,
    isReadable: decoded?._tag !== "None",
    files: new Map(Object.entries(record?.files ?? {}).filter(([path]) => isWorkspacePath(path.split("/")))),
    workspaces: new Map(Object.entries(record?.workspaces ?? {}).filter(([slug]) => isWorkspaceSlug(slug))),
    agents: (record?.agents ?? []).filter(({ slug }) => isWorkspaceSlug(slug))
  }
}
