import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import type { Success } from "effect/Effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import { AgentApi, statusOfCode } from "../../../src/programs/http/AgentApi.ts"
import type { LiveRun } from "../../../src/services/LiveRuns.ts"
import { allTools } from "../../../src/services/tools/AllTools.ts"
import { makeToolHouse } from "./toolHouse.ts"
import type { Mode } from "./toolHouse.ts"

type House = Success<ReturnType<typeof makeToolHouse>> & {
  readonly runs: Record<string, LiveRun>
  readonly documentId: string
  readonly foreignDocumentId: string
}

/** One plane for the whole table; every case leaves the runs alive. */
class TableHouse extends Context.Service<TableHouse, House>()("test/TableHouse") {
  static readonly layer = Layer.effect(
    TableHouse,
    Effect.gen(function* () {
      const house = yield* makeToolHouse()
      yield* house.mention(house.ids.own, "@lead @engineer please look.")
      const runs = yield* house.claimRuns
      const written = yield* house.plane.upsertDocument(runs["lead"]!.fence, {
        title: "Reference",
        content: "Rules",
        type: "reference",
        taskId: house.ids.own
      })
      return { ...house, runs, documentId: written.documentId, foreignDocumentId: house.ids.foreign }
    }).pipe(Effect.orDie)
  )
}

type Name = (typeof allTools)[number]["name"]
type Arguments = Record<string, unknown>

/** What the table says of a tool; `code` null is a success. */
interface Row {
  readonly agent: "engineer" | "lead"
  /** Arguments that are allowed; `nonce` keeps creations apart. */
  readonly good: (house: House, nonce: string) => Arguments
  readonly bad: ReadonlyArray<(house: House) => Arguments | string>
  /** By which argument a task is named, and what naming another one of the account comes to. */
  readonly task?: { readonly key: string; readonly other: string | null; readonly foreign: string }
  /** Values that the shape allows and the rules do not. */
  readonly invalid?: (house: House) => Arguments
  readonly isCreation?: boolean
  readonly isEffect: boolean
  readonly isAlwaysOffered?: boolean
  /** A further thing that is named and does not exist. */
  readonly missing?: (house: House) => Arguments
  /** Of a tool that names no task: arguments that reach for another account, and what that comes to. */
  readonly outside?: { readonly parameters: Arguments; readonly code: string | null }
}

const own = { key: "taskId", other: "forbidden", foreign: "forbidden" }
const any = { key: "taskId", other: null, foreign: "not_found" }

