import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "vitest"
import { type Contract, systemOf } from "./target.ts"

/** The additions of an agent's workspace to its prompt. */
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
    // They are kept: 2026.8.2 refuses further turns of an agent whose workspace lost a file that was once there.
    for (const file of files) writeFileSync(join(folder, file), `# ${file}\nthis is ${file} ${marker}\n`)
    await contract().turn({ input: marker }, { key: contract().newKey("beta"), agent: "beta" })
    const [prompt] = await contract().prompts(marker)
    const system = systemOf(prompt!)
    const present = files.filter((file) => system.includes(`this is ${file} ${marker}`))
    expect(present).toEqual(["AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "MEMORY.md"])
  })
}
