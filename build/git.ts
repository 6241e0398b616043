import { execFileSync } from "node:child_process"

/** Runs git in `folder` and returns what it printed. Throws an error with git's output if it fails. */
export const gitIn = (folder: string, args: ReadonlyArray<string>, input = ""): string => {
  try {
    return execFileSync("git", args, { cwd: folder, encoding: "utf8", input, stdio: "pipe" }).trim()
  } catch (error) {
    const { stderr, message } = error as Error & { readonly stderr?: string }
    throw new Error(`git ${args.join(" ")} failed in ${folder}: ${stderr?.trim() || message}`, { cause: error })
  }
}

/** The same, but null if git fails, for questions to which no is an answer. */
export const askGit = (folder: string, ...args: ReadonlyArray<string>): string | null => {
  try {
    return gitIn(folder, args)
  } catch {
    return null
  }
}
