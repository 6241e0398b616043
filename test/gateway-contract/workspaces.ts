import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "vitest"
import { type Contract, systemOf, until } from "./target.ts"

/** What an agent's workspace adds to its prompt. */
export const workspaceCases = (contract: () => Contract): void => {
  const workspaceOf = (agent: string): string => {
    const config = JSON.parse(readFileSync(contract().target.configPath, "utf8"))
    return config.agents.entries[agent].workspace
  }

  it("puts AGENTS, SOUL, IDENTITY, USER and MEMORY into the system prompt, but neither TOOLS nor HEARTBEAT", async () => {
    const folder = workspaceOf("beta")
    const marker = contract().newMarker()
    const files = ["AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "MEMORY.md", "TOOLS.md", "HEARTBEAT.md"]
    mkdirSync(folder, { recursive: true })
    try {
      for (const file of files) writeFileSync(join(folder, file), `# ${file}\nthis is ${file} ${marker}\n`)
      await contract().turn({ input: marker }, { key: contract().newKey("beta"), agent: "beta" })
      const [prompt] = await contract().prompts(marker)
      const system = systemOf(prompt!)
      const present = files.filter((file) => system.includes(`this is ${file} ${marker}`))
      expect(present).toEqual(["AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "MEMORY.md"])
    } finally {
      for (const file of files) rmSync(join(folder, file), { force: true })
    }
  })

  it("names an allowed skill of the workspace, with its description and without its text", async () => {
    const { configPath } = contract().target
    const before = readFileSync(configPath, "utf8")
    const folder = workspaceOf("beta")
    const marker = contract().newMarker()
    for (const name of ["wanted-skill", "unwanted-skill"]) {
      mkdirSync(join(folder, "skills", name), { recursive: true })
      const text = `---\nname: ${name}\ndescription: does ${name} ${marker}\n---\nbody of ${name} ${marker}\n`
      writeFileSync(join(folder, "skills", name, "SKILL.md"), text)
    }
    const config = JSON.parse(before)
    config.agents.entries.beta.skills = ["wanted-skill"]
    try {
      writeFileSync(configPath, JSON.stringify(config))
      const system = await until("the skill in the prompt", async () => {
        await contract().reset()
        await contract().turn({ input: marker }, { key: contract().newKey("beta"), agent: "beta" })
        const [prompt] = await contract().prompts(marker)
        return systemOf(prompt!).includes("wanted-skill") ? systemOf(prompt!) : undefined
      })
      expect(system).toContain(`does wanted-skill ${marker}`)
      expect(system).not.toContain(`body of wanted-skill ${marker}`)
      expect(system).not.toContain("unwanted-skill")
    } finally {
      writeFileSync(configPath, before)
      rmSync(join(folder, "skills"), { recursive: true, force: true })
    }
  })
}
