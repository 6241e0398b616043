import { globSync } from "node:fs"
import { join } from "node:path"
import { Schema } from "effect"
import { describe, expect, it } from "vitest"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { ServicePath } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { Backlog, RenewAnswer, Wake } from "../../src/domain/delivery/Run.ts"
import type { ControlPlaneCalls } from "../../src/services/ControlPlaneCalls.ts"

const folder = join(import.meta.dirname, "../../convex/service")

/** Every public function of convex/service, by its path. */
const deployed = async (): Promise<ReadonlyArray<string>> => {
  const paths: Array<string> = []
  for (const file of globSync("*.ts", { cwd: folder })) {
    const module = (await import(join(folder, file))) as Record<string, { readonly isPublic?: boolean }>
    for (const [name, each] of Object.entries(module)) {
      if (each.isPublic === true) paths.push(`service/${file.replace(/\.ts$/, "")}:${name}`)
    }
  }
  return paths.toSorted()
}

describe("the list of functions", () => {
  it("contains every function that convex/ offers to runtimes, except these", async () => {
    const listed = new Set<string>(Object.values(functions))
    expect((await deployed()).filter((path) => !listed.has(path))).toEqual(uncalled)
  })

  it("names each function once, and only functions of convex/", async () => {
    const paths = Object.values(functions)
    expect(new Set(paths).size).toBe(paths.length)
    expect(await deployed()).toEqual(expect.arrayContaining(paths))
  })
})

/** Not called by the runtime, because agents read shortened documents, from `service/documents:list`. */
const uncalled: ReadonlyArray<ServicePath> = ["service/documents:get"]

/** Never runs. tsc compiles it, and a comment marks each line that must not compile. */
export const refusedByTheCompiler = (calls: ControlPlaneCalls) => {
  const self = { runtimeId: "runtime_1", bootId: "boot_1" }
  const lease = { session: "session_1", epoch: 1 }
  const leases: ReadonlyArray<typeof lease> = [lease]
  return [
    // Each of these is right, so that the lines below fail for the given reason.
    calls.query(functions.backlog, Backlog),
    calls.query(functions.deadLetters, Schema.Unknown),
    calls.query(functions.deadLetters, Schema.Unknown, { limit: 1 }),
    calls.mutation(functions.renew, RenewAnswer, { ...self, leases, leaseMs: 1 }),
    // @ts-expect-error there is no such function
    "service/sessions:claimBeat" satisfies ServicePath,
    // @ts-expect-error a mutation is not a query
    calls.query(functions.renew, RenewAnswer, { ...self, leases, leaseMs: 1 }),
    // @ts-expect-error nor is a query a mutation
    calls.mutation(functions.backlog, Backlog),
    // @ts-expect-error only queries can be followed
    calls.follow(functions.renew, RenewAnswer, { ...self, leases, leaseMs: 1 }),
    // @ts-expect-error arguments are missing
    calls.mutation(functions.renew, RenewAnswer),
    // @ts-expect-error one argument is missing
    calls.mutation(functions.renew, RenewAnswer, { ...self, leases }),
    // @ts-expect-error an argument is of another type
    calls.mutation(functions.renew, RenewAnswer, { ...self, leases, leaseMs: "1" }),
    // @ts-expect-error Convex refuses an argument that the function does not take
    calls.mutation(functions.renew, RenewAnswer, { ...self, leases, leaseMs: 1, settings }),
    // @ts-expect-error also one that is spread
    calls.mutation(functions.renew, RenewAnswer, { ...self, leases, leaseMs: 1, ...lease }),
    // @ts-expect-error also where all arguments are optional
    calls.query(functions.deadLetters, Schema.Unknown, { limit: 1, before: 2 }),
    // @ts-expect-error the schema wants a field that the answer lacks
    calls.query(functions.backlog, Wake),
    // @ts-expect-error the schema wants a field of another type
    calls.query(functions.backlog, Schema.Struct({ oldest: Schema.Finite }))
  ]
}
