/**
 * Runs the conformance suite and a delivery against a Convex deployment that has the functions of `convex/`:
 * `CONVEX_DEPLOY_KEY=... npm run test:convex -- --url <deployment url>`.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { optionsOf, refuse } from "../../bench/options.ts"
import { personAt } from "../../local/person.ts"

const project = join(import.meta.dirname, "..", "..")
const usage = `usage: npm run test:convex -- --url <deployment url> [vitest filters]
  --url URL   the deployment, as CONVEX_URL names it
CONVEX_DEPLOY_KEY is its deploy key or admin key. The suite makes accounts named "Conformance test" and leaves them there:
use a deployment for development.
`

const { positionals, values } = optionsOf("test:convex", usage, {
  allowPositionals: true,
  options: { url: { type: "string" }, help: { type: "boolean", default: false } }
})
if (values.help) {
  process.stdout.write(usage)
  process.exit(0)
}

const urlOf = (text: string | undefined): string => {
  if (text === undefined) return refuse("test:convex", "--url is missing", usage)
  const url = URL.parse(text)
  return url?.protocol === "http:" || url?.protocol === "https:"
    ? url.origin
    : refuse("test:convex", `--url is "${text}": give an address that begins with https:// or http://`, usage)
}
const url = urlOf(values.url)
const adminKey = process.env["CONVEX_DEPLOY_KEY"] ?? ""
if (adminKey === "") refuse("test:convex", "CONVEX_DEPLOY_KEY is not set", usage)

const fail = (line: string): never => {
  process.stderr.write(`test:convex: ${line}\n`)
  return process.exit(1)
}

const reasonOf = (error: unknown): string => {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (!(cause instanceof Error)) return String(cause)
  return "code" in cause ? String(cause.code) : cause.message
}

await fetch(`${url}/version`, { signal: AbortSignal.timeout(15_000) }).catch((error: unknown) =>
  fail(`cannot reach ${url}: ${reasonOf(error)}. Check --url, and that the deployment runs.`)
)
await personAt(url, adminKey, "conformance")
  .query("app/accounts:list", {})
  .catch((error: unknown) =>
    fail(
      `${url} does not answer app/accounts:list: ${reasonOf(error)}. Check that CONVEX_DEPLOY_KEY is the key of this deployment, and deploy convex/ to it.`
    )
  )

const vitest = join(project, "node_modules", "vitest", "vitest.mjs")
// A run within another run of vitest must not take itself for a part of it.
const { VITEST: _, ...env } = process.env
const tests = spawn(process.execPath, [vitest, "run", "--project", "convex-deployment", ...positionals], {
  cwd: project,
  stdio: ["ignore", "inherit", "inherit"],
  env: { ...env, CONVEX_TEST_URL: url, CONVEX_TEST_ADMIN_KEY: adminKey }
})
const [code] = (await once(tests, "exit")) as [number | null]
process.exit(code ?? 1)
