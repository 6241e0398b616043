import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { mergeGatewaySettings, sessionReset, SettingsUnusable } from "../../../src/domain/gateway/GatewaySettings.ts"
import type {
  AgentSettings,
  JsonObject,
  SettingsWish,
  WrittenSettings
} from "../../../src/domain/gateway/GatewaySettings.ts"

const agent = (slug: string, more: Partial<AgentSettings> = {}): AgentSettings => ({
  slug,
  workspace: `/root/${slug}`,
  skills: ["triage"],
  model: null,
  ...more
})
/** What the record has of that agent. */
const written = (slug: string, model?: string): WrittenSettings => ({
  slug,
  workspace: `/root/${slug}`,
  skills: ["triage"],
  ...(model === undefined ? {} : { model })
})
const wish = (agents: ReadonlyArray<AgentSettings>, more: Partial<SettingsWish> = {}): SettingsWish => ({
  agents,
  formerly: [],
  bindsLoopback: true,
  defersBootOnly: false,
  ...more
})
const merged = (existing: JsonObject, wanted: SettingsWish): any => mergeGatewaySettings(existing, wanted).settings

/** Everything that is ours. */
const ours = [
  "agents.ownership",
  "agents.entries.alpha.workspace",
  "agents.entries.alpha.skills",
  "agents.entries.alpha.model",
  "agents.defaults.heartbeat.every",
  "agents.defaults.skipBootstrap",
  "tools.toolSearch",
  "tools.sessions.visibility",
  "gateway.http.endpoints.responses.enabled",
  "gateway.mode",
  "gateway.bind",
  "session.reset.mode"
]

/** Path to value of everything but what is ours; objects show by what is in them, and when they are empty. */
const foreign = (value: unknown, path: ReadonlyArray<string> = []): ReadonlyArray<readonly [string, unknown]> => {
  const name = path.join(".")
  if (ours.includes(name)) return []
  const isInner = typeof value === "object" && value !== null && !Array.isArray(value)
  if (!isInner) return [[name, value]]
  const inner = Object.entries(value).flatMap(([key, one]) => foreign(one, [...path, key]))
  // An object that our keys need may come into being.
  const isOnOurWay = path.length === 0 || ours.some((one) => one.startsWith(`${name}.`))
  return inner.length === 0 && !isOnOurWay ? [[name, {}]] : inner
}

const Leaf = Schema.Union([Schema.String, Schema.Finite, Schema.Boolean, Schema.Null])
const Tree = Schema.Union([
  Leaf,
  Schema.Array(Leaf),
  Schema.Record(Schema.String, Schema.Union([Leaf, Schema.Record(Schema.String, Leaf)]))
])
const Objects = Schema.Record(Schema.String, Tree)
/** Arbitrary JSON, with arbitrary JSON also where our part goes. */
const Existing = Schema.Struct({
  any: Objects,
  agents: Objects,
  entries: Objects,
  alpha: Objects,
  defaults: Objects,
  tools: Objects,
  gateway: Objects
})
const existingOf = ({ agents, alpha, any, defaults, entries, gateway, tools }: typeof Existing.Type): JsonObject => {
  const { list: _list, ...otherAgents } = agents
  const { heartbeat: _heartbeat, ...otherDefaults } = defaults
  const { sessions: _sessions, ...otherTools } = tools
  const { http: _http, ...otherGateway } = gateway
  return JSON.parse(
    JSON.stringify({
      ...any,
      agents: { ...otherAgents, entries: { ...entries, alpha }, defaults: otherDefaults },
      tools: otherTools,
      gateway: otherGateway
    })
  )
}

