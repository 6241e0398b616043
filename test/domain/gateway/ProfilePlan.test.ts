import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { isWorkspacePath, planProfiles } from "../../../src/domain/gateway/ProfilePlan.ts"
import type { Profile, Profiles } from "../../../src/domain/gateway/ProfilePlan.ts"
import { attacks } from "./slugAttacks.ts"

const texts = {
  agentsMd: "# How\n",
  heartbeatMd: "# Beat\n",
  worktreeScript: "#!/bin/sh",
  tools: "- `task_load`: reads a task"
}
const profile = (slug: string, more: Partial<Profile> = {}): Profile => ({
  id: `id-${slug}`,
  slug,
  name: "Alpha",
  role: "builds",
  model: null,
  soul: "",
  identity: "",
  userText: "",
  skillSlugs: [],
  ...more
})
const skill = (slug: string) => ({ slug, name: slug, description: "does it", content: "Do it." })
const plan = (agents: ReadonlyArray<Profile>, skills: Profiles["skills"] = []) =>
  planProfiles({ revision: 1, agents, skills }, texts)

describe("the plan of the workspaces", () => {
  it("has every file of an agent, its skills, and the agent's own folders", () => {
    const { agents, files, folders } = plan([profile("alpha", { skillSlugs: ["triage"] })], [skill("triage")])
    assert.deepStrictEqual(
      files.map(({ path }) => path.join("/")),
      [
        "alpha/SOUL.md",
        "alpha/USER.md",
        "alpha/IDENTITY.md",
        "alpha/AGENTS.md",
        "alpha/TOOLS.md",
        "alpha/HEARTBEAT.md",
        "alpha/worktree.sh",
        "alpha/MEMORY.md",
        "alpha/skills/triage/SKILL.md"
      ]
    )
    assert.deepStrictEqual(folders, [
      ["alpha", "memory"],
      ["alpha", "deliverables"]
    ])
    assert.deepStrictEqual(agents, [{ id: "id-alpha", slug: "alpha", skills: ["triage"], model: null }])
    assert.deepStrictEqual(
      files.filter(({ kind }) => kind !== "given").map(({ kind, path }) => [kind, path[1]]),
      [
        ["default", "SOUL.md"],
        ["default", "USER.md"],
        ["default", "IDENTITY.md"],
        ["made", "MEMORY.md"]
      ]
    )
  })

  it("lists the tools in TOOLS.md only: each request describes them, and AGENTS.md is part of its prompt", () => {
    const content = (file: string) => plan([profile("alpha")]).files.find(({ path }) => path[1] === file)?.content
    assert.strictEqual(content("AGENTS.md"), "# How\n")
    assert.strictEqual(content("TOOLS.md"), "# Tools\n\n- `task_load`: reads a task\n")
  })

  it("describes commands in AGENTS.md only for agents whose gateway may let them run some", () => {
    const agentsMd = "# How\n\n<!-- with commands -->\n\n## Code\n\nUse the script.\n\n<!-- end -->\n\n## End\n"
    const gateway = { agents: { entries: { beta: { tools: { deny: ["exec"] } } } } }
    const { files } = planProfiles(
      { revision: 1, agents: [profile("alpha"), profile("beta")], skills: [] },
      { ...texts, agentsMd },
      gateway
    )
    const read = (slug: string) => files.find(({ path }) => path.join("/") === `${slug}/AGENTS.md`)?.content
    assert.strictEqual(read("alpha"), "# How\n\n## Code\n\nUse the script.\n\n## End\n")
    assert.strictEqual(read("beta"), "# How\n\n## End\n")
  })

  it("writes default texts if the control plane has none", () => {
    const soul = plan([profile("alpha", { name: "Al\npha" })]).files.find(({ path }) => path[1] === "SOUL.md")
    assert.strictEqual(soul?.content, "# Al pha\n\nYou are Al pha. Your role: builds.\n")
  })

  it("leaves out a slug that could leave its folder, with a problem, and plans the others", () => {
    for (const attack of attacks) {
      const bad = plan([profile(attack), profile("beta")])
      assert.deepStrictEqual(
        bad.agents.map(({ slug }) => slug),
        ["beta"],
        JSON.stringify(attack)
      )
      assert.lengthOf(bad.problems, 1)
      const badSkill = plan([profile("beta", { skillSlugs: [attack, "fine"] })], [skill(attack), skill("fine")])
      assert.deepStrictEqual(badSkill.agents[0]?.skills, ["fine"], JSON.stringify(attack))
      assert.lengthOf(badSkill.problems, 1)
    }
  })

  it("plans the first of two agents with one slug", () => {
    const { agents, problems } = plan([profile("alpha"), profile("alpha")])
    assert.lengthOf(agents, 1)
    assert.lengthOf(problems, 1)
  })

  it.effect.prop(
    "names only paths of workspaces, whatever the slugs are",
    [Schema.Array(Schema.String), Schema.Array(Schema.String)],
    ([slugs, skillSlugs]) =>
      Effect.sync(() => {
        const { files } = plan(
          slugs.map((slug) => profile(slug, { skillSlugs })),
          skillSlugs.map(skill)
        )
        for (const { path } of files) assert.isTrue(isWorkspacePath(path), path.join("/"))
      })
  )
})
