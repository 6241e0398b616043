import { spawn } from "node:child_process"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { freePort, launchPlane } from "../../local/launcher.ts"

const project = join(import.meta.dirname, "..", "..")

/** Runs `npm run test:convex` to its end. */
const run = (args: ReadonlyArray<string>, deployKey: string | undefined) =>
  Effect.promise(async (signal) => {
    const { CONVEX_DEPLOY_KEY: _, ...env } = process.env
    const child = spawn(process.execPath, ["test/convex-deployment/run.ts", ...args], {
      cwd: project,
      env: deployKey === undefined ? env : { ...env, CONVEX_DEPLOY_KEY: deployKey },
      stdio: ["ignore", "pipe", "pipe"],
      signal
    })
    const code = new Promise<number | null>((resolve) => child.once("exit", resolve))
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
    return { code: await code, stdout, stderr }
  })

describe("npm run test:convex", () => {
  it.live.each([[], ["--mutation-ms", "40"]])("passes against the local plane, with options %j", (args) =>
    Effect.gen(function* () {
      const plane = yield* launchPlane({ args })
      const { code, stderr, stdout } = yield* run(["--url", plane.url], plane.adminKey)
      assert.strictEqual(code, 0, stdout + stderr)
      assert.notInclude(stdout + stderr, plane.adminKey)
    })
  )

  it.live.each([
    [["--frob"], "key", /^test:convex: Unknown option '--frob'/],
    [[], "key", /^test:convex: --url is missing/],
    [["--url", "somewhere"], "key", /^test:convex: --url is "somewhere": give an address/],
    [["--url", "http://127.0.0.1:1"], undefined, /^test:convex: CONVEX_DEPLOY_KEY is not set/]
  ] as const)("exits with 64, a reason and the usage: %j, %s", ([args, deployKey, words]) =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run(args, deployKey)
      assert.match(stderr, words)
      assert.include(stderr, "usage: npm run test:convex")
      assert.strictEqual(stdout, "")
      assert.strictEqual(code, 64)
    })
  )

  it.live("reports a deployment that cannot be reached", () =>
    Effect.gen(function* () {
      const url = `http://127.0.0.1:${yield* freePort}`
      const { code, stderr } = yield* run(["--url", url], "key")
      assert.strictEqual(
        stderr,
        `test:convex: cannot reach ${url}: ECONNREFUSED. Check --url, and that the deployment runs.\n`
      )
      assert.strictEqual(code, 1)
    })
  )

  it.live("reports a wrong key without showing it", () =>
    Effect.gen(function* () {
      const plane = yield* launchPlane()
      const { code, stderr } = yield* run(["--url", plane.url], "not-its-key")
      assert.match(stderr, /^test:convex: \S+ does not answer app\/accounts:list: .*Unauthenticated/)
      assert.notInclude(stderr, "not-its-key")
      assert.strictEqual(code, 1)
    })
  )
})
