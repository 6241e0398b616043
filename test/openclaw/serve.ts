/**
 * The real gateway as a process with the scripted model behind it, for the demonstration and for tests that start their
 * own. It prints one JSON line on stdout when it is ready, and installs OpenClaw if it is missing.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { readScript } from "../../local/model/script.ts"
import { startModel } from "../../local/model/server.ts"
import { installOpenClaw, pinnedVersion } from "../../local/openclaw/install.ts"
import { RealGateway } from "./realGateway.ts"

const { values } = parseArgs({
  options: {
    agents: { type: "string", default: "alpha,beta" },
    script: { type: "string" },
    version: { type: "string", default: pinnedVersion },
    "die-with-parent": { type: "boolean", default: false }
  }
})

const root = mkdtempSync(join(tmpdir(), "mission-control-openclaw-"))
let gateway: RealGateway | undefined
let isEnding = false
const end = async (code: number): Promise<void> => {
  if (isEnding) return
  isEnding = true
  await gateway?.stop()
  rmSync(root, { recursive: true, force: true, maxRetries: 3 })
  process.exit(code)
}
process.on("exit", () => gateway?.kill())
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => void end(0))
if (values["die-with-parent"]) process.stdin.on("end", () => void end(0)).resume()

try {
  const { command } = await installOpenClaw(values.version)
  const model = await startModel(values.script === undefined ? {} : { script: readScript(values.script) })
  const started = await RealGateway.start({
    version: values.version,
    command,
    modelUrl: model.url,
    root,
    agents: values.agents.split(",")
  })
  gateway = started
  process.stdout.write(
    `${JSON.stringify({ ready: true, name: "openclaw", url: started.url, token: started.token, modelUrl: model.url, version: values.version, pid: process.pid })}\n`
  )
} catch (error) {
  process.stderr.write(`openclaw: ${error instanceof Error ? error.message : String(error)}\n`)
  await end(1)
}
