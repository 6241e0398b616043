import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Script } from "../../local/model/script.ts"
import { eventually, makeHouse } from "./house.ts"
import type { House } from "./house.ts"
import { makeGatewayHome } from "./supervisedGateway.ts"
import type { GatewayHome } from "./supervisedGateway.ts"

/** Answers only when the agent's own texts have reached the model. */
const script: Script = {
  rules: [
    { match: "mentioned you", matchSystem: "I love tidy code", repeat: true, actions: [{ text: "Tidy." }] },
    { match: "mentioned you", matchSystem: "You are Newcomer", repeat: true, actions: [{ text: "I am new." }] },
    { match: "mentioned you", repeat: true, actions: [{ text: "Nobody told me who I am." }] }
  ]
}

const envOf = (home: GatewayHome): Record<string, string> => {
  const file = join(home.folder, "script.json")
  writeFileSync(file, JSON.stringify(script))
  return { ...home.env, OPENCLAW_PROFILE_SYNC: "true", OPENCLAW_GATEWAY_ARGS: `gateway run --script ${file}` }
}

const change = (house: House, name: string, args: Record<string, unknown>): Effect.Effect<any> =>
  Effect.promise(() => house.person.mutation(name, { accountId: house.account.accountId, ...args }))

const answer = (house: House, taskId: string, agent: string): Effect.Effect<string> =>
  Effect.map(
    eventually(house.messages(taskId), (messages) => messages.some(({ author }) => author.name === agent)),
    (messages) => messages.find(({ author }) => author.name === agent)?.content ?? ""
  )

describe("profile sync before a supervised gateway", () => {
  it.live("makes a gateway out of an empty folder whose agents know who they are", () =>
    Effect.gen(function* () {
      const house = yield* makeHouse()
      const home = yield* makeGatewayHome({})
      rmSync(home.configPath)
      yield* change(house, "app/agents:update", {
        agentId: house.account.agents["engineer"],
        soul: "I love tidy code."
      })
      yield* house.startRuntime(envOf(home))
      const taskId = yield* house.newTask()
      yield* house.post(taskId, "@engineer are you there?")
      assert.strictEqual(yield* answer(house, taskId, "Engineer"), "Tidy.")
      const agentsMd = readFileSync(join(home.stateDir, "workspaces", "engineer", "AGENTS.md"), "utf8")
      assert.include(agentsMd, "# How you work here")
      assert.notInclude(agentsMd, "- `task_status`: ")
      // The program for worktrees is in the agent's reach, as the package has it.
      assert.strictEqual(
        readFileSync(join(home.stateDir, "workspaces", "engineer", "worktree.sh"), "utf8"),
        readFileSync(resolve(import.meta.dirname, "../../docs/runtime/worktree.sh"), "utf8")
      )
    }).pipe(Effect.scoped)
  )

  it.live("an agent that is added, and asked at once, answers; one that is removed leaves its workspace aside", () =>
    Effect.gen(function* () {
      const house = yield* makeHouse()
      const home = yield* makeGatewayHome({})
      yield* house.startRuntime(envOf(home))
      const taskId = yield* house.newTask()
      const { agentId } = yield* change(house, "app/agents:create", {
        slug: "newcomer",
        name: "Newcomer",
        role: "learns"
      })
      yield* house.post(taskId, "@newcomer hello")
      assert.strictEqual(yield* answer(house, taskId, "Newcomer"), "I am new.")
      yield* change(house, "app/agents:remove", { agentId })
      yield* eventually(
        Effect.sync(() => existsSync(join(home.stateDir, "workspaces", "newcomer"))),
        (isThere) => !isThere
      )
      assert.isTrue(existsSync(join(home.stateDir, "workspaces", ".removed", "newcomer.1", "SOUL.md")))
      const entries = yield* eventually(
        Effect.sync(() => Object.keys(JSON.parse(readFileSync(home.configPath, "utf8")).agents.entries)),
        (slugs) => !slugs.includes("newcomer")
      )
      assert.sameMembers(entries, ["squad-lead", "engineer", "qa"])
    }).pipe(Effect.scoped)
  )

  it.live("a skill comes and goes with its agent's list, without a restart", () =>
    Effect.gen(function* () {
      const house = yield* makeHouse()
      const home = yield* makeGatewayHome({})
      const runtime = yield* house.startRuntime(envOf(home))
      const agentId = house.account.agents["engineer"]
      const file = join(home.stateDir, "workspaces", "engineer", "skills", "triage", "SKILL.md")
      const isThere = Effect.sync(() => existsSync(file))
      const { skillId } = yield* change(house, "app/skills:upsert", {
        slug: "triage",
        name: "Triage",
        description: "Sorts what is new",
        content: "Sort it."
      })
      yield* change(house, "app/agents:update", { agentId, skillIds: [skillId] })
      yield* eventually(isThere, (isThere) => isThere)
      assert.match(readFileSync(file, "utf8"), /^---\nname: "triage"\ndescription: "Sorts what is new"\n---\n/)
      yield* change(house, "app/agents:update", { agentId, skillIds: [] })
      yield* eventually(isThere, (isThere) => !isThere)
      assert.strictEqual((yield* house.health(runtime))["gateway"].restarts, 0)
    }).pipe(Effect.scoped)
  )

  it.live("a configuration broken on purpose is left as it is, said with its path, and taken up when mended", () =>
    Effect.gen(function* () {
      const house = yield* makeHouse()
      const home = yield* makeGatewayHome({})
      const broken = '{ "gateway": {,} }'
      home.writeConfig(broken)
      const runtime = yield* house.startRuntime(envOf(home), { readyPath: "/livez" })
      const health = yield* eventually(house.health(runtime), ({ reasons }) =>
        reasons.some((reason: string) => reason.startsWith("gateway-process"))
      )
      const reason = health["reasons"].find((one: string) => one.startsWith("profile-sync"))
      assert.include(reason, `${home.configPath} is not valid JSON5 at line 1, column 15`)
      assert.strictEqual(readFileSync(home.configPath, "utf8"), broken)
      assert.notInclude(runtime.output(), "starting it again")
      // The runs at boot and at the first roster have been: nothing but time brings another one.
      yield* eventually(
        Effect.sync(() => runtime.output()),
        (output) => output.includes("roster: 3 agents")
      )
      home.writeConfig("{}")
      const mended = yield* eventually(house.health(runtime), ({ status }) => status === "healthy")
      assert.deepStrictEqual(mended["reasons"], [])
    }).pipe(Effect.scoped)
  )
})
