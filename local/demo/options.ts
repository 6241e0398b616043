import { parseArgs } from "node:util"

/** The options of `npm run demo`. */
export interface DemoOptions {
  readonly once: boolean
  readonly json: boolean
  readonly gateway: "scripted" | "openclaw"
  /** The port of the runtime's endpoints; undefined for a free one. */
  readonly port: string | undefined
  readonly live: boolean
  /** The provider and its model, `provider/model`. */
  readonly model: string | undefined
  readonly baseUrl: string | undefined
  /** The live demonstration's budget, in dollars. */
  readonly budget: number
}

const usage = `usage: npm run demo -- [options]

A team of three scripted agents works on a task; then you can type messages to them.
  --once               end after the scenario with exit code 0
  --json               print one JSON object at the end instead of the story
  --gateway KIND       scripted (default) or openclaw, the real one, which is installed if it is missing

  --live               real agents instead: the OpenClaw gateway with your model provider, which costs money.
                       It uses ANTHROPIC_API_KEY or OPENAI_API_KEY
  --model NAME         provider/model, for example anthropic/claude-opus-5
  --base-url URL       address of an OpenAI-compatible provider, for example http://127.0.0.1:11434/v1.
                       Its key is in PROVIDER_API_KEY, for example GROQ_API_KEY; a local one needs none
  --budget DOLLARS     what the agents may spend; 1 by default

  --port N             port of the runtime's endpoints; a free port by default
  --help               print this text`

const fail = (message: string): never => {
  process.stderr.write(`demo: ${message}\n`)
  process.exit(64)
}

const parsed = () => {
  try {
    return parseArgs({
      options: {
        once: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        gateway: { type: "string" },
        live: { type: "boolean", default: false },
        model: { type: "string" },
        "base-url": { type: "string" },
        budget: { type: "string" },
        port: { type: "string" },
        help: { type: "boolean", default: false }
      }
    }).values
  } catch (error) {
    return fail(`${(error as Error).message}\n${usage}`)
  }
}

const isHttp = (text: string): boolean => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)

/** Reads the command line. Prints the help and ends with 0, or the first mistake and ends with 64. */
export const readOptions = (): DemoOptions => {
  const values = parsed()
  if (values.help) {
    process.stdout.write(`${usage}\n`)
    process.exit(0)
  }
  const { "base-url": baseUrl, budget = "1", gateway = "scripted", json, live, model, once, port } = values
  if (gateway !== "scripted" && gateway !== "openclaw") {
    return fail(`--gateway is "${gateway}": use scripted or openclaw`)
  }
  if (port !== undefined && !(/^\d+$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535)) {
    return fail(`--port is "${port}": use a whole number from 1 to 65535`)
  }
  const forLive = { "--model": model, "--base-url": baseUrl, "--budget": values.budget }
  const forScripted = { "--once": once, "--json": json, "--gateway": values.gateway }
  for (const [name, value] of Object.entries(live ? forScripted : forLive)) {
    if (value === undefined || value === false) continue
    return fail(live ? `${name} cannot be combined with --live: leave one out` : `${name} needs --live: add it`)
  }
  if (model !== undefined && !/^[a-z0-9][a-z0-9-]*\/\S+$/.test(model)) {
    return fail(`--model is "${model}": use provider/model, for example anthropic/claude-opus-5`)
  }
  if (baseUrl !== undefined && !isHttp(baseUrl)) {
    return fail(`--base-url is "${baseUrl}": use an http or https address, for example http://127.0.0.1:11434/v1`)
  }
  if (baseUrl !== undefined && model === undefined) {
    return fail("--base-url needs --model provider/model: the provider's name is yours to choose")
  }
  if (!/^\d{1,6}(\.\d+)?$/.test(budget) || Number(budget) === 0) {
    return fail(`--budget is "${budget}": use a number of dollars above 0, for example 2.50`)
  }
  return { once, json, gateway, port, live, model, baseUrl, budget: Number(budget) }
}
