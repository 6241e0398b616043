/** The demonstration as a process. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"

const root = join(import.meta.dirname, "..", "..", "..")
const started: Array<ChildProcess> = []

export type Run = { readonly child: ChildProcess; readonly out: () => string; readonly err: () => string }

/** Starts it with these arguments; `env` is added to the environment, and undefined removes a variable. */
export const demo = (args: ReadonlyArray<string> = [], env: NodeJS.ProcessEnv = {}): Run => {
  const child = spawn(process.execPath, [join(root, "local/demo/main.ts"), ...args], {
    cwd: root,
    env: { ...process.env, ...env }
  })
  started.push(child)
  let out = ""
  let err = ""
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (out += chunk))
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (err += chunk))
  return { child, out: () => out, err: () => err }
}

/** Waits for its end, and returns the exit code. */
export const ended = async ({ child }: Run): Promise<number | null> => {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit")
  return child.exitCode
}

/** Waits until the condition holds. */
export const until = async (isSo: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 25))
}

/** Kills all that still run, for `afterEach`. */
export const endDemos = (): void => {
  for (const child of started.splice(0)) child.kill("SIGKILL")
}
