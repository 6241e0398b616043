#!/usr/bin/env node
/**
 * The scripted gateway as a process. It prints one JSON line on stdout when it is ready, and everything else on stderr.
 */
import { join } from "node:path"
import { parseArgs } from "node:util"
import { readScript } from "../model/script.ts"
import { configIssues, ConfigRefused } from "./config.ts"
import { knownVersions, releaseOf } from "./release.ts"
import { ScriptedGateway } from "./server.ts"

const usage = `usage: node local/gateway/main.ts [gateway run | config validate [--json]] [options]
  --port N            port on 127.0.0.1; OPENCLAW_GATEWAY_PORT, then gateway.port of the config, then a free one
  --token TOKEN       bearer token; OPENCLAW_GATEWAY_TOKEN, then gateway.auth.token of the config
  --agents a,b        agent ids; otherwise those of the config, otherwise alpha and beta
  --config FILE       configuration in OpenClaw's form, watched; OPENCLAW_CONFIG_PATH
  --as VERSION        answer like ${knownVersions.join(" or ")}
  --model-url URL     provider, ending in /v1; otherwise a scripted model in this process
  --script FILE       script of that model
  --state DIR         keep sessions; OPENCLAW_STATE_DIR
  --time-scale X      multiply every slow wait of the real gateway
  --max-concurrent N  runs at the same time
  --tool-search BOOL  hide client tools behind Tool Search
  --ready-after MS    live but not ready for this long
  --die-with-parent   exit when stdin ends
  --version           print the version and exit`

const fail = (message: string, code = 1): never => {
  process.stderr.write(`gateway: ${message}\n`)
  process.exit(code)
}

const readArguments = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        port: { type: "string" },
        token: { type: "string" },
        agents: { type: "string" },
        config: { type: "string" },
        as: { type: "string", default: "2026.9.6" },
        "model-url": { type: "string" },
        script: { type: "string" },
        state: { type: "string" },
        "time-scale": { type: "string", default: "1" },
        "max-concurrent": { type: "string" },
        "tool-search": { type: "string" },
        "ready-after": { type: "string" },
        "die-with-parent": { type: "boolean", default: false },
        version: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false }
      }
    })
  } catch (error) {
    return fail(`${(error as Error).message}\n${usage}`)
  }
}

const numberOf = (name: string, text: string | undefined, from: number, to: number): number | undefined => {
  if (text === undefined) return undefined
  const value = Number(text)
  if (text.trim() === "" || !(value >= from && value <= to))
    fail(`${name} ${text} is not a number from ${from} to ${to}`)
  return value
}

const { values, positionals } = readArguments()
const { env } = process
if (values.help) {
  process.stderr.write(`${usage}\n`)
  process.exit(0)
}
if (releaseOf(values.as) === undefined) fail(`--as ${values.as} is not one of ${knownVersions.join(", ")}`)
if (values.version) {
  process.stdout.write(`OpenClaw ${values.as} (scripted)\n`)
  process.exit(0)
}
const command = positionals.join(" ")
if (!["", "gateway run", "config validate"].includes(command)) fail(`unknown command "${command}"`)
const asGateway = command === "gateway run"

const port = numberOf("--port", values.port ?? env["OPENCLAW_GATEWAY_PORT"], 0, 65_535)
const stateDir = values.state ?? env["OPENCLAW_STATE_DIR"]
const config =
  values.config ??
  env["OPENCLAW_CONFIG_PATH"] ??
  (asGateway && stateDir !== undefined ? join(stateDir, "openclaw.json") : undefined)

if (command === "config validate") {
  const path = config ?? ""
  const issues = configIssues(path)
  const valid = issues.length === 0
  const report = valid
    ? { valid, path, warnings: [] }
    : { ok: false, error: { type: "cli_error", message: `OpenClaw config is invalid: ${path}` }, valid, path, issues }
  const listed = issues.map((issue) => `${issue.path}: ${issue.message}`).join("\n")
  process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : `${valid ? `Config valid: ${path}` : listed}\n`)
  process.exit(valid ? 0 : 1)
}

try {
  const gateway = await ScriptedGateway.start({
    port: port ?? (asGateway && config === undefined ? 18_789 : undefined),
    token: values.token ?? env["OPENCLAW_GATEWAY_TOKEN"],
    agents: values.agents?.split(",").filter((agent) => agent !== ""),
    config,
    version: values.as,
    modelUrl: values["model-url"],
    script: values.script === undefined ? undefined : readScript(values.script),
    stateDir,
    timeScale: numberOf("--time-scale", values["time-scale"], 0, 1_000),
    maxConcurrent: numberOf("--max-concurrent", values["max-concurrent"], 1, 10_000),
    toolSearch: values["tool-search"] === undefined ? undefined : values["tool-search"] === "true",
    readyAfterMs: numberOf("--ready-after", values["ready-after"], 0, 600_000),
    log: (line) => process.stderr.write(`gateway: ${line}\n`)
  })
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      gateway.drain().then(
        () => process.exit(0),
        (error: unknown) => fail(String(error))
      )
    })
  }
  if (values["die-with-parent"]) process.stdin.on("end", () => process.exit(0)).resume()
  const ready = { ready: true, name: "gateway", url: gateway.url, version: values.as, pid: process.pid }
  process.stdout.write(`${JSON.stringify(ready)}\n`)
} catch (error) {
  if (error instanceof ConfigRefused) fail(error.message, 78)
  if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") {
    fail(`another gateway instance is already listening on port ${port}: EADDRINUSE`)
  }
  fail((error as Error).message)
}
