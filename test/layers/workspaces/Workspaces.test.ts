import {
  existsSync,
  globSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import type { Scope } from "effect"
import { configIssues } from "../../../local/gateway/config.ts"
import { planProfiles } from "../../../src/domain/gateway/ProfilePlan.ts"
import type { Profile, ProfilePlan } from "../../../src/domain/gateway/ProfilePlan.ts"
import { applySync, hasSteps, planSync } from "../../../src/layers/workspaces/Workspaces.ts"
import type { SyncSteps, SyncTarget } from "../../../src/layers/workspaces/Workspaces.ts"
import { attacks } from "../../domain/gateway/slugAttacks.ts"

const texts = { agentsMd: "# How", heartbeatMd: "# Beat", worktreeScript: "#!/bin/sh", tools: "- `task_load`" }
const profile = (slug: string, more: Partial<Profile> = {}): Profile => ({
  id: `id-${slug}`,
  slug,
  name: slug,
  role: "builds",
  model: null,
  soul: `I am ${slug}.`,
  identity: "",
  userText: "",
  skillSlugs: [],
  ...more
})
const skill = (slug: string, content = "Do it.") => ({ slug, name: slug, description: "does it", content })
const planOf = (agents: ReadonlyArray<Profile>, skills: ReadonlyArray<ReturnType<typeof skill>> = []): ProfilePlan =>
  planProfiles({ revision: 1, agents, skills }, texts)

interface Place {
  readonly folder: string
  readonly target: SyncTarget
  readonly run: (plan: ProfilePlan, more?: Partial<SyncTarget>) => Effect.Effect<SyncSteps>
  readonly at: (...path: ReadonlyArray<string>) => string
  readonly config: () => any
}

/** A folder in which a workspace root is one of several. */
const place: Effect.Effect<Place, never, Scope.Scope> = Effect.gen(function* () {
  const folder = mkdtempSync(join(tmpdir(), "mission-control-workspaces-"))
  yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
  const target: SyncTarget = {
    workspaceRoot: join(folder, "state", "workspaces"),
    configPath: join(folder, "state", "openclaw.json"),
    bindsLoopback: true,
    defersBootOnly: false
  }
  return {
    folder,
    target,
    run: (plan, more = {}) =>
      Effect.promise(async () => {
        const steps = await planSync({ ...target, ...more }, plan)
        const failures = await applySync({ ...target, ...more }, steps)
        return { ...steps, problems: [...steps.problems, ...failures] }
      }),
    at: (...path) => join(target.workspaceRoot, ...path),
    config: () => JSON.parse(readFileSync(target.configPath, "utf8"))
  }
})

/** Every file and folder with what tells a rewritten one from an untouched one. */
const stamps = (folder: string): ReadonlyArray<string> =>
  globSync("**/*", { cwd: folder, exclude: () => false })
    .concat(globSync("**/.*", { cwd: folder }))
    .toSorted()
    .map((path) => {
      const { ino, mode, mtimeMs } = lstatSync(join(folder, path))
      return `${path} ${ino} ${mtimeMs} ${mode.toString(8)}`
    })

const team = planOf(
  [profile("alpha", { skillSlugs: ["triage"], model: "fake/fake-1" }), profile("beta")],
  [skill("triage")]
)

describe("profile sync on disk", () => {
  it.effect("writes workspaces that only we can read, and a configuration that a gateway accepts", () =>
    Effect.gen(function* () {
      const { at, config, run, target } = yield* place
      yield* run(team)
      assert.strictEqual(readFileSync(at("alpha", "SOUL.md"), "utf8"), "I am alpha.\n")
      assert.include(readFileSync(at("alpha", "skills", "triage", "SKILL.md"), "utf8"), 'name: "triage"')
      for (const file of ["SOUL.md", "MEMORY.md", "skills/triage/SKILL.md"]) {
        assert.strictEqual(statSync(at("alpha", file)).mode & 0o777, 0o600, file)
      }
      for (const folder of [".", "alpha", "alpha/memory", "alpha/deliverables", "alpha/skills/triage"]) {
        assert.strictEqual(statSync(at(folder)).mode & 0o777, 0o700, folder)
      }
      assert.strictEqual(statSync(target.configPath).mode & 0o777, 0o600)
      assert.deepStrictEqual(configIssues(target.configPath), [])
      assert.deepStrictEqual(config().agents.entries.alpha, {
        workspace: at("alpha"),
        skills: ["triage"],
        model: "fake/fake-1"
      })
    }).pipe(Effect.scoped)
  )

  it.effect("writes nothing when nothing has changed: every inode and time of change stays", () =>
    Effect.gen(function* () {
      const { folder, run } = yield* place
      yield* run(team)
      const before = stamps(folder)
      assert.isAbove(before.length, 20)
      const steps = yield* run(team)
      assert.isFalse(hasSteps(steps))
      assert.deepStrictEqual(stamps(folder), before)
    }).pipe(Effect.scoped)
  )

  it.effect("rewrites what differs and nothing else", () =>
    Effect.gen(function* () {
      const { at, run } = yield* place
      yield* run(team)
      writeFileSync(at("beta", "SOUL.md"), "changed by its agent")
      const untouched = statSync(at("alpha", "SOUL.md")).ino
      const steps = yield* run(team)
      assert.deepStrictEqual(
        steps.writes.map(({ path }) => path.join("/")),
        ["beta/SOUL.md"]
      )
      assert.strictEqual(readFileSync(at("beta", "SOUL.md"), "utf8"), "I am beta.\n")
      assert.strictEqual(statSync(at("alpha", "SOUL.md")).ino, untouched)
    }).pipe(Effect.scoped)
  )

  it.effect("removes the files of a revoked skill, and moves a removed agent's whole workspace aside", () =>
    Effect.gen(function* () {
      const { at, config, run, target } = yield* place
      mkdirSync(join(target.configPath, ".."), { recursive: true })
      writeFileSync(
        target.configPath,
        JSON.stringify({ agents: { entries: { human: { workspace: "/w" } } }, ui: { a: 1 } })
      )
      yield* run(team)
      writeFileSync(at("beta", "memory", "note.md"), "remember")
      writeFileSync(at("beta", "IDENTITY.md"), "changed since")
      mkdirSync(at("alpha", "skills", "own"))
      writeFileSync(at("alpha", "skills", "own", "SKILL.md"), "the agent's own")
      yield* run(planOf([profile("alpha")], [skill("triage")]))
      assert.isFalse(existsSync(at("alpha", "skills", "triage")))
      assert.isTrue(existsSync(at("alpha", "skills", "own", "SKILL.md")))
      assert.isFalse(existsSync(at("beta")))
      assert.strictEqual(readFileSync(at(".removed", "beta.1", "memory", "note.md"), "utf8"), "remember")
      assert.strictEqual(readFileSync(at(".removed", "beta.1", "IDENTITY.md"), "utf8"), "changed since")
      assert.deepStrictEqual(Object.keys(config().agents.entries).toSorted(), ["alpha", "human"])
      assert.deepStrictEqual(config().ui, { a: 1 })
      yield* run(planOf([]))
      assert.isTrue(existsSync(at(".removed", "alpha.1", "skills", "own")))
      assert.deepStrictEqual(Object.keys(config().agents.entries), ["human"])
    }).pipe(Effect.scoped)
  )

  it.effect(
    "gives an agent under a used slug an empty workspace, whether it was removed first or replaced at once",
    () =>
      Effect.gen(function* () {
        const { at, run } = yield* place
        yield* run(planOf([profile("alpha", { id: "first" })]))
        writeFileSync(at("alpha", "MEMORY.md"), "I know your secrets")
        writeFileSync(at("alpha", "memory", "note.md"), "remember")
        yield* run(planOf([profile("alpha", { id: "second", soul: "I am another." })]))
        assert.strictEqual(readFileSync(at("alpha", "MEMORY.md"), "utf8"), "# Memory\n")
        assert.strictEqual(readFileSync(at("alpha", "SOUL.md"), "utf8"), "I am another.\n")
        assert.deepStrictEqual(globSync("*", { cwd: at("alpha", "memory") }), [])
        writeFileSync(at("alpha", "MEMORY.md"), "I am the second")
        yield* run(planOf([]))
        yield* run(planOf([profile("alpha", { id: "third" })]))
        assert.strictEqual(readFileSync(at("alpha", "MEMORY.md"), "utf8"), "# Memory\n")
        assert.strictEqual(readFileSync(at(".removed", "alpha.1", "memory", "note.md"), "utf8"), "remember")
        assert.strictEqual(readFileSync(at(".removed", "alpha.2", "MEMORY.md"), "utf8"), "I am the second")
      }).pipe(Effect.scoped)
  )

  it.effect("moves a workspace aside once, also while something else cannot be written", () =>
    Effect.gen(function* () {
      const { at, run } = yield* place
      yield* run(planOf([profile("alpha", { id: "first" }), profile("beta")]))
      rmSync(at("beta", "SOUL.md"))
      symlinkSync("/dev/null", at("beta", "SOUL.md"))
      const wanted = planOf([profile("alpha", { id: "second" }), profile("beta")])
      assert.isNotEmpty((yield* run(wanted)).problems)
      writeFileSync(at("alpha", "memory", "note.md"), "the second's")
      const { moves, problems } = yield* run(wanted)
      assert.isNotEmpty(problems)
      assert.deepStrictEqual(moves, [])
      assert.strictEqual(readFileSync(at("alpha", "memory", "note.md"), "utf8"), "the second's")
    }).pipe(Effect.scoped)
  )

  it.effect("creates the agent's own MEMORY.md once: neither its changes nor its removal are undone", () =>
    Effect.gen(function* () {
      const { at, run } = yield* place
      yield* run(team)
      writeFileSync(at("alpha", "MEMORY.md"), "what I know")
      rmSync(at("beta", "MEMORY.md"))
      yield* run(team)
      assert.strictEqual(readFileSync(at("alpha", "MEMORY.md"), "utf8"), "what I know")
      assert.isFalse(existsSync(at("beta", "MEMORY.md")))
    }).pipe(Effect.scoped)
  )

  it.effect("quotes nothing of a broken configuration, which holds keys of providers", () =>
    Effect.gen(function* () {
      const { run, target } = yield* place
      mkdirSync(join(target.configPath, ".."), { recursive: true })
      for (const [broken, column] of [
        ['{"apiKey": sk-abcdef}', 12],
        [`{"a": "${"x".repeat(99)}", "apiKey": sk-abcdef, "b": 1}`, 120]
      ] as const) {
        writeFileSync(target.configPath, broken)
        const { problems } = yield* run(team)
        assert.deepStrictEqual(problems, [
          `${target.configPath} is not valid JSON5 at line 1, column ${column}: correct it there`
        ])
      }
    }).pipe(Effect.scoped)
  )

  it.effect("refuses a broken configuration with its path, leaves it as it is, and still writes the workspaces", () =>
    Effect.gen(function* () {
      const { at, run, target } = yield* place
      mkdirSync(join(target.configPath, ".."), { recursive: true })
      for (const broken of ["{ // comment", "", "[]", '{"agents": 1}', '{"a":1,,}']) {
        writeFileSync(target.configPath, broken)
        const { problems } = yield* run(team)
        assert.lengthOf(problems, 1)
        assert.include(problems[0], target.configPath)
        assert.strictEqual(readFileSync(target.configPath, "utf8"), broken)
        assert.isTrue(existsSync(at("alpha", "SOUL.md")))
      }
      // Once mended, what had to wait is made up for.
      writeFileSync(target.configPath, "{}")
      assert.deepStrictEqual((yield* run(team)).problems, [])
      assert.deepStrictEqual(configIssues(target.configPath), [])
    }).pipe(Effect.scoped)
  )

  it.effect("waits with keys for which the gateway restarts, and writes the others", () =>
    Effect.gen(function* () {
      const { config, run } = yield* place
      const steps = yield* run(team, { defersBootOnly: true })
      assert.deepStrictEqual(steps.deferred, ["gateway.mode", "gateway.bind"])
      assert.notProperty(config().gateway, "mode")
      assert.property(config().agents.entries, "alpha")
      assert.deepStrictEqual((yield* run(team)).deferred, [])
      assert.strictEqual(config().gateway.mode, "local")
    }).pipe(Effect.scoped)
  )
})

describe("what profile sync did not write", () => {
  it.effect("stays in a workspace if the control plane has no text, otherwise a copy is kept", () =>
    Effect.gen(function* () {
      const { at, run } = yield* place
      mkdirSync(at("alpha", "skills", "triage"), { recursive: true })
      const own = Buffer.from([0x69, 0x20, 0xe9, 0x0a])
      for (const file of ["SOUL.md", "USER.md", "AGENTS.md", "MEMORY.md", "notes.md", "skills/triage/SKILL.md"]) {
        writeFileSync(at("alpha", file), own)
      }
      const wanted = planOf([profile("alpha", { skillSlugs: ["triage"] })], [skill("triage")])
      const { left, writes } = yield* run(wanted)
      assert.deepStrictEqual(left, [at("alpha", "USER.md")])
      const copies = writes.flatMap(({ copy }) => (copy === null ? [] : [copy.join("/").replace(/\.[0-9a-f]+$/, "")]))
      assert.sameMembers(copies, [".kept/alpha/SOUL.md", ".kept/alpha/AGENTS.md", ".kept/alpha/skills/triage/SKILL.md"])
      for (const { copy } of writes) if (copy !== null) assert.deepStrictEqual(readFileSync(at(...copy)), own)
      for (const file of ["USER.md", "MEMORY.md", "notes.md"])
        assert.deepStrictEqual(readFileSync(at("alpha", file)), own)
      assert.strictEqual(readFileSync(at("alpha", "SOUL.md"), "utf8"), "I am alpha.\n")
      assert.isFalse(hasSteps(yield* run(wanted)))
      // As long as the default stands it is the runtime's, which then writes what the control plane has.
      const userText = planOf([profile("alpha", { skillSlugs: ["triage"], userText: "Ana", identity: "A" })])
      assert.sameMembers(
        (yield* run(userText)).writes.map(({ copy, path }) => `${path[1]} ${copy !== null}`),
        ["USER.md true", "IDENTITY.md false"]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("is kept each time that an agent has changed a text of the control plane's", () =>
    Effect.gen(function* () {
      const { at, run } = yield* place
      yield* run(team)
      for (const text of ["once", "twice", "once"]) {
        writeFileSync(at("beta", "SOUL.md"), text)
        yield* run(team)
        assert.strictEqual(readFileSync(at("beta", "SOUL.md"), "utf8"), "I am beta.\n")
      }
      const kept = globSync("*", { cwd: at(".kept", "beta") }).map((file) =>
        readFileSync(at(".kept", "beta", file), "utf8")
      )
      assert.sameMembers(kept, ["once", "twice"])
    }).pipe(Effect.scoped)
  )

  it.effect("stays in the configuration with its comments and its byte order mark", () =>
    Effect.gen(function* () {
      const { run, target } = yield* place
      mkdirSync(join(target.configPath, ".."), { recursive: true })
      writeFileSync(target.configPath, "\uFEFF{\n  // mine\n  gateway: { bind: 'lan' }, // here\n}\n")
      const { configCopy, problems } = yield* run(team)
      assert.deepStrictEqual([problems, configCopy], [[], null])
      const text = readFileSync(target.configPath, "utf8")
      for (const part of ["\uFEFF{\n  // mine\n  gateway: { bind: 'lan', ", "}, // here\n"]) assert.include(text, part)
      assert.deepStrictEqual(configIssues(target.configPath), [])
      assert.isFalse(hasSteps(yield* run(team)))
    }).pipe(Effect.scoped)
  )

  it.effect("is kept in a copy of the configuration if the control plane has another value", () =>
    Effect.gen(function* () {
      const { config, run, target } = yield* place
      mkdirSync(join(target.configPath, ".."), { recursive: true })
      const before = JSON.stringify({ agents: { entries: { alpha: { model: "mine/1" }, beta: { model: "mine/2" } } } })
      writeFileSync(target.configPath, before)
      const { configCopy, left, replaced } = yield* run(team)
      assert.deepStrictEqual(replaced, ["agents.entries.alpha.model"])
      assert.deepStrictEqual(left, [`agents.entries.beta.model of ${target.configPath}`])
      assert.strictEqual(readFileSync(configCopy ?? "", "utf8"), before)
      assert.deepStrictEqual(
        [config().agents.entries.alpha.model, config().agents.entries.beta.model],
        ["fake/fake-1", "mine/2"]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("is an agent's workspace elsewhere: neither its entry nor a folder is written", () =>
    Effect.gen(function* () {
      const { at, config, run, target } = yield* place
      mkdirSync(join(target.configPath, ".."), { recursive: true })
      const mine = { workspace: "/srv/alpha", skills: ["own"] }
      writeFileSync(target.configPath, JSON.stringify({ agents: { entries: { alpha: mine } } }))
      const { left, problems } = yield* run(team)
      assert.deepStrictEqual([problems, left], [[], [`agents.entries.alpha of ${target.configPath}`]])
      assert.deepStrictEqual(config().agents.entries.alpha, mine)
      assert.isFalse(existsSync(at("alpha")))
      assert.isTrue(existsSync(at("beta", "SOUL.md")))
      assert.isFalse(hasSteps(yield* run(team)))
    }).pipe(Effect.scoped)
  )

  it.effect("is not a workspace in a former root, which the agents' entries leave", () =>
    Effect.gen(function* () {
      const { config, folder, run } = yield* place
      yield* run(team)
      const workspaceRoot = join(folder, "elsewhere")
      const { left } = yield* run(team, { workspaceRoot })
      assert.deepStrictEqual(left, [])
      assert.strictEqual(config().agents.entries.alpha.workspace, join(workspaceRoot, "alpha"))
      assert.isTrue(existsSync(join(workspaceRoot, "alpha", "SOUL.md")))
    }).pipe(Effect.scoped)
  )
})

describe("profile sync under attack", () => {
  it.effect("follows no symbolic link at any segment of a path", () =>
    Effect.gen(function* () {
      for (const segments of [
        ["alpha"],
        ["alpha", "skills"],
        ["alpha", "skills", "triage"],
        ["alpha", "memory"],
        ["alpha", "SOUL.md"],
        ["alpha", "skills", "triage", "SKILL.md"],
        [".mission-control.json"],
        []
      ]) {
        const { at, folder, run } = yield* place
        yield* run(team)
        const outside = join(folder, "outside")
        renameSync(at(...segments), outside)
        symlinkSync(outside, at(...segments))
        const before = stamps(outside)
        const text = lstatSync(outside).isFile() ? readFileSync(outside, "utf8") : ""
        const changed = planOf(
          [profile("alpha", { soul: "another", skillSlugs: ["triage"] }), profile("beta")],
          [skill("triage", "Do something else.")]
        )
        const { problems } = yield* run(changed)
        assert.isNotEmpty(problems, segments.join("/"))
        assert.include(problems.join("\n"), "symbolic link")
        // Nor is anything taken away through one.
        yield* run(planOf([]))
        assert.deepStrictEqual(stamps(outside), before, segments.join("/"))
        if (text !== "") assert.strictEqual(readFileSync(outside, "utf8"), text)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("refuses a configuration that is a symbolic link", () =>
    Effect.gen(function* () {
      const { folder, run, target } = yield* place
      mkdirSync(join(target.configPath, ".."), { recursive: true })
      writeFileSync(join(folder, "real.json"), "{}")
      symlinkSync(join(folder, "real.json"), target.configPath)
      const { problems } = yield* run(team)
      assert.include(problems.join(), `${target.configPath} is a symbolic link`)
      assert.strictEqual(readFileSync(join(folder, "real.json"), "utf8"), "{}")
    }).pipe(Effect.scoped)
  )

  it.effect("ignores a record that names other paths than ours", () =>
    Effect.gen(function* () {
      const { at, folder, run } = yield* place
      yield* run(team)
      const victim = join(folder, "victim.md")
      writeFileSync(victim, "mine")
      const record = JSON.parse(readFileSync(at(".mission-control.json"), "utf8"))
      const sha = "a7bb9b2a2a8d5a0c26a7c6ba7b4a3f0a4b9a1b7d3f8f3d5b2b9d7b7d0a6c7b11"
      for (const path of ["../../victim.md", "alpha/../../../victim.md", victim, "alpha/.env", "alpha/memory/x"]) {
        record.files[path] = [sha]
      }
      record.agents.push({ slug: "__proto__", workspace: "/x" }, { slug: "../x", workspace: "/x" })
      writeFileSync(at(".mission-control.json"), JSON.stringify(record))
      const { removes } = yield* run(planOf([]))
      for (const path of removes)
        assert.match(path.join("/"), /^(alpha|beta)\/((skills\/triage\/SKILL|[A-Z]+)\.md|worktree\.sh)$/)
      assert.strictEqual(readFileSync(victim, "utf8"), "mine")
    }).pipe(Effect.scoped)
  )

  it.effect("writes nothing outside the root for slugs that try to leave it", () =>
    Effect.gen(function* () {
      const { folder, run } = yield* place
      yield* run(
        planOf(
          attacks.map((slug) => profile(slug, { skillSlugs: attacks })),
          attacks.map((slug) => skill(slug))
        )
      )
      assert.deepStrictEqual(globSync("*", { cwd: folder }), ["state"])
      assert.sameMembers(globSync("state/**/*", { cwd: folder }), ["state/openclaw.json", "state/workspaces"])
    }).pipe(Effect.scoped)
  )

  it.effect.prop(
    "writes nothing outside the root for arbitrary slugs",
    [Schema.Array(Schema.String), Schema.Array(Schema.String)],
    ([slugs, skills]) =>
      Effect.gen(function* () {
        const { folder, run } = yield* place
        yield* run(
          planOf(
            slugs.map((slug) => profile(slug, { skillSlugs: skills })),
            skills.map((slug) => skill(slug))
          )
        )
        for (const path of globSync("**/*", { cwd: folder })) {
          assert.match(path, /^state(\/openclaw\.json|\/workspaces(\/[a-z0-9][a-z0-9_-]*(\/.*)?)?)?$/)
        }
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 30 } }
  )
})