describe("the runtime's part of the gateway's configuration", () => {
  it("has what client tools, heartbeats and agents need", () => {
    const settings = merged({}, wish([agent("alpha", { model: "openai/gpt-5" }), agent("beta", { skills: [] })]))
    assert.deepStrictEqual(settings, {
      agents: {
        ownership: "explicit",
        entries: {
          alpha: { workspace: "/root/alpha", skills: ["triage"], model: "openai/gpt-5" },
          beta: { workspace: "/root/beta", skills: [] }
        },
        defaults: { heartbeat: { every: "0m" }, skipBootstrap: true }
      },
      tools: { toolSearch: false, sessions: { visibility: "self" } },
      gateway: { http: { endpoints: { responses: { enabled: true } } }, mode: "local", bind: "loopback" },
      session: { reset: { mode: "none" } }
    })
  })

  it("keeps the gateway from resetting the agents' sessions, and keeps the policies of other conversations", () => {
    const others = { resetByType: { group: { mode: "daily" } }, resetByChannel: { discord: { mode: "idle" } } }
    const existing = {
      session: {
        ...others,
        reset: { mode: "daily", atHour: 4 },
        resetByType: { ...others.resetByType, direct: { idleMinutes: 60 } }
      }
    }
    const { replaced, settings } = mergeGatewaySettings(existing, wish([]))
    assert.deepStrictEqual(settings["session"], {
      resetByType: { ...others.resetByType, direct: { idleMinutes: 60, mode: "none" } },
      resetByChannel: others.resetByChannel,
      reset: { mode: "none", atHour: 4 }
    })
    assert.deepStrictEqual(replaced, ["session.reset.mode"])
    assert.isNull(sessionReset(settings))
  })

  // As measured on 2026.8.2 and 2026.9.6; the contract tests repeat the cases that can be made within seconds.
  for (const [session, found] of [
    [undefined, null],
    [{ reset: { mode: "none", idleMinutes: 1 } }, null],
    [{ reset: { mode: "idle", idleMinutes: 1 } }, { key: "session.reset.mode", mode: "idle" }],
    [{ reset: { atHour: 4 } }, { key: "session.reset.mode", mode: "daily" }],
    [
      { reset: { mode: "none" }, resetByType: { direct: { mode: "idle", idleMinutes: 1 } } },
      { key: "session.resetByType.direct.mode", mode: "idle" }
    ],
    [
      { reset: { mode: "none" }, resetByType: { direct: { idleMinutes: 1 } } },
      { key: "session.resetByType.direct.mode", mode: "daily" }
    ],
    [
      { reset: { mode: "idle" }, resetByType: { direct: { idleMinutes: 1 } } },
      { key: "session.resetByType.direct.mode", mode: "idle" }
    ],
    [{ reset: { mode: "daily" }, resetByType: { direct: { mode: "none" } } }, null],
    [{ resetByType: { group: { mode: "daily" } }, resetByChannel: { webchat: { mode: "daily" } } }, null]
  ] as const) {
    it(`finds ${found === null ? "no reset" : `the reset by ${found.key}`} in ${JSON.stringify(session)}`, () => {
      assert.deepStrictEqual(sessionReset(session === undefined ? {} : { session }), found)
    })
  }

  it.effect.prop(
    "changes nothing but itself in arbitrary JSON, and merging twice is merging once",
    [Existing],
    ([parts]) =>
      Effect.sync(() => {
        const existing = existingOf(parts)
        const wanted = wish([agent("alpha", { model: "a/b" })])
        const { settings } = mergeGatewaySettings(existing, wanted)
        assert.deepStrictEqual(foreign(settings), foreign(existing))
        assert.strictEqual(JSON.stringify(merged(settings, wanted)), JSON.stringify(settings))
      })
  )

  it("keeps other keys of an agent's entry and removes its own when the agent is removed", () => {
    const before = merged(
      { agents: { entries: { alpha: { tools: { deny: ["*"] } } } } },
      wish([agent("alpha"), agent("beta")])
    )
    const after = merged(before, wish([], { formerly: [written("alpha"), written("beta")] }))
    assert.deepStrictEqual(after.agents.entries, { alpha: { tools: { deny: ["*"] } } })
  })

  it("keeps an entry that another program has taken over, and entries that it never wrote", () => {
    const existing = { agents: { entries: { alpha: { workspace: "/elsewhere" }, gamma: {} } } }
    const after = merged(existing, wish([], { formerly: [written("alpha")] }))
    assert.deepStrictEqual(after.agents.entries, existing.agents.entries)
  })

  it("removes the model when the agent no longer has one", () => {
    const before = merged({}, wish([agent("alpha", { model: "a/b" })]))
    const after = merged(before, wish([agent("alpha")], { formerly: [written("alpha", "a/b")] }))
    assert.notProperty(after.agents.entries.alpha, "model")
  })

  it("keeps a model and skills that it did not write while the control plane has none", () => {
    const existing = { agents: { entries: { alpha: { model: "mine/1", skills: ["own"] } } } }
    const { kept, replaced, settings } = mergeGatewaySettings(existing, wish([agent("alpha", { skills: [] })]))
    assert.deepStrictEqual([kept, replaced], [["agents.entries.alpha.skills", "agents.entries.alpha.model"], []])
    assert.deepStrictEqual((settings["agents"] as any).entries.alpha, {
      model: "mine/1",
      skills: ["own"],
      workspace: "/root/alpha"
    })
    const given = mergeGatewaySettings(existing, wish([agent("alpha", { model: "a/b" })]))
    assert.deepStrictEqual(given.replaced, ["agents.entries.alpha.skills", "agents.entries.alpha.model"])
    assert.deepStrictEqual(given.written, [written("alpha", "a/b")])
  })

  it("names the settings of others that it replaces", () => {
    const existing = { tools: { toolSearch: true }, gateway: { mode: "remote", bind: "lan" } }
    assert.deepStrictEqual(mergeGatewaySettings(existing, wish([])).replaced, ["tools.toolSearch", "gateway.mode"])
    const later = mergeGatewaySettings(existing, wish([], { defersBootOnly: true }))
    assert.deepStrictEqual([later.replaced, later.deferred], [["tools.toolSearch"], ["gateway.mode"]])
  })

  it("sets no address to listen on if the file has one, or for a gateway on another machine", () => {
    assert.strictEqual(merged({ gateway: { bind: "lan" } }, wish([])).gateway.bind, "lan")
    assert.notProperty(merged({}, wish([], { bindsLoopback: false })).gateway, "bind")
  })

  it("defers only keys whose change restarts the gateway", () => {
    const { deferred, settings } = mergeGatewaySettings({}, wish([agent("alpha")], { defersBootOnly: true }))
    assert.deepStrictEqual(deferred, ["gateway.mode", "gateway.bind"])
    assert.notProperty(settings["gateway"], "mode")
    assert.property((settings["agents"] as any).entries, "alpha")
    const ready = { gateway: { mode: "local", bind: "loopback" } }
    assert.deepStrictEqual(mergeGatewaySettings(ready, wish([], { defersBootOnly: true })).deferred, [])
  })

  it("is refused with the key if another value is in its place", () => {
    for (const [existing, key] of [
      [{ agents: [] }, "agents"],
      [{ agents: { entries: "none" } }, "agents.entries"],
      [{ agents: { entries: { alpha: 1 } } }, "agents.entries.alpha"],
      [{ tools: { sessions: true } }, "tools.sessions"],
      [{ gateway: { http: null } }, "gateway.http"],
      [{ agents: { list: [{ id: "main" }] } }, "agents.list"]
    ] as const) {
      assert.throws(() => merged(existing, wish([agent("alpha")])), SettingsUnusable, key)
    }
  })
})
