import { execFile } from "node:child_process"
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { entry } from "./entry.ts"

const kept = { PATH: process.env["PATH"] ?? "", NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"] ?? "" }

/** Runs the command line to its end, piped, in a separate environment. */
export const runIn = (env: Record<string, string>, ...args: ReadonlyArray<string>) =>
  Effect.promise(
    () =>
      new Promise<{ readonly code: number; readonly out: string; readonly err: string }>((done) => {
        execFile(
          process.execPath,
          [entry, ...args],
          { env: { ...kept, HOME: "/nonexistent", ...env }, timeout: 60_000 },
          (error, out, err) => done({ code: error === null ? 0 : Number(error.code ?? -1), out, err })
        )
      })
  )

/** Runs commands of one environment that must exit with 0, and returns their output. */
export const outputIn =
  (env: Record<string, string>) =>
  (...args: ReadonlyArray<string>) =>
    Effect.map(runIn(env, ...args), ({ code, err, out }) => {
      assert.strictEqual(code, 0, err)
      return out.trim()
    })
