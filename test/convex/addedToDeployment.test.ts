import { execFile } from "node:child_process"
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { makeAccount } from "../../local/account.ts"
import { launchPlane } from "../../local/launcher.ts"
import { personAt } from "../../local/person.ts"
import { blocksIn } from "../documentCommands.ts"

const run = promisify(execFile)
const root = join(import.meta.dirname, "../..")

/** A product's folder with its own functions, to which the control plane is added step by step as the page says. */
const build = async (product: string): Promise<void> => {
  const convex = join(product, "convex")
  await mkdir(convex)
  await writeFile(
    join(product, "package.json"),
    JSON.stringify({ name: "shop", type: "module", dependencies: { convex: "*" } })
  )
  await symlink(join(root, "node_modules"), join(product, "node_modules"))
  await writeFile(
    join(convex, "orders.ts"),
    `import { v } from "convex/values"
import { mutation } from "./_generated/server.js"
export const add = mutation({
  args: { customer: v.string() },
  returns: v.id("orders"),
  handler: (ctx, { customer }) => ctx.db.insert("orders", { customer })
})
`
  )
  for (const folder of ["service", "app", "operator", "scheduled", "model", "tables"]) {
    await cp(join(root, "convex", folder), join(convex, folder), { recursive: true })
  }
  await cp(join(root, "src/domain/shared"), join(product, "src/domain/shared"), { recursive: true })
  const [schema] = blocksIn("docs/control-plane.md").filter(({ kind }) => kind === "ts")
  await writeFile(join(convex, "schema.ts"), schema?.text ?? "")
  await cp(join(root, "convex/crons.ts"), join(convex, "crons.ts"))
  const cli = join(root, "node_modules/convex/bin/main.js")
  const args = [cli, "codegen", "--system-udfs", "--typecheck", "disable"]
  await run(process.execPath, args, { cwd: product, timeout: 25_000 })
}

it.live("the functions of convex/ work next to a product's own, added as docs/control-plane.md says", () =>
  Effect.gen(function* () {
    const product = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "mission-control-product-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
    )
    yield* Effect.promise(() => build(product))
    const plane = yield* launchPlane({ args: ["--app", join(product, "convex")] })
    const person = personAt(plane.url, plane.adminKey)
    const { accountId, serviceToken } = yield* Effect.promise(() => makeAccount(person))
    assert.match(serviceToken, /^mc_service_/)
    const { taskId } = yield* Effect.promise(() => person.mutation("app/tasks:create", { accountId, title: "Hello" }))
    const content = "@engineer are you there?"
    yield* Effect.promise(() => person.mutation("app/messages:post", { accountId, taskId, content }))
    assert.isString(yield* Effect.promise(() => person.mutation("orders:add", { customer: "Pat" })))
    const backlog = yield* Effect.promise(() =>
      person.query("service/notifications:backlog", { accountId, serviceToken })
    )
    assert.isNumber(backlog.oldest)
  }).pipe(Effect.scoped)
)