const rows: Record<Name, Row> = {
  task_status: {
    agent: "engineer",
    good: ({ ids }) => ({ taskId: ids.own, status: "in_progress" }),
    bad: [({ ids }) => ({ taskId: ids.own, status: "archived" }), () => ({ taskId: 7, status: "review" })],
    task: own,
    invalid: ({ ids }) => ({ taskId: ids.own, status: "blocked" }),
    isEffect: true
  },
  task_update: {
    agent: "engineer",
    good: ({ ids }) => ({ taskId: ids.own, priority: 2, labels: ["web"], dueDate: "2027-01-31" }),
    bad: [
      ({ ids }) => ({ taskId: ids.own, priority: 6 }),
      ({ ids }) => ({ taskId: ids.own, labels: "web" }),
      ({ ids }) => ({ taskId: ids.own, dueDate: "tomorrow" })
    ],
    task: own,
    invalid: ({ ids }) => ({ taskId: ids.own, dueDate: "2027-02-31" }),
    isEffect: true
  },
  task_create: {
    agent: "engineer",
    good: (_, nonce) => ({ title: `Made ${nonce}`, priority: 1 }),
    bad: [() => ({}), () => ({ title: 5 }), () => ({ title: "x", status: "done" })],
    invalid: () => ({ title: "Blocked without a reason", status: "blocked" }),
    outside: { parameters: { title: "For another", assigneeSlugs: ["outsider"] }, code: "forbidden" },
    isCreation: true,
    isEffect: true
  },
  document_upsert: {
    agent: "engineer",
    good: (_, nonce) => ({ title: `Notes ${nonce}`, content: "Text", type: "note" }),
    bad: [() => ({ title: "x", content: "y" }), () => ({ title: "x", content: ["y"], type: "note" })],
    task: { key: "taskId", other: "forbidden", foreign: "forbidden" },
    missing: ({ ids }) => ({ title: "x", content: "y", type: "note", documentId: ids.own }),
    isCreation: true,
    isEffect: true
  },
  document_list: {
    agent: "engineer",
    good: ({ ids }) => ({ taskId: ids.own, limit: 5 }),
    bad: [() => ({ limit: 0 }), () => ({ limit: "5" }), () => ({ type: "poem" })],
    task: any,
    isEffect: false,
    isAlwaysOffered: true
  },
  response_request: {
    agent: "engineer",
    good: ({ ids }, nonce) => ({ recipientSlugs: ["qa"], message: `Please test ${nonce}.`, taskId: ids.own }),
    bad: [
      () => ({ recipientSlugs: "qa", message: "x" }),
      () => ({ recipientSlugs: [], message: "x" }),
      () => ({ recipientSlugs: ["qa"], message: "x".repeat(1_001) })
    ],
    task: own,
    invalid: () => ({ recipientSlugs: ["qa"], message: "   " }),
    // Who is not asked is told in the answer.
    outside: { parameters: { recipientSlugs: ["outsider"], message: "Are you there?" }, code: null },
    isCreation: true,
    isEffect: true
  },
  task_load: {
    agent: "engineer",
    good: ({ ids }) => ({ taskId: ids.own, messageLimit: 3 }),
    bad: [() => ({}), () => ({ taskId: 12 }), ({ ids }) => ({ taskId: ids.own, messageLimit: 201 })],
    task: any,
    isEffect: false,
    isAlwaysOffered: true
  },
  get_agent_skills: {
    agent: "engineer",
    good: () => ({ agentSlug: "@qa" }),
    bad: [() => ({ agentSlug: ["qa"] }), () => ({ slug: "qa" })],
    missing: () => ({ agentSlug: "nobody-here" }),
    outside: { parameters: { agentSlug: "outsider" }, code: "not_found" },
    isEffect: false,
    isAlwaysOffered: true
  },
  task_history: {
    agent: "engineer",
    good: ({ ids }) => ({ taskId: ids.own, activityLimit: 3 }),
    bad: [({ ids }) => ({ taskId: ids.own, activityLimit: -1 })],
    task: any,
    isEffect: false,
    isAlwaysOffered: true
  },
  task_list: {
    agent: "lead",
    good: () => ({ status: "in_progress", assigneeSlug: "engineer", limit: 10 }),
    bad: [() => ({ status: "open" }), () => ({ limit: 1_000 })],
    outside: { parameters: { assigneeSlug: "outsider" }, code: "not_found" },
    missing: () => ({ assigneeSlug: "nobody-here" }),
    isEffect: false
  },
  task_get: { agent: "lead", good: ({ ids }) => ({ taskId: ids.own }), bad: [() => ({})], task: any, isEffect: false },
  task_thread: {
    agent: "lead",
    good: ({ ids }) => ({ taskId: ids.own, limit: 2 }),
    bad: [({ ids }) => ({ taskId: ids.own, limit: 1.5 })],
    task: any,
    isEffect: false
  },
  task_search: {
    agent: "lead",
    good: () => ({ query: "Own" }),
    bad: [() => ({ query: ["Own"] }), () => ({ query: "" })],
    invalid: () => ({ query: "  " }),
    outside: { parameters: { query: "Foreign" }, code: null },
    isEffect: false
  },
  task_delete: {
    agent: "lead",
    good: ({ ids }) => ({ taskId: ids.other, reason: "Not needed." }),
    bad: [({ ids }) => ({ taskId: ids.other })],
    task: any,
    invalid: ({ ids }) => ({ taskId: ids.other, reason: " " }),
    isEffect: true
  },
  task_message: {
    agent: "lead",
    good: ({ ids }, nonce) => ({ taskId: ids.own, content: `News ${nonce}` }),
    bad: [({ ids }) => ({ taskId: ids.own, content: { text: "x" } })],
    task: any,
    invalid: ({ ids }) => ({ taskId: ids.own, content: " " }),
    isCreation: true,
    isEffect: true
  },
  task_assign: {
    agent: "lead",
    good: ({ ids }) => ({ taskId: ids.own, assigneeSlugs: ["engineer"] }),
    bad: [({ ids }) => ({ taskId: ids.own, assigneeSlugs: "engineer" }), ({ ids }) => ({ taskId: ids.own })],
    task: { ...any, other: null },
    missing: ({ ids }) => ({ taskId: ids.own, assigneeSlugs: ["nobody-here"] }),
    isEffect: true
  },
  task_link_pr: {
    agent: "lead",
    good: ({ ids }) => ({ taskId: ids.own, prNumber: 17 }),
    bad: [({ ids }) => ({ taskId: ids.own, prNumber: "17" }), ({ ids }) => ({ taskId: ids.own, prNumber: 0 })],
    task: any,
    isEffect: true
  }
}

