import { spawn } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const folder = import.meta.dirname

interface Package {
  readonly version?: string
  readonly dependencies: { readonly openclaw: string }
}

const readPackage = (path: string): Package => JSON.parse(readFileSync(path, "utf8")) as Package

/** The release that the lockfile in this folder pins. */
export const pinnedVersion = readPackage(join(folder, "package.json")).dependencies.openclaw

/** Installs that release of OpenClaw in a separate folder if it is missing, and returns the path of its command. */
export const installOpenClaw = async (version: string): Promise<string> => {
  const pinned = version === pinnedVersion
  const home = pinned ? folder : join(folder, ".versions", version)
  const installed = join(home, "node_modules", "openclaw")
  const manifest = join(installed, "package.json")
  if (!existsSync(manifest) || readPackage(manifest).version !== version) {
    process.stderr.write(`installing openclaw ${version} in ${home}\n`)
    if (!pinned) {
      mkdirSync(home, { recursive: true })
      const own = readPackage(join(folder, "package.json"))
      writeFileSync(
        join(home, "package.json"),
        JSON.stringify(
          { ...own, name: "runtime-service-openclaw-version", dependencies: { openclaw: version } },
          null,
          2
        )
      )
    }
    // Scripts stay off: the gateway runs without them, and npm releases differ in whether they run them.
    const options = ["--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    await npm([pinned ? "ci" : "install", ...options], home)
  }
  return join(installed, "openclaw.mjs")
}

const npm = (args: ReadonlyArray<string>, cwd: string): Promise<void> =>
  new Promise((resolve, reject) => {
    // npm must not get the variables with which `npm run` describes this package to its children.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^npm_(?:package|lifecycle|config_local)/i.test(name))
    )
    const child = spawn("npm", [...args], { cwd, env, stdio: ["ignore", "inherit", "inherit"] })
    child.on("error", reject)
    child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`npm ${args.join(" ")} ended with ${code}`))))
  })
