import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { assert, describe, it } from "vitest"

const run = promisify(execFile)
const terminal = new URL("../../../src/layers/host/Terminal.ts", import.meta.url).href

/** Prints four million characters, waits as given and exits. */
const scriptWith = (wait: string): string => `
  import { Effect } from "effect"
  import { outputTaken } from ${JSON.stringify(terminal)}
  console.log("x".repeat(4_000_000))
  await Effect.runPromise(${wait})
  process.exit(0)`

/** How many characters arrive at a pipe. */
const printed = async (wait: string): Promise<number> => {
  const args = ["--input-type=module", "-e", scriptWith(wait)]
  return (await run(process.execPath, args, { maxBuffer: 8_000_000 })).stdout.length
}

describe("output to a pipe", () => {
  it("does not fail the process if its reader is gone", async () => {
    const child = execFile(process.execPath, ["--input-type=module", "-e", scriptWith("outputTaken")])
    child.stdout?.once("data", () => child.stdout?.destroy())
    assert.strictEqual(await new Promise((done) => child.once("exit", done)), 0)
  })

  it("is complete if the process waits until it was taken", async () => {
    assert.strictEqual(await printed("outputTaken"), 4_000_001)
    assert.isBelow(await printed("Effect.void"), 4_000_001)
  })
})
