/** The record of what profile sync wrote, in the workspace root. It distinguishes our files from other files. */
import { join } from "node:path"
import { Schema } from "effect"
import { isWorkspacePath } from "../../domain/gateway/ProfilePlan.ts"
import { isWorkspaceSlug } from "../../domain/gateway/WorkspaceSlug.ts"
import { readOwn } from "../host/OwnFiles.ts"

/** The content of a root's record. */
export const SyncRecord = Schema.Struct({
  version: Schema.Literal(1),
  /** By path, the digests that a file of ours may have. */
  files: Schema.Record(Schema.String, Schema.Array(Schema.String)),
  /** By slug, the id of the agent that owns the workspace. */
  workspaces: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
  /** Our settings in the gateway's configuration; during a run an agent may occur several times. */
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

/** The root's record and its text. Agents can write it too, so only plausible entries are used. */
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