/** What a call came to, told alike for both transports. */
interface Outcome {
  readonly code: string | null
  readonly body: any
}

type Transport = (house: House, run: LiveRun, name: Name, parameters: unknown) => Effect.Effect<Outcome>

const textOf = (parameters: unknown) => (typeof parameters === "string" ? parameters : JSON.stringify(parameters))

const asFunction: Transport = ({ agentTools }, run, name, parameters) =>
  agentTools.executeAgentTool(run, { callId: "call_1", name, arguments: textOf(parameters) }).pipe(
    Effect.map((result): Outcome => {
      const body = JSON.parse(result.json)
      assert.strictEqual(body.tool, name)
      assert.strictEqual(body.success, result.success)
      return { code: result.success ? null : body.code, body }
    }),
    Effect.catch((failure) =>
      Effect.succeed({ code: failure._tag === "LeaseLost" ? "lease_lost" : "unavailable", body: null })
    )
  )

const overHttp: Transport = ({ post }, run, name, parameters) =>
  Effect.gen(function* () {
    const path = allTools.find((tool) => tool.name === name)!.path
    const { body, status } = yield* post(path, run, textOf(parameters))
    assert.strictEqual(body.tool, name)
    assert.strictEqual(body.success, status === 200)
    if (status !== 200) assert.strictEqual(status, statusOfCode(body.code), `${name}: ${body.code}`)
    return { code: status === 200 ? null : body.code, body }
  })

const transports: ReadonlyArray<readonly [string, Transport]> = [
  ["as a function tool", asFunction],
  ["over HTTP", overHttp]
]

