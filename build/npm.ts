/** Runs npm in another folder than the one whose script runs. */
import { execFileSync } from "node:child_process"

/** The environment without the variables with which `npm run` describes its package to npm in its children. */
const environment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(?:package|lifecycle|config_local)/i.test(name))
  )

/** Runs npm in `folder` and returns what it printed. Throws an error with npm's output if it fails. */
export const npmIn = (folder: string, ...args: ReadonlyArray<string>): string => {
  try {
    return execFileSync("npm", args, {
      cwd: folder,
      env: environment(),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 64 * 1024 * 1024
    })
  } catch (error) {
    const { stderr, message } = error as Error & { readonly stderr?: string }
    throw new Error(`npm ${args.join(" ")} failed in ${folder}: ${stderr?.trim() || message}`, { cause: error })
  }
}
