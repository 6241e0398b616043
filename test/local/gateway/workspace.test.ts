import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { configIssues, readConfig } from "../../../local/gateway/config.ts"
import { workspacePrompt } from "../../../local/gateway/workspace.ts"

const folder = mkdtempSync(join(tmpdir(), "gateway-workspace-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const skill = (name: string, frontmatter: string) => {
  mkdirSync(join(folder, "skills", name), { recursive: true })
  writeFileSync(join(folder, "skills", name, "SKILL.md"), `---\n${frontmatter}\n---\nthe body of ${name}\n`)
}
const config = (more: object): string => {
  const path = join(folder, "openclaw.json")
  const base = {
    gateway: { mode: "local", auth: { mode: "token", token: "t" } },
    agents: { entries: { alpha: { workspace: folder, skills: ["write"] } } }
  }
  writeFileSync(path, JSON.stringify({ ...base, ...more }))
  return path
}

describe("a workspace", () => {
  it("adds its files in the gateway's order, and name and description of its allowed skills", () => {
    writeFileSync(join(folder, "SOUL.md"), "a calm soul\n")
    writeFileSync(join(folder, "AGENTS.md"), "the rules\n")
    writeFileSync(join(folder, "TOOLS.md"), "unseen\n")
    skill("write", 'name: write\ndescription: "Writes: well"')
    skill("read", "name: read\ndescription: Reads")
    skill("broken", "name: broken")
    const prompt = workspacePrompt(folder, ["write", "broken"])
    expect(prompt).toBe("## AGENTS.md\nthe rules\n## SOUL.md\na calm soul\n## Skills\n- write: Writes: well")
    expect(workspacePrompt(folder, undefined)).toContain("- read: Reads\n- write: ")
  })

  it("adds nothing if it does not exist", () => {
    expect(workspacePrompt(join(folder, "absent"), undefined)).toBe("")
  })

  it("names no skills if every tool is denied", () => {
    expect(readConfig(config({})).workspaces["alpha"]?.skills).toEqual(["write"])
    expect(readConfig(config({ tools: { deny: ["*"] } })).workspaces["alpha"]?.skills).toEqual([])
  })
})

describe("the configuration", () => {
  it("is valid as the runtime writes it", () => {
    const path = config({
      agents: {
        ownership: "explicit",
        defaults: { heartbeat: { every: "0m" }, maxConcurrent: 4, skills: [] },
        entries: { alpha: { workspace: folder }, beta: { name: "Beta", skills: ["write"] } }
      },
      tools: { toolSearch: false, sessions: { visibility: "self" } }
    })
    expect(configIssues(path)).toEqual([])
    expect(readConfig(path)).toMatchObject({ agents: ["alpha", "beta"], maxConcurrent: 4, toolSearch: false })
  })

  const wrong: ReadonlyArray<[string, object, string]> = [
    ["several agents without ownership", { agents: { entries: { a: {}, b: {} } } }, "agents.ownership"],
    ["an unknown key of an agent", { agents: { entries: { a: { bogus: 1 } } } }, "agents.entries.a"],
    ["an upper-case agent id", { agents: { entries: { Alpha: {} } } }, "agents.entries.Alpha"],
    [
      "the retired ackMaxChars",
      { agents: { defaults: { heartbeat: { ackMaxChars: 5 } } } },
      "agents.defaults.heartbeat"
    ],
    [
      "a reachable gateway without auth",
      { gateway: { mode: "local", bind: "lan", auth: { mode: "none" } } },
      "gateway.bind"
    ]
  ]
  for (const [name, more, path] of wrong) {
    it(`is refused with ${name}`, () => {
      expect(configIssues(config(more)).map((issue) => issue.path)).toEqual([path])
    })
  }
})
