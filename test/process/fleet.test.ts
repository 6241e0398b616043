import { globSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { planeStats, resetPlaneStats } from "../../bench/planeStats.ts"
import { launchPlane } from "../../local/launcher.ts"
import type { LaunchedPlane } from "../../local/launcher.ts"
import { personAt } from "../../local/person.ts"
import { outputIn, runIn } from "./runIn.ts"
import { eventually } from "./setup.ts"

const root = join(import.meta.dirname, "../..")

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "mission-control-fleet-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const envOf = ({ adminKey, url }: LaunchedPlane) => ({ CONVEX_URL: url, CONVEX_DEPLOY_KEY: adminKey })

const fileOf = (count: number) => ({
  key: `account-${count}`,
  name: `Account ${count}`,
  members: [{ tokenIdentifier: "https://local.invalid|pat", name: "Pat", role: "owner" }],
  agents: [{ slug: "engineer", name: "Engineer", role: "builds" }],
  serviceToken: { label: "runtime" }
})

/** Accounts with an agent and an online runtime each. */
const makeAccounts = (plane: LaunchedPlane, count: number) => {
  const operator = personAt(plane.url, plane.adminKey)
  const makeOne = async (number: number) => {
    const { accountId, serviceToken } = await operator.mutation("operator/provisioning:apply", { file: fileOf(number) })
    await operator.mutation("service/runtimes:pulse", {
      accountId,
      serviceToken,
      runtimeId: "r1",
      bootId: "b1",
      status: "online",
      reasons: [],
      health: JSON.stringify({ delivery: { consecutiveFailures: number === 7 ? 5 : 0 } }),
      versions: { runtime: "1.0.0", openclaw: "2026.9.6" },
      infrastructure: { dropletId: null, ipAddress: null, region: null },
      intervalMs: 3_600_000
    })
  }
  return Effect.promise(async () => {
    for (let number = 0; number < count; number += 1) await makeOne(number)
  })
}

/** The functions in a folder of convex/ that are not public, by their path. */
const internalFunctions = async (name: string) => {
  const found: Array<{ readonly path: string; readonly kind: "query" | "mutation" }> = []
  for (const file of globSync(`convex/${name}/*.ts`, { cwd: root })) {
    const module = (await import(join(root, file))) as Record<string, any>
    for (const [key, each] of Object.entries(module)) {
      const path = `${file.replace("convex/", "").replace(".ts", "")}:${key}`
      assert.isTrue(each.isInternal, path)
      assert.notStrictEqual(each.exportReturns(), "null", path)
      found.push({ path, kind: each.isQuery === true ? "query" : "mutation" })
    }
  }
  return found
}

describe("the commands for a fleet", () => {
  it.live(
    "list two hundred accounts in four calls, each of which reads three documents of an account",
    () =>
      Effect.gen(function* () {
        const plane = yield* launchPlane()
        yield* makeAccounts(plane, 200)
        const fleet = outputIn(envOf(plane))
        yield* Effect.promise(() => resetPlaneStats(plane))
        const page = JSON.parse(yield* fleet("fleet", "list", "--json"))
        const names = page.accounts.map(({ name }: { readonly name: string }) => name)
        assert.deepStrictEqual(
          names,
          Array.from({ length: 200 }, (_, count) => `Account ${count}`)
        )
        const { functions } = yield* Effect.promise(() => planeStats(plane))
        const list = functions["operator/accounts:list"]
        assert.strictEqual(list?.calls, 4)
        // Of each account its row, its runtime and its budget.
        assert.strictEqual(list?.usage.documentsRead.max, 150)
        assert.isAtMost(list?.usage.readIntervals.max ?? Infinity, 301)
        const first = yield* fleet("fleet", "list", "--limit", "2")
        assert.match(first, /^ACCOUNT +NAME +STATE .*\n.* Account 0 +online +1\.0\.0 2026\.9\.6 .*\n.* Account 1 /)
        for (const line of first.split("\n")) assert.isAtMost(line.length, 80)
        const only = yield* fleet("fleet", "list", "--only", "failing", "--json")
        assert.deepStrictEqual(
          JSON.parse(only).accounts.map(({ name }: { readonly name: string }) => name),
          ["Account 7"]
        )
        const { accounts, next } = JSON.parse(yield* fleet("fleet", "list", "--limit", "199", "--json"))
        assert.lengthOf(accounts, 199)
        assert.include(yield* fleet("fleet", "list", "--after", String(next)), "Account 199")
      }).pipe(Effect.scoped),
    300_000
  )

  it.live(
    "provision an account from a file, show, pause, export and delete it",
    () =>
      Effect.gen(function* () {
        const plane = yield* launchPlane()
        const env = envOf(plane)
        const fleet = (...args: ReadonlyArray<string>) => outputIn(env)("fleet", ...args)
        const path = yield* folder
        const file = join(path, "acme.json5")
        const tokenFile = join(path, "acme.token")
        const archive = join(path, "acme.jsonl.gz")
        const write = (text: string) => writeFileSync(file, text)

        write('{ key: "acme", name: "Acme", agents: [{ name: "E", heartbeat: true }], color: "red" }')
        const wrong = yield* runIn(env, "fleet", "provision", file)
        assert.strictEqual(wrong.code, 1)
        assert.include(wrong.err, "agents[0].slug is missing: add it")
        assert.include(wrong.err, "agents[0].heartbeat must be a number or a text")
        assert.include(wrong.err, "color is not a field here")

        write(`// Our first customer\n${JSON.stringify({ ...fileOf(0), key: "acme", name: "Acme" })}`)
        assert.include(yield* fleet("provision", file), '- create the account "Acme" with the key acme')
        assert.include((yield* runIn(env, "fleet", "show", "acme")).err, "(not_found)")
        const tokenless = yield* runIn(env, "fleet", "provision", file, "--apply")
        assert.include(tokenless.err, "--token-file")
        const applied = yield* runIn(env, "fleet", "provision", file, "--apply", "--token-file", tokenFile)
        assert.strictEqual(applied.code, 0, applied.err)
        const token = readFileSync(tokenFile, "utf8").trim()
        assert.match(token, /^mc_service_\w+_[0-9a-f]{64}$/)
        assert.strictEqual(statSync(tokenFile).mode & 0o777, 0o600)
        assert.notInclude(applied.out + applied.err, token.slice(-64))
        const again = yield* runIn(env, "fleet", "provision", file, "--apply")
        assert.include(again.err, "Nothing to change")

        const shown = yield* fleet("show", "acme")
        assert.include(shown, "name        Acme")
        assert.include(shown, "@engineer")
        yield* fleet("pause", "Acm")
        assert.include(yield* fleet("show", "acme"), "state       paused")
        yield* fleet("resume", "acme")
        assert.include(yield* fleet("show", "acme", "--json"), '"isPaused": false')

        yield* fleet("export", "acme", "--file", archive)
        const text = gunzipSync(readFileSync(archive)).toString("utf8")
        const lines = text
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line))
        const { manifest } = lines.at(-1)
        assert.include(manifest, { format: 1, name: "Acme" })
        const counts: Record<string, number> = {}
        for (const { table } of lines.slice(0, -1)) counts[table] = (counts[table] ?? 0) + 1
        assert.deepStrictEqual(manifest.rows, counts)
        assert.include(counts, { accounts: 1, agents: 1, members: 1, serviceTokens: 1 })
        const existing = yield* runIn(env, "fleet", "export", "acme", "--file", archive)
        assert.strictEqual(existing.code, 1)
        assert.strictEqual(gunzipSync(readFileSync(archive)).toString("utf8"), text)

        const refused = yield* runIn(env, "fleet", "delete", "acme", "--yes-delete", "Acme Inc.")
        assert.include(refused.err, "Nothing was deleted")
        yield* fleet("delete", "acme", "--yes-delete", "Acme")
        yield* eventually(runIn(env, "fleet", "show", "acme"), ({ err }) => err.includes("(not_found)"))
        const { documents } = yield* Effect.promise(() => planeStats(plane))
        assert.deepStrictEqual(
          Object.entries(documents).filter(([table, count]) => count > 0 && !table.startsWith("_")),
          []
        )
      }).pipe(Effect.scoped),
    300_000
  )

  it.live(
    "need the deploy key, and never show it; without it no one can call their functions",
    () =>
      Effect.gen(function* () {
        const plane = yield* launchPlane()
        const missing = yield* runIn({ CONVEX_URL: plane.url }, "fleet", "list")
        assert.strictEqual(missing.code, 78)
        assert.include(missing.err, "CONVEX_DEPLOY_KEY is missing")
        const wrong = "local|0000000000000000"
        const stranger = yield* runIn({ CONVEX_URL: plane.url, CONVEX_DEPLOY_KEY: wrong }, "fleet", "list")
        assert.strictEqual(stranger.code, 1)
        assert.include(stranger.err, "Check CONVEX_DEPLOY_KEY. (unauthenticated)")
        assert.notInclude(stranger.err + stranger.out, wrong)
        const functions = yield* Effect.promise(() => internalFunctions("operator"))
        assert.isAbove(functions.length, 7)
        for (const { kind, path } of functions) {
          const body = JSON.stringify({ path, args: [{}], format: "convex_encoded_json" })
          const response = yield* Effect.promise(() => fetch(`${plane.url}/api/${kind}`, { method: "POST", body }))
          const { errorMessage, status } = (yield* Effect.promise(() => response.json())) as any
          assert.deepStrictEqual([path, status], [path, "error"])
          assert.match(errorMessage, /Server Error$/, path)
        }
      }).pipe(Effect.scoped),
    300_000
  )
})
