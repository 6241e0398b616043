import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, assert, describe, it } from "vitest"
import type { Action } from "../../../local/model/script.ts"
import { startModel } from "../../../local/model/server.ts"
import { demo, ended, endDemos } from "./runDemo.ts"

const noKeys = { ANTHROPIC_API_KEY: undefined, OPENAI_API_KEY: undefined, ACME_API_KEY: undefined }

/** Runs the live demonstration to its end, which is expected before it installs or starts anything. */
const failureOf = async (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}) => {
  const run = demo(["--live", ...args], { ...noKeys, ...env })
  return { code: await ended(run), out: run.out(), err: run.err() }
}

afterEach(endDemos)

describe("the live demonstration", () => {
  it("names the keys that it looks for if none is set", async () => {
    const { code, err, out } = await failureOf([])
    assert.strictEqual(code, 1)
    assert.match(err, /^demo: No key of a model provider is set. Set ANTHROPIC_API_KEY or OPENAI_API_KEY, .*\n$/)
    assert.strictEqual(out, "")
  })

  it.each([
    [["--model", "openai/gpt-5.6-luna"], /^demo: OPENAI_API_KEY is not set. Set it to your key of openai.\n$/],
    [["--model", "acme/fast"], /^demo: The address of the provider "acme" is not known. Add --base-url .*\n$/]
  ])("names the missing setting for %s", async (args, line) => {
    const { code, err } = await failureOf(args)
    assert.strictEqual(code, 1)
    assert.match(err, line)
  })

  it.each<[string, Action, NodeJS.ProcessEnv, RegExp]>([
    [
      "a wrong key",
      { status: 401, body: { error: { message: "Incorrect API key provided: secret-1" } } },
      { ACME_API_KEY: "secret-1" },
      /^demo: acme refuses the key in ACME_API_KEY \(HTTP 401: Incorrect API key provided: \[key\]\). Set .*\n$/
    ],
    ["a missing key", { status: 401 }, {}, /^demo: acme wants a key \(HTTP 401.*\). Set ACME_API_KEY to your key.\n$/],
    [
      "an unknown model",
      { status: 404, body: { error: { message: "no model fast" } } },
      {},
      /^demo: acme does not offer the model fast \(HTTP 404: no model fast\). Check --model and --base-url.\n$/
    ],
    [
      "an account without credit",
      { status: 429, body: { error: { message: "You exceeded your quota" } } },
      { ACME_API_KEY: "secret-1" },
      /^demo: acme takes no requests .*You exceeded your quota\). Check the credit .*\n$/
    ],
    ["a failing provider", { status: 503 }, {}, /^demo: acme has a problem \(HTTP 503.*\). Try again later.\n$/]
  ])("reports %s before it installs or starts anything", async (_, fallback, env, line) => {
    await using model = await startModel({ script: { fallback } })
    const { code, err, out } = await failureOf(["--model", "acme/fast", "--base-url", `${model.url}/v1`], env)
    assert.strictEqual(code, 1)
    assert.match(err, line)
    assert.strictEqual(out, "Checking acme/fast with one small request ...\n")
    assert.lengthOf(model.model.requests, 1)
  })

  it("reports a provider that cannot be reached", async () => {
    const model = await startModel()
    await model.stop()
    const { code, err } = await failureOf(["--model", "acme/fast", "--base-url", `${model.url}/v1`])
    assert.strictEqual(code, 1)
    assert.strictEqual(
      err,
      `demo: acme cannot be reached at ${model.url}/v1 (ECONNREFUSED). Check the network and --base-url.\n`
    )
  })

  it("does not show a key with a line break, which cannot be sent", async () => {
    const args = ["--model", "acme/fast", "--base-url", "http://127.0.0.1:1/v1"]
    const { code, err } = await failureOf(args, { ACME_API_KEY: "secret-1\nsecret-2" })
    assert.strictEqual(code, 1)
    assert.match(err, /^demo: acme cannot be reached at .*"Bearer \[key\]" is an invalid header value.*\n$/)
  })

  it("reports an address that serves pages instead of a model", async () => {
    const server = createServer((_, response) => response.setHeader("content-type", "text/html").end("<html></html>"))
    await once(server.listen(0, "127.0.0.1"), "listening")
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const { code, err } = await failureOf(["--model", "acme/fast", "--base-url", url])
    server.close()
    assert.strictEqual(code, 1)
    assert.strictEqual(err, `demo: ${url} is not the address of a model provider. Check --base-url.\n`)
  })

  it.each([
    [["--once"], "--once cannot be combined with --live"],
    [["--model", "fast"], "use provider/model"],
    [["--base-url", "http://127.0.0.1:1/v1"], "--base-url needs --model"],
    [["--budget", "0"], "use a number of dollars above 0"]
  ])("refuses %s", async (args, line) => {
    const { code, err } = await failureOf(args)
    assert.strictEqual(code, 64)
    assert.include(err, line)
  })
})
