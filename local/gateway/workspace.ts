import { readFileSync, readdirSync } from "node:fs"
import { join } from "node:path"

/**
 * Files of a workspace that the gateway adds to the system prompt, in this order. TOOLS.md and HEARTBEAT.md are not
 * among them.
 */
const injected = ["AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "BOOTSTRAP.md", "MEMORY.md"]
const maxCharacters = 20_000

/**
 * The additions of a workspace to its agent's system prompt: its injected files, and name and description of the
 * allowed skills.
 */
export const workspacePrompt = (folder: string, skills: ReadonlyArray<string> | undefined): string => {
  const parts: Array<string> = []
  for (const file of injected) {
    const text = read(join(folder, file))?.trim()
    if (text) parts.push(`## ${file}\n${text.slice(0, maxCharacters)}`)
  }
  const lines = skillsOf(folder)
    .filter((skill) => skills === undefined || skills.includes(skill.name))
    .map((skill) => `- ${skill.name}: ${skill.description}`)
  if (lines.length > 0) parts.push(`## Skills\n${lines.join("\n")}`)
  return parts.join("\n")
}

const skillsOf = (folder: string): ReadonlyArray<{ readonly name: string; readonly description: string }> => {
  const skills: Array<{ readonly name: string; readonly description: string }> = []
  for (const directory of list(join(folder, "skills"))) {
    const text = read(join(folder, "skills", directory, "SKILL.md"))
    const frontmatter = text === undefined ? undefined : /^---\n([\s\S]*?)\n---/.exec(text)?.[1]
    if (frontmatter === undefined) continue
    const name = fieldOf(frontmatter, "name")
    const description = fieldOf(frontmatter, "description")
    if (name !== undefined && description !== undefined) skills.push({ name, description })
  }
  return skills
}

/** One `key: value` line, without JSON quotes around the value. */
const fieldOf = (frontmatter: string, key: string): string | undefined => {
  const value = new RegExp(`^${key}:\\s*(.+?)\\s*$`, "m").exec(frontmatter)?.[1]
  if (value === undefined || !value.startsWith('"')) return value
  try {
    return String(JSON.parse(value))
  } catch {
    return value
  }
}

const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return undefined
  }
}

const list = (path: string): ReadonlyArray<string> => {
  try {
    return readdirSync(path).toSorted()
  } catch {
    return []
  }
}