layer(TableHouse.layer, { timeout: 60_000 })("every tool over both transports", (it) => {
  for (const [how, transport] of transports) {
    for (const { name } of allTools) {
      const row = rows[name]
      const call = (house: House, parameters: unknown, run: LiveRun = house.runs[row.agent]!) =>
        transport(house, run, name, parameters)

      describe(`${name} ${how}`, () => {
        it.effect("does what is allowed, and answers by its schema", () =>
          Effect.gen(function* () {
            const house = yield* TableHouse
            // Deleting comes for a task of its own.
            const parameters =
              name === "task_delete"
                ? { taskId: yield* house.make("To be deleted"), reason: "Not needed." }
                : row.good(house, how)
            const first = yield* call(house, parameters)
            assert.isNull(first.code, JSON.stringify(first.body))
            // Sent again, a creation answers the first one; what sets a state finds it set, and what reads reads again.
            const second = yield* call(house, parameters)
            assert.isNull(second.code, JSON.stringify(second.body))
            if (row.isCreation !== true) return
            assert.isFalse(first.body.repeated)
            assert.deepStrictEqual(second.body, { ...first.body, repeated: true })
          })
        )

        it.effect("is refused if it is not offered", () =>
          Effect.gen(function* () {
            const house = yield* TableHouse
            const run = house.runs[row.agent]!
            const { agent } = run.context
            const flags = {
              canCreateTasks: false,
              canModifyTaskStatus: false,
              canCreateDocuments: false,
              canMentionAgents: false,
              canReviewTasks: false,
              canMarkDone: false
            }
            const bare = yield* house.variant(run, {
              context: { task: null, agent: { ...agent, isOrchestrator: false, flags } }
            })
            const { code } = yield* call(house, row.good(house, "bare"), bare)
            if (row.isAlwaysOffered === true) assert.isNull(code)
            else assert.strictEqual(code, "forbidden")
          }).pipe(Effect.scoped, Effect.ensuring(reopen))
        )

        it.effect("refuses arguments in another format", () =>
          Effect.gen(function* () {
            const house = yield* TableHouse
            const good = row.good(house, "shape")
            const cases: ReadonlyArray<unknown> = [
              ...row.bad.map((make) => make(house)),
              { ...good, unknownKey: 1 },
              "{not json",
              "[]",
              '"text"',
              "null"
            ]
            for (const parameters of cases) {
              assert.strictEqual((yield* call(house, parameters)).code, "malformed", JSON.stringify(parameters))
            }
          })
        )

        if (row.invalid !== undefined) {
          const { invalid } = row
          it.effect("refuses values that its schema allows and the rules do not", () =>
            Effect.gen(function* () {
              const house = yield* TableHouse
              assert.strictEqual((yield* call(house, invalid(house))).code, "invalid")
            })
          )
        }

        if (row.task !== undefined) {
          const { foreign, key, other } = row.task
          it.effect("keeps to the tasks it may touch: not another account's, and another one's only as it says", () =>
            Effect.gen(function* () {
              const house = yield* TableHouse
              const good = row.good(house, `tasks ${how}`)
              const elsewhere =
                name === "task_delete" ? yield* house.make("Another to be deleted") : yield* house.make("Elsewhere")
              assert.strictEqual((yield* call(house, { ...good, [key]: house.ids.foreign })).code, foreign)
              assert.strictEqual((yield* call(house, { ...good, [key]: elsewhere })).code, other)
              // An id of another table, and one of none.
              const missing = foreign
              assert.strictEqual((yield* call(house, { ...good, [key]: house.documentId })).code, missing)
              assert.strictEqual((yield* call(house, { ...good, [key]: "no such id" })).code, missing)
            })
          )
        }

        if (row.outside !== undefined) {
          const { code, parameters } = row.outside
          it.effect("sees and touches nothing of another account", () =>
            Effect.gen(function* () {
              const house = yield* TableHouse
              const answer = yield* call(house, parameters)
              assert.strictEqual(answer.code, code)
              assert.notInclude(JSON.stringify(answer.body), house.ids.foreign)
              if (name === "response_request") assert.deepStrictEqual(answer.body.asked, [])
            })
          )
        }

        if (row.missing !== undefined) {
          const { missing } = row
          it.effect("reports what it does not find", () =>
            Effect.gen(function* () {
              const house = yield* TableHouse
              assert.strictEqual((yield* call(house, missing(house))).code, "not_found")
            })
          )
        }

        const modes: ReadonlyArray<readonly [Mode, string]> = [
          ["away", "unavailable"],
          ["token", "unavailable"],
          ["conflict", "conflict"],
          ["limit", "limit"]
        ]
        it.effect("passes on an unavailable control plane, a refusal and a conflict", () =>
          Effect.gen(function* () {
            const house = yield* TableHouse
            for (const [mode, code] of modes) {
              assert.strictEqual((yield* house.during(mode, call(house, row.good(house, "failing")))).code, code)
            }
          })
        )

        it.effect(row.isEffect ? "does nothing under a stale epoch" : "reads under any epoch", () =>
          Effect.gen(function* () {
            const house = yield* TableHouse
            const run = house.runs[row.agent]!
            const stale = yield* house.variant(run, { fence: { epoch: run.fence.epoch - 1 } })
            const { code } = yield* call(house, row.good(house, "stale"), stale)
            assert.strictEqual(code, row.isEffect ? "lease_lost" : null)
          }).pipe(Effect.scoped, Effect.ensuring(reopen))
        )
      })
    }
  }

  it.effect("answers the typed client of the same contract", () =>
    Effect.gen(function* () {
      const { headersOf, ids, runs, url } = yield* TableHouse
      const client = yield* HttpApiClient.make(AgentApi, {
        transformClient: HttpClient.mapRequest(HttpClientRequest.prependUrl(url))
      }).pipe(Effect.provide(FetchHttpClient.layer))
      const headers = headersOf(runs["engineer"]!)
      const { task } = yield* client.task_load({ headers, payload: { taskId: ids.own } })
      assert.strictEqual(task.title, "Own")
      const refused = yield* Effect.flip(
        client.task_status({ headers, payload: { taskId: ids.other, status: "review" } })
      )
      assert.include(refused, { tool: "task_status", success: false, code: "forbidden" })
      const unknown = yield* Effect.flip(client.task_load({ headers: {}, payload: { taskId: ids.own } }))
      assert.include(unknown, { code: "unauthenticated" })
    })
  )
})

/** A variant of a run takes its session's place among the live ones: the original gets it back. */
const reopen = Effect.gen(function* () {
  const house = yield* TableHouse
  for (const [slug, run] of Object.entries(house.runs)) house.runs[slug] = yield* house.reopen(run)
})
