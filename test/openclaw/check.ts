#!/usr/bin/env node
/**
 * `npm run check:openclaw -- [--version 2026.9.7]`: compares the newest OpenClaw, or the one named, with the supported
 * range. It prints what differs from the last tested release, runs the contract suite against it, and stores the result.
 */
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { npmIn } from "../../build/npm.ts"
import { installOpenClaw } from "../../local/openclaw/install.ts"
import { showGatewayVersion, testedGatewayVersions } from "../../src/domain/gateway/GatewayVersion.ts"
import { compareConfig, readConfigSchema } from "./configSchema.ts"
import { protocolChanges } from "./protocolSchema.ts"
import { compareVersions, readResults } from "./results.ts"

const usage = `Usage: npm run check:openclaw -- [options]

Compares the newest OpenClaw with the supported range. If it is newer, installs it in a separate folder, prints what
differs, runs the contract suite against it, and stores the result in test/openclaw/results.json.

  --version VERSION   this release instead of the newest, for example 2026.9.7
  --help              print this text`

const print = (text: string): void => void process.stdout.write(`${text}\n`)

const oldest = showGatewayVersion(testedGatewayVersions.oldest)
const newest = showGatewayVersion(testedGatewayVersions.newest)

/** The release with the highest number, without previews. The registry's list is in the order of publication. */
const newestPublished = (): string => {
  const all: ReadonlyArray<string> = JSON.parse(npmIn(import.meta.dirname, "view", "openclaw", "versions", "--json"))
  const [version] = all.filter((each) => /^\d+\.\d+\.\d+$/.test(each)).toSorted((a, b) => compareVersions(b, a))
  if (version === undefined) throw new Error("the registry lists no release of openclaw")
  return version
}

const list = (title: string, lines: ReadonlyArray<string>): void => {
  print(`${title}: ${lines.length === 0 ? "none" : lines.length}`)
  for (const line of lines) print(`  ${line}`)
}

/** Prints what differs between the releases. True if nothing is gone that the runtime uses. */
const compare = async (version: string): Promise<boolean> => {
  const installed = await installOpenClaw(version)
  const protocol = await protocolChanges(installed)
  list("Protocol: used by the runtime, and gone or changed", protocol.broken)
  list("Protocol: other differences", protocol.other)
  const previous = readResults().find((result) => compareVersions(result.version, version) < 0)?.version ?? newest
  const config = compareConfig(readConfigSchema(await installOpenClaw(previous)), readConfigSchema(installed))
  list("Configuration: used by the runtime, and gone", config.broken)
  list(`Configuration: removed since ${previous}`, config.removed)
  list(`Configuration: added since ${previous}`, config.added)
  return protocol.broken.length + config.broken.length === 0
}

/** Runs the suite, which stores its result. */
const passes = (version: string): boolean => {
  const { status } = spawnSync(
    process.execPath,
    [join(import.meta.dirname, "run.ts"), "--version", version, "--record"],
    {
      stdio: "inherit"
    }
  )
  return status === 0
}

const check = async (): Promise<number> => {
  const { values } = parseArgs({ options: { version: { type: "string" }, help: { type: "boolean", default: false } } })
  if (values.help) {
    print(usage)
    return 0
  }
  if (values.version !== undefined && !/^\d+\.\d+\.\d+(-\S+)?$/.test(values.version)) {
    throw new Error(`--version is ${JSON.stringify(values.version)}: set it to a release, for example ${newest}.`)
  }
  const version = values.version ?? newestPublished()
  const isNewer = compareVersions(version, newest) > 0
  if (values.version === undefined && !isNewer) {
    print(`The newest OpenClaw is ${version}. The supported range, ${oldest} to ${newest}, includes it.`)
    return 0
  }
  print(
    `OpenClaw ${version} is ${isNewer ? "newer than" : "compared with"} the supported range, ${oldest} to ${newest}.`
  )
  const isCompatible = await compare(version)
  const isGood = passes(version) && isCompatible
  if (!isGood)
    print(`OpenClaw ${version} does not work as the runtime expects. test/openclaw/results.json has the result.`)
  else if (isNewer) {
    print(`OpenClaw ${version} works. To support it, change NEWEST_TESTED in src/domain/gateway/GatewayVersion.ts, the`)
    print(
      "pinned release in test/openclaw and deploy/openclaw, and the version in the documents; their tests name them."
    )
  }
  return isGood ? 0 : 1
}

try {
  process.exitCode = await check()
} catch (error) {
  const isUsage = error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS")
  const hint = isUsage ? ". See npm run check:openclaw -- --help." : ""
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}${hint}\n`)
  process.exitCode = 1
}
