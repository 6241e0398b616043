import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { Agent, request } from "node:http"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { gatewayNodeArgs } from "../local/launcher.ts"
import { type Figure, figureOf } from "./figure.ts"

const entry = fileURLToPath(new URL("../local/gateway/main.ts", import.meta.url))
const sessions = 64
const turnsPerSample = 4_000
const samples = 5

/** Speed and size of the scripted gateway, which must not slow the tests and benches that use it. */
export const run = async (): Promise<ReadonlyArray<Figure>> => {
  const starts: Array<number> = []
  for (let index = 0; index < 3; index++) {
    const before = performance.now()
    const gateway = await start()
    starts.push(performance.now() - before)
    await stop(gateway.child)
  }
  const gateway = await start()
  const agent = new Agent({ keepAlive: true, maxSockets: sessions })
  try {
    await load(gateway.url, agent)
    const rates: Array<number> = []
    for (let index = 0; index < samples; index++) rates.push(await load(gateway.url, agent))
    const latencies: Array<number> = []
    for (let index = 0; index < 500; index++) {
      const before = performance.now()
      await turn(gateway.url, agent, 0)
      latencies.push(performance.now() - before)
    }
    const response = await fetch(`${gateway.url}/__local/stats`)
    const stats = (await response.json()) as { readonly rssBytes: number; readonly ownBytes: number }
    return [
      figureOf("scripted gateway: instant turns, 64 sessions", "turns/s", rates, { atLeast: 2_000 }),
      figureOf("scripted gateway: one turn, alone", "ms", latencies),
      figureOf("scripted gateway: its own memory after the turns", "MB", [stats.ownBytes / 2 ** 20], { below: 80 }),
      figureOf("scripted gateway: resident set, with the node binary", "MB", [stats.rssBytes / 2 ** 20]),
      figureOf("scripted gateway: process start to ready", "ms", starts)
    ]
  } finally {
    agent.destroy()
    await stop(gateway.child)
  }
}

const start = async (): Promise<{ readonly child: ChildProcess; readonly url: string }> => {
  const args = [...gatewayNodeArgs, entry, "--token", "bench", "--die-with-parent", "--max-concurrent", "64"]
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] })
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string]
  return { child, url: (JSON.parse(line) as { readonly url: string }).url }
}

const stop = async (child: ChildProcess): Promise<void> => {
  child.kill("SIGTERM")
  await once(child, "exit")
}

/** Turns a second while every session is busy. */
const load = async (url: string, agent: Agent): Promise<number> => {
  const before = performance.now()
  let left = turnsPerSample
  await Promise.all(
    Array.from({ length: sessions }, async (_, session) => {
      while (left-- > 0) await turn(url, agent, session)
    })
  )
  return turnsPerSample / ((performance.now() - before) / 1_000)
}

const body = JSON.stringify({ model: "openclaw", input: "hello" })

const turn = (url: string, agent: Agent, session: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const outgoing = request(
      `${url}/v1/responses`,
      {
        method: "POST",
        agent,
        headers: {
          authorization: "Bearer bench",
          "content-type": "application/json",
          "content-length": body.length,
          "x-openclaw-agent-id": "alpha",
          "x-openclaw-session-key": `agent:alpha:bench-${session}`
        }
      },
      (response) => {
        response.resume()
        response.on("end", () =>
          response.statusCode === 200 ? resolve() : reject(new Error(`the gateway answered ${response.statusCode}`))
        )
      }
    )
    outgoing.on("error", reject)
    outgoing.end(body)
  })
