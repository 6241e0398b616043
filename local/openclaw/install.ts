/** Installs the OpenClaw gateway. It is no dependency of this package, because it takes 650 MB. */
import { spawn } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

/** The package whose lockfile pins the release. It keeps its `node_modules` over `npm ci` in the checkout. */
const folder = join(import.meta.dirname, "..", "..", "test", "openclaw")

interface Package {
  readonly version?: string
  readonly dependencies: { readonly openclaw: string }
}

const readPackage = (path: string): Package => JSON.parse(readFileSync(path, "utf8")) as Package

/** The release that the lockfile pins. */
export const pinnedVersion = readPackage(join(folder, "package.json")).dependencies.openclaw

/** An installed release. */
export interface InstalledOpenClaw {
  /** The folder of its package. */
  readonly folder: string
  /** The path of the script for Node.js. */
  readonly command: string
  /** The path of the executable, which finds Node.js in the path. */
  readonly program: string
}

const homeOf = (version: string): string => (version === pinnedVersion ? folder : join(folder, ".versions", version))

/** The release, if it is installed completely: npm writes its own list of packages last. */
export const installedOpenClaw = (version: string): InstalledOpenClaw | undefined => {
  const modules = join(homeOf(version), "node_modules")
  const installed = join(modules, "openclaw")
  const manifest = join(installed, "package.json")
  const isComplete = existsSync(join(modules, ".package-lock.json")) && existsSync(manifest)
  return isComplete && readPackage(manifest).version === version
    ? { folder: installed, command: join(installed, "openclaw.mjs"), program: join(modules, ".bin", "openclaw") }
    : undefined
}

/**
 * Installs the release in a separate folder if it is missing. `onPackage` is called with the number of packages that npm
 * has fetched. Rejects with npm's reason in one line.
 */
export const installOpenClaw = async (
  version: string,
  options: { readonly signal?: AbortSignal; readonly onPackage?: (fetched: number) => void } = {}
): Promise<InstalledOpenClaw> => {
  const found = installedOpenClaw(version)
  if (found !== undefined) return found
  const home = homeOf(version)
  const isPinned = home === folder
  if (!isPinned) {
    mkdirSync(home, { recursive: true })
    const own = readPackage(join(folder, "package.json"))
    const changed = { ...own, name: "runtime-service-openclaw-version", dependencies: { openclaw: version } }
    writeFileSync(join(home, "package.json"), JSON.stringify(changed, null, 2))
  }
  await npm(isPinned ? "ci" : "install", home, options)
  const installed = installedOpenClaw(version)
  if (installed === undefined) throw new Error(`npm did not install openclaw ${version} in ${home}`)
  return installed
}

/** npm's log has a line for each package that it fetches from a registry or from its cache. */
const packageLine = /^npm http (?:fetch|cache) .*\.tgz\b/
/** npm's codes for a registry that it cannot reach. */
const unreachable =
  /\b(EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ENOTCACHED|ENOTFOUND|ETIMEDOUT|ERR_SOCKET_TIMEOUT)\b/

const reasonOf = (errors: ReadonlyArray<string>, code: number | null): string => {
  const [, problem] = unreachable.exec(errors.join("\n")) ?? []
  if (problem !== undefined) return `npm cannot reach its registry (${problem}): check the network`
  const text = errors.filter((line) => !line.startsWith("A complete log")).join(" ")
  return `npm ended with exit code ${code}${text === "" ? "" : `: ${text.slice(0, 500)}`}`
}

const npm = (
  command: "ci" | "install",
  cwd: string,
  { onPackage, signal }: { readonly signal?: AbortSignal; readonly onPackage?: (fetched: number) => void }
): Promise<void> =>
  new Promise((resolve, reject) => {
    const args = [
      command,
      // Scripts stay off: the gateway runs without them, and npm releases differ in whether they run them.
      "--omit=optional",
      "--ignore-scripts",
      "--no-audit",
      "--no-fund",
      "--no-progress",
      "--loglevel=http",
      // Without a network npm would repeat each request for more than a minute.
      "--fetch-retry-factor=2",
      "--fetch-retry-mintimeout=2000"
    ]
    // npm must not get the variables with which `npm run` describes this package to its children.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^npm_(?:package|lifecycle|config_local)/i.test(name))
    )
    const child = spawn("npm", args, { cwd, env, stdio: ["ignore", "ignore", "pipe"], signal })
    const errors: Array<string> = []
    let fetched = 0
    let partial = ""
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      const lines = (partial + chunk).split("\n")
      partial = lines.pop() ?? ""
      for (const line of lines) {
        if (packageLine.test(line)) onPackage?.((fetched += 1))
        const [, text] = /^npm (?:error|ERR!) (.+)/.exec(line) ?? []
        if (text !== undefined) errors.push(text.trim())
      }
    })
    child.on("error", (error) => reject(new Error(`npm could not be started: ${error.message}`)))
    child.on("close", (code) => (code === 0 ? resolve() : reject(new Error(reasonOf(errors, code)))))
  })
