/**
 * Runs the tests that need a real OpenClaw gateway: `npm run test:openclaw -- [--version 2026.8.2] [--keep] [--record]
 * [vitest arguments]`. `--record` stores the result of all tests in results.json and docs/gateway.md.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { startModel } from "../../local/model/server.ts"
import { installedOpenClaw, installOpenClaw, pinnedVersion } from "../../local/openclaw/install.ts"
import { RealGateway } from "./realGateway.ts"
import { recordResult, resultOf } from "./results.ts"

const project = join(import.meta.dirname, "..", "..")

const { values, tokens } = parseArgs({
  strict: false,
  tokens: true,
  allowPositionals: true,
  options: { version: { type: "string" }, keep: { type: "boolean" }, record: { type: "boolean" } }
})
const version = typeof values.version === "string" ? values.version : pinnedVersion
const ours = new Set(
  tokens.flatMap((token) => {
    if (token.kind !== "option" || !["version", "keep", "record"].includes(token.name)) return []
    return token.name === "version" && token.inlineValue === false ? [token.index, token.index + 1] : [token.index]
  })
)
const forVitest = process.argv.slice(2).filter((_, index) => !ours.has(index))
if (values.record === true && forVitest.length > 0) {
  process.stderr.write(`--record needs the result of all tests: leave out ${forVitest.join(" ")}\n`)
  process.exit(64)
}

if (installedOpenClaw(version) === undefined) process.stderr.write(`installing openclaw ${version}\n`)
const { command } = await installOpenClaw(version)
const root = mkdtempSync(join(tmpdir(), "mission-control-openclaw-"))
const model = await startModel()
let gateway: RealGateway | undefined
let tests: ReturnType<typeof spawn> | undefined
let code = 1

// The end of this process also ends the gateway's group, which would otherwise hold a gigabyte forever.
process.on("exit", () => gateway?.kill())
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    tests?.kill("SIGKILL")
    gateway?.kill()
    process.exit(130)
  })
}

try {
  process.stderr.write(`starting openclaw ${version} in ${root}\n`)
  gateway = await RealGateway.start({ version, command, modelUrl: model.url, root })
  process.stderr.write(`openclaw ${version} is ready at ${gateway.url}\n`)
  const vitest = join(project, "node_modules", "vitest", "vitest.mjs")
  const report = join(root, "report.json")
  const reporters = values.record === true ? ["--reporter=default", "--reporter=json", `--outputFile=${report}`] : []
  tests = spawn(process.execPath, [vitest, "run", "--project", "openclaw", ...reporters, ...forVitest], {
    cwd: project,
    stdio: ["ignore", "inherit", "inherit"],
    env: {
      ...process.env,
      OPENCLAW_TEST_URL: gateway.url,
      OPENCLAW_TEST_TOKEN: gateway.token,
      OPENCLAW_TEST_MODEL_URL: model.url,
      OPENCLAW_TEST_VERSION: version,
      OPENCLAW_TEST_STATE_DIR: gateway.stateDir,
      OPENCLAW_TEST_CONFIG_PATH: gateway.configPath,
      OPENCLAW_TEST_COMMAND: command
    }
  })
  const [exitCode] = (await once(tests, "exit")) as [number | null]
  code = exitCode ?? 1
  if (existsSync(report)) {
    const today = new Date().toISOString().slice(0, 10)
    recordResult(resultOf(version, today, JSON.parse(readFileSync(report, "utf8"))))
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
} finally {
  await gateway?.stop()
  await model.stop()
}
if (code === 0 && values.keep !== true) rmSync(root, { recursive: true, force: true, maxRetries: 3 })
else process.stderr.write(`the gateway's files and logs are in ${root}\n`)
process.exit(code)
