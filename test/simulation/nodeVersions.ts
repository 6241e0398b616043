#!/usr/bin/env node
/** `npm run test:node`: runs the same seeds on this Node and on the next major, and compares the hashes of their traces. */
import { spawnSync } from "node:child_process"
import { join } from "node:path"

const OTHER = "26.10.0"
const seeds = ["--seeds", "20"]
const main = join(import.meta.dirname, "main.ts")

/** The hashes that a Node prints, one line for each seed. */
const hashesOf = (command: string, args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const { error, status, stderr, stdout } = spawnSync(command, args, { encoding: "utf8" })
  if (error !== undefined || status !== 0) {
    process.stderr.write(`${command} ${args.join(" ")} ended with ${status ?? error?.message}\n${stdout}${stderr}`)
    process.exit(1)
  }
  return stdout.split("\n").filter((line) => line.startsWith("seed ") || line.startsWith("v"))
}

// The package `node` itself has an install script, which .npmrc does not allow.
const npx = ["--yes", "--package", `node-${process.platform}-${process.arch}@${OTHER}`, "--", "node"]
const [version] = hashesOf("npx", [...npx, "--version"])
const here = hashesOf(process.execPath, [main, ...seeds])
const there = hashesOf("npx", [...npx, main, ...seeds])
const different = here.filter((line, index) => line !== there[index])
process.stdout.write(
  `${process.version} and ${version}: ${here.length} seeds, ${different.length} with different traces\n`
)
for (const line of different) process.stdout.write(`${line} on ${process.version}\n`)
process.exitCode = version === `v${OTHER}` && here.length === 20 && different.length === 0 ? 0 : 1
