import { Schema } from "effect"
import { mayRunCommands } from "./CommandPolicy.ts"
import type { AgentSettings, JsonObject } from "./GatewaySettings.ts"
import { skillText } from "./SkillText.ts"
import { isWorkspaceSlug } from "./WorkspaceSlug.ts"

/** An agent's texts, model and enabled skills, as service/agents:profiles answers them. */
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

/** What all workspaces are made of: each agent's profile, each skill once. */
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
  /** The program by which agents make their worktrees. */
  readonly worktreeScript: string
  /** The tools that agents may be offered, as a list. */
  readonly tools: string
}

/** A file to stand in a workspace; the path's segments begin with the agent's slug. */
export interface PlannedFile {
  readonly path: ReadonlyArray<string>
  readonly content: string
  /**
   * What it may replace: `made` is written if it is missing and never touched again, because it is the agent's; `default`
   * replaces what the runtime wrote, because the control plane has no text for it; `given` replaces everything.
   */
  readonly kind: "made" | "default" | "given"
}

/** An agent as the gateway shall know it, but for its workspace. */
export interface PlannedAgent extends Omit<AgentSettings, "workspace"> {
  /** Of two agents with one slug, one after the other, each has its own. */
  readonly id: string
}

/** What the workspaces and the gateway's agents shall be; `problems` say what was left out and why. */
export interface ProfilePlan {
  readonly files: ReadonlyArray<PlannedFile>
  readonly folders: ReadonlyArray<ReadonlyArray<string>>
  readonly agents: ReadonlyArray<PlannedAgent>
  readonly problems: ReadonlyArray<string>
}

/** Files of ours directly in a workspace; no other name there is ever written or removed. */
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

/** Folders of a workspace that are the agent's own. */
export const agentFolders: ReadonlyArray<string> = ["memory", "deliverables"]

/** Whether a path may be one of ours: a file of a workspace, or a skill's text in it. */
export const isWorkspacePath = (path: ReadonlyArray<string>): boolean => {
  const [slug = "", first = "", skill = "", file] = path
  if (!isWorkspaceSlug(slug)) return false
  if (path.length === 2) return workspaceFiles.includes(first)
  return path.length === 4 && first === "skills" && isWorkspaceSlug(skill) && file === "SKILL.md"
}

const ended = (text: string): string => `${text.trim()}\n`
const oneLine = (text: string): string => text.replace(/[\s\p{Cc}]+/gu, " ").trim()
const shown = (slug: string): string => JSON.stringify(slug.length > 40 ? `${slug.slice(0, 40)}...` : slug)

/** Parts of AGENTS.md between these lines concern agents that can run commands. */
const commandPart = /^<!-- with commands -->\n+([\s\S]*?)^<!-- end -->\n*/gm

/** AGENTS.md for an agent: it is a part of each of its requests, so what the agent cannot do is left out. */
export const agentsMdFor = (text: string, canRunCommands: boolean): string =>
  text.replace(commandPart, (_, part: string) => (canRunCommands ? part : ""))

/**
 * Plans every workspace; a slug that could not safely name a folder is left out with a problem, the others are planned.
 * The gateway's configuration says which agents can run commands.
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
    const name = oneLine(agent.name)
    const role = oneLine(agent.role)
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
