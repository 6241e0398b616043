import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Script } from "../../local/model/script.ts"
import { eventually, makeSetup } from "./setup.ts"
import type { Setup } from "./setup.ts"
import { makeGatewayHome } from "./supervisedGateway.ts"
import type { GatewayHome } from "./supervisedGateway.ts"

/** Answers only if the model got the agent's own texts. */
const script: Script = {
  rules: [
    { match: "mentioned you", matchSystem: "I love tidy code", repeat: true, actions: [{ text: "Tidy." }] },
    { match: "mentioned you", matchSystem: "You are Newcomer", repeat: true, actions: [{ text: "I am new." }] },
    { match: "mentioned you", repeat: true, actions: [{ text: "I have no texts." }] }
  ]
}

const envOf = (home: GatewayHome): Record<string, string> => {
  const file = join(home.folder, "script.json")
  writeFileSync(file, JSON.stringify(script))
  return { ...home.env, OPENCLAW_PROFILE_SYNC: "true", OPENCLAW_GATEWAY_ARGS: `gateway run --script ${file}` }
}

const change = (setup: Setup, name: string, args: Record<string, unknown>): Effect.Effect<any> =>
  Effect.promise(() => setup.person.mutation(name, { accountId: setup.account.accountId, ...args }))

const answer = (setup: Setup, taskId: string, agent: string): Effect.Effect<string> =>
  Effect.map(
    eventually(setup.messages(taskId), (messages) => messages.some(({ author }) => author.name === agent)),
    (messages) => messages.find(({ author }) => author.name === agent)?.content ?? ""
  )

describe("profile sync before a supervised gateway", () => {
  it.live("creates a gateway from an empty folder, and its agents get their texts", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome({})
      rmSync(home.configPath)
      yield* change(setup, "app/agents:update", {
        agentId: setup.account.agents["engineer"],
        soul: "I love tidy code."
      })
      yield* setup.startRuntime(envOf(home))
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer are you there?")
      assert.strictEqual(yield* answer(setup, taskId, "Engineer"), "Tidy.")
      const agentsMd = readFileSync(join(home.stateDir, "workspaces", "engineer", "AGENTS.md"), "utf8")
      assert.include(agentsMd, "# How you work here")
      assert.notInclude(agentsMd, "- `task_status`: ")
      // The agent can use the worktree program of the package.
      assert.strictEqual(
        readFileSync(join(home.stateDir, "workspaces", "engineer", "worktree.sh"), "utf8"),
        readFileSync(resolve(import.meta.dirname, "../../docs/runtime/worktree.sh"), "utf8")
      )
    }).pipe(Effect.scoped)
  )

  it.live("an added agent that is mentioned at once answers; a removed one leaves its workspace aside", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome({})
      yield* setup.startRuntime(envOf(home))
      const taskId = yield* setup.newTask()
      const { agentId } = yield* change(setup, "app/agents:create", {
        slug: "newcomer",
        name: "Newcomer",
        role: "learns"
      })
      yield* setup.post(taskId, "@newcomer hello")
      assert.strictEqual(yield* answer(setup, taskId, "Newcomer"), "I am new.")
      yield* change(setup, "app/agents:remove", { agentId })
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

  it.live("a skill is added and removed with its agent's list, without a restart", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome({})
      const runtime = yield* setup.startRuntime(envOf(home))
      const agentId = setup.account.agents["engineer"]
      const file = join(home.stateDir, "workspaces", "engineer", "skills", "triage", "SKILL.md")
      const isThere = Effect.sync(() => existsSync(file))
      const { skillId } = yield* change(setup, "app/skills:upsert", {
        slug: "triage",
        name: "Triage",
        description: "Sorts what is new",
        content: "Sort it."
      })
      yield* change(setup, "app/agents:update", { agentId, skillIds: [skillId] })
      yield* eventually(isThere, (isThere) => isThere)
      assert.match(readFileSync(file, "utf8"), /^---\nname: "triage"\ndescription: "Sorts what is new"\n---\n/)
      yield* change(setup, "app/agents:update", { agentId, skillIds: [] })
      yield* eventually(isThere, (isThere) => !isThere)
      assert.strictEqual((yield* setup.health(runtime))["gateway"].restarts, 0)
    }).pipe(Effect.scoped)
  )

  it.live("a broken configuration is not touched, is reported with its path, and is used when it is fixed", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const home = yield* makeGatewayHome({})
      const broken = '{ "gateway": {,} }'
      home.writeConfig(broken)
      const runtime = yield* setup.startRuntime(envOf(home), { readyPath: "/livez" })
      const health = yield* eventually(setup.health(runtime), ({ reasons }) =>
        reasons.some((reason: string) => reason.startsWith("gateway-process"))
      )
      const reason = health["reasons"].find((one: string) => one.startsWith("profile-sync"))
      assert.include(reason, `${home.configPath} is not valid JSON5 at line 1, column 15`)
      assert.strictEqual(readFileSync(home.configPath, "utf8"), broken)
      assert.notInclude(runtime.output(), "restarting it")
      // The runs at boot and at the first roster are over, so only time causes another.
      yield* eventually(
        Effect.sync(() => runtime.output()),
        (output) => output.includes("roster: 3 agents")
      )
      home.writeConfig("{}")
      const repaired = yield* eventually(setup.health(runtime), ({ status }) => status === "healthy")
      assert.deepStrictEqual(repaired["reasons"], [])
    }).pipe(Effect.scoped)
  )
})
