/** Programs that tests use and npm does not have: installed from Debian if this process may install packages. */
import { spawn } from "node:child_process"
import { accessSync, constants } from "node:fs"
import { delimiter, join } from "node:path"

const isInstalled = (command: string): boolean =>
  (process.env["PATH"] ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK)
      return true
    } catch {
      return false
    }
  })

/** Runs a command to its end. Returns null for exit code 0, otherwise its last output. */
const run = (command: string, args: ReadonlyArray<string>): Promise<string | null> =>
  new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
    })
    let words = ""
    const hear = (chunk: Buffer): void => {
      words = (words + chunk.toString("utf8")).slice(-2_000)
    }
    child.stdout.on("data", hear)
    child.stderr.on("data", hear)
    child.once("error", (error) => resolve(error.message))
    child.once("close", (code) => resolve(code === 0 ? null : words))
  })

/**
 * Installs Debian's package if the program is missing, and logs it. Returns null, or the reason why the program is not
 * available, with which tests skip.
 */
export const debianProgram = async (command: string, packageName: string): Promise<string | null> => {
  if (isInstalled(command)) return null
  if (!isInstalled("apt-get")) return `${command} is missing, and there is no apt-get to install it`
  if (process.getuid?.() !== 0) return `${command} is missing, and only root may install Debian's ${packageName}`
  process.stderr.write(`installing Debian's ${packageName} for ${command} ...\n`)
  const problem =
    (await run("apt-get", ["update", "-q"])) ??
    (await run("apt-get", ["install", "-y", "-q", "--no-install-recommends", packageName]))
  if (problem !== null) return `${command} is missing, and apt-get could not install ${packageName}:\n${problem}`
  return isInstalled(command) ? null : `Debian's ${packageName} has no ${command}`
}
