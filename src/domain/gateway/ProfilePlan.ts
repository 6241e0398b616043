import { Schema } from "effect"
import { singleLine, truncate } from "../text/Text.ts"
import { mayRunCommands } from "./CommandPolicy.ts"
import type { AgentSettings, JsonObject } from "./GatewaySettings.ts"
import { skillText } from "./SkillText.ts"
import { isWorkspaceSlug } from "./WorkspaceSlug.ts"

/** An agent's texts, model and enabled skills, in the answer of service/agents:profiles. */
export const Profile = Schema.Struct({
  id: Schema.String,
  slug: Schema.String,
  name: Schema.String,
  role: Schema.String,
  model: Schema.NullOr(Schema.String),
  soul: Schema.String,
  identity: Schema.String,
  userText: Schema.String,
  skillSlugs: Schema.Array(Schema.String)
})
export type Profile = typeof Profile.Type

/** The contents of all workspaces: each agent's profile, and each skill once. */
export const Profiles = Schema.Struct({
  revision: Schema.Finite,
  agents: Schema.Array(Profile),
  skills: Schema.Array(
    Schema.Struct({
      slug: Schema.String,
      name: Schema.String,
      description: Schema.String,
      content: Schema.String
    })
  )
})
export type Profiles = typeof Profiles.Type

/** The texts that are the same in every workspace. */
export interface SharedTexts {
  readonly agentsMd: string
  readonly heartbeatMd: string
  /** The script with which agents create worktrees. */
  readonly worktreeScript: string
  /** The list of tools that agents may have. */
  readonly tools: string
}

/** A file of a workspace. The first segment of the path is the agent's slug. */
export interface PlannedFile {
  readonly path: ReadonlyArray<string>
  readonly content: string
  /**
   * What it may replace. `made` is written only if it is missing, because it belongs to the agent. `default`, for which
   * the control plane has no text, replaces only files that the runtime wrote. `given` replaces everything.
   */
  readonly kind: "made" | "default" | "given"
}

/** The settings of an agent for the gateway, without its workspace. */
export interface PlannedAgent extends Omit<AgentSettings, "workspace"> {
  /** The agent's id. A later agent with the same slug has another one. */
  readonly id: string
}

/** The planned workspaces and the gateway's agents; `problems` name omitted agents and skills with the reason. */
export interface ProfilePlan {
  readonly files: ReadonlyArray<PlannedFile>
  readonly folders: ReadonlyArray<ReadonlyArray<string>>
  readonly agents: ReadonlyArray<PlannedAgent>
  readonly problems: ReadonlyArray<string>
}

/** The files that the runtime writes directly in a workspace. It never writes or removes another one there. */
export const workspaceFiles: ReadonlyArray<string> = [
  "SOUL.md",
  "USER.md",
  "IDENTITY.md",
  "AGENTS.md",
  "TOOLS.md",
  "HEARTBEAT.md",
  "worktree.sh",
  "MEMORY.md"
]

/** Folders of a workspace that belong to the agent. */
export const agentFolders: ReadonlyArray<string> = ["memory", "deliverables"]

/** Whether the runtime may write the path: a file of a workspace, or a skill's text in it. */
export const isWorkspacePath = (path: ReadonlyArray<string>): boolean => {
  const [slug = "", first = "", skill = "", file] = path
  if (!isWorkspaceSlug(slug)) return false
  if (path.length === 2) return workspaceFiles.includes(first)
  return path.length === 4 && first === "skills" && isWorkspaceSlug(skill) && file === "SKILL.md"
}

const ended = (text: string): string => `${text.trim()}\n`
const shown = (slug: string): string => JSON.stringify(truncate(slug, 40))

/** The part of AGENTS.md for agents that can run commands. */
const commandPart = /^<!-- with commands -->\n+([\s\S]*?)^<!-- end -->\n*/gm

/**
 * AGENTS.md for an agent. It is a part of each request, so the part about commands is left out for agents that cannot
 * run any.
 */
export const agentsMdFor = (text: string, canRunCommands: boolean): string =>
  text.replace(commandPart, (_, part: string) => (canRunCommands ? part : ""))

/**
 * Plans every workspace. An agent or skill whose slug cannot safely name a folder is left out, with a problem. The
 * gateway's configuration determines which agents can run commands.
 */
export const planProfiles = (profiles: Profiles, texts: SharedTexts, gateway: JsonObject = {}): ProfilePlan => {
  const problems: Array<string> = []
  const skills = new Map<string, string>()
  for (const skill of profiles.skills) {
    if (isWorkspaceSlug(skill.slug)) skills.set(skill.slug, skillText(skill))
    else problems.push(`the skill ${shown(skill.slug)} is left out: its slug cannot name a folder`)
  }
  const files: Array<PlannedFile> = []
  const folders: Array<ReadonlyArray<string>> = []
  const agents: Array<PlannedAgent> = []
  for (const agent of profiles.agents) {
    const { slug } = agent
    if (!isWorkspaceSlug(slug)) {
      problems.push(`the agent ${shown(slug)} is left out: its slug cannot name a folder`)
      continue
    }
    if (agents.some((other) => other.slug === slug)) {
      problems.push(`the agent ${shown(slug)} is on the roster twice: only the first is used`)
      continue
    }
    const name = singleLine(agent.name)
    const role = singleLine(agent.role)
    const own = [...new Set(agent.skillSlugs)].filter((skill) => skills.has(skill)).toSorted()
    const write = (file: string, text: string, kind: PlannedFile["kind"] = "given") =>
      files.push({ path: [slug, file], content: ended(text), kind })
    const writeText = (file: string, text: string, otherwise: string) =>
      text.trim() === "" ? write(file, otherwise, "default") : write(file, text)
    writeText("SOUL.md", agent.soul, `# ${name}\n\nYou are ${name}. Your role: ${role}.`)
    writeText("USER.md", agent.userText, "# User\n\nNothing is known yet.")
    writeText("IDENTITY.md", agent.identity, `# Identity\n\n- Name: ${name}\n- Role: ${role}\n- Mention: @${slug}`)
    write("AGENTS.md", agentsMdFor(texts.agentsMd, mayRunCommands(gateway, slug)))
    write("TOOLS.md", `# Tools\n\n${texts.tools.trim()}`)
    write("HEARTBEAT.md", texts.heartbeatMd)
    write("worktree.sh", texts.worktreeScript)
    write("MEMORY.md", "# Memory", "made")
    for (const skill of own) {
      files.push({ path: [slug, "skills", skill, "SKILL.md"], content: skills.get(skill) ?? "", kind: "given" })
    }
    for (const folder of agentFolders) folders.push([slug, folder])
    const model = agent.model === null || agent.model.trim() === "" ? null : agent.model
    agents.push({ id: agent.id, slug, skills: own, model })
  }
  return { files, folders, agents, problems }
}
