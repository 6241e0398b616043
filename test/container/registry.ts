/** A registry of images on this machine, and signed releases in it. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { Scope } from "effect"
import { freePort } from "../../local/launcher.ts"
import { eventually } from "../process/setup.ts"
import { ask, docker, image as runtimeImage } from "./docker.ts"

/** Runs a program to its end, which must be good; the result is its output. */
const run = (command: string, args: ReadonlyArray<string>, cwd: string): Effect.Effect<string> =>
  Effect.promise(async () => {
    const child = spawn(command, args, { cwd, env: { ...process.env, COSIGN_PASSWORD: "" } })
    let out = ""
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => void (out += chunk))
    }
    const [code] = await once(child, "close")
    if (code !== 0) throw new Error(`${command} ${args.join(" ")}: ${code}\n${out}`)
    return out
  })

export type Registry = {
  /** The name of the runtime's images in it, without a tag. */
  readonly image: string
  /** The public key of the signatures. */
  readonly key: string
  /** Pushes the runtime's or another image as this version, and returns its line for the list of images. */
  readonly release: (version: string, from?: string, more?: string) => Effect.Effect<string>
  readonly sign: (line: string) => Effect.Effect<unknown>
}

/** Starts Debian's docker-registry on loopback, where Docker needs no TLS, and creates a key. */
export const startRegistry: Effect.Effect<Registry, never, Scope.Scope> = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "mission-control-registry-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const port = yield* freePort
  const host = `127.0.0.1:${port}`
  mkdirSync(join(folder, "data"))
  writeFileSync(
    join(folder, "config.yml"),
    JSON.stringify({
      version: "0.1",
      log: { level: "error", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(folder, "data") } },
      http: { addr: host }
    })
  )
  const server = yield* Effect.acquireRelease(
    Effect.sync(() => spawn("docker-registry", ["serve", join(folder, "config.yml")], { stdio: "ignore" })),
    (child) => Effect.promise(async () => child.kill() && once(child, "close"))
  )
  const isUp = Effect.promise(async () => {
    assert.isNull(server.exitCode, "docker-registry has exited")
    return fetch(`http://${host}/v2/`).then(
      ({ ok }) => ok,
      () => false
    )
  })
  yield* eventually(isUp, (up) => up)
  yield* run("cosign", ["generate-key-pair"], folder)
  const image = `${host}/runtime`
  return {
    image,
    key: join(folder, "cosign.pub"),
    release: (version, from = runtimeImage, more = "") =>
      Effect.gen(function* () {
        const name = `${image}:${version}`
        const file = `FROM ${from}\nENV RUNTIME_VERSION=${version}\n${more}\n`
        const built = yield* docker(["build", "--quiet", "--tag", name, "-"], {}, file)
        if (built.code !== 0) throw new Error(built.err)
        const pushed = yield* ask("push", name)
        const digest = /digest: (sha256:[0-9a-f]{64})/.exec(pushed)?.[1]
        if (digest === undefined) throw new Error(pushed)
        // Only the registry has it then, so that an upgrade really pulls it.
        yield* ask("rmi", name)
        return `${name}@${digest}`
      }),
    sign: (line) =>
      run(
        "cosign",
        ["sign", "--yes", "--tlog-upload=false", "--key", "cosign.key", line.replace(/:[^:]*@/, "@")],
        folder
      )
  }
})
