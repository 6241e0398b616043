import { spawn } from "node:child_process"
import { once } from "node:events"
import { Effect } from "effect"
import { entry } from "./entry.ts"

/** A command that runs until Ctrl-C, such as `thread --follow`, in a process that the scope ends, and its output. */
export const followed = Effect.fnUntraced(function* (env: Record<string, string>, ...command: Array<string>) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [entry, ...command], {
        env: { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent", ...env },
        stdio: ["ignore", "pipe", "inherit"]
      })
    ),
    (running) => Effect.sync(() => void running.kill("SIGKILL"))
  )
  const ended = once(child, "exit")
  let said = ""
  const chunks: Array<{ readonly at: number; readonly text: string }> = []
  child.stdout.on("data", (chunk: Buffer) => {
    const text = chunk.toString("utf8")
    said += text
    chunks.push({ at: performance.now(), text })
  })
  return {
    said: Effect.sync(() => said),
    /** The output in parts, each with its time of arrival by `performance.now`. */
    chunks,
    /** Its exit code after Ctrl-C. */
    interrupted: Effect.promise(async () => {
      child.kill("SIGINT")
      return Number((await ended)[0])
    })
  }
})
