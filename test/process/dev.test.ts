import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, rmSync, utimesSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterEach, assert, describe, it } from "vitest"

const root = join(import.meta.dirname, "../..")
const started: Array<ChildProcess> = []

/** Starts `npm run dev` without npm, and waits until it has printed the page's address. */
const startDev = async () => {
  const child = spawn(process.execPath, [join(root, "local/dev/main.ts")], { cwd: root })
  started.push(child)
  let out = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => (out += chunk))
  }
  const shown = async (isShown: (out: string) => boolean): Promise<void> => {
    while (!isShown(out)) {
      if (child.exitCode !== null) throw new Error(`npm run dev ended with ${child.exitCode}:\n${out}`)
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }
  await shown((out) => out.includes("Page: "))
  const valueOf = (label: string): string => new RegExp(`^${label}: (.+)$`, "m").exec(out)?.[1] ?? ""
  const urls = [...new Set(out.match(/http:\/\/127\.0\.0\.1:\d+/g))]
  return { child, shown, page: valueOf("Page"), command: valueOf("Commands"), logs: valueOf("Logs"), urls }
}

/** Number of occurrences of the text. */
const count = (out: string, text: string): number => out.split(text).length - 1

const isServed = (url: string): Promise<boolean> =>
  fetch(url).then(
    () => true,
    () => false
  )

/** Changes the file's time, like an editor that saves it without a change of its text. */
const save = (file: string): void => utimesSync(join(root, file), new Date(), new Date())

afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL")
})

describe("npm run dev", () => {
  it("serves the page, delivers typed messages, restarts changed processes with their data, and ends at Ctrl-C", async () => {
    const { child, shown, page, command, logs, urls } = await startDev()
    assert.strictEqual((await fetch(page)).status, 200)
    child.stdin.write("@engineer are you there?\n")
    await shown((out) => count(out, "Engineer: Here I am.") === 1 && out.includes("delivery replied"))

    const [node, ...args] = command.split(" ")
    const { stdout } = await promisify(execFile)(node ?? "", args, { cwd: root })
    assert.include(stdout, "engineer")

    save("src/main.ts")
    await shown((out) => count(out, "runtime ready") === 2)
    assert.strictEqual((await fetch(page)).status, 200)
    save("convex/schema.ts")
    await shown((out) => count(out, "control plane ready") === 2)
    save("local/gateway/main.ts")
    await shown((out) => count(out, "gateway ready") === 2)
    child.stdin.write("@engineer and now?\n")
    await shown((out) => count(out, "Engineer: Here I am.") === 2)

    child.kill("SIGINT")
    const [code] = await once(child, "exit")
    assert.strictEqual(code, 0)
    assert.isAtLeast(urls.length, 3)
    for (const url of urls) assert.isFalse(await isServed(url), `${url} is still served`)
    assert.isFalse(existsSync(logs))
  })

  it("leaves no process behind if it is killed with -9", async () => {
    const { child, logs, urls } = await startDev()
    child.kill("SIGKILL")
    while ((await Promise.all(urls.map(isServed))).some((served) => served)) {
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    rmSync(logs, { recursive: true })
  })
})
