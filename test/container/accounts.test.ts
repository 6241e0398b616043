/** Two accounts of docker-compose.runtime.yml on one host: side by side, over a restart of Docker, and upgrades. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { freePort } from "../../local/launcher.ts"
import { eventually, makeSetup } from "../process/setup.ts"
import type { Setup } from "../process/setup.ts"
import { accountFolder, openTo } from "./account.ts"
import { ask, docker, image, inspect } from "./docker.ts"
import { startRegistry } from "./registry.ts"

const root = resolve(import.meta.dirname, "../..")
const composeFile = join(root, "docker-compose.runtime.yml")

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "mission-control-host-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** What the host's unit runs; the result is what it logged. */
const applyUpgrade = (upgradeFile: string, envFile: string, ...more: ReadonlyArray<string>) =>
  Effect.promise(async () => {
    const child = spawn("sh", [join(root, "deploy/apply-upgrade.sh"), upgradeFile, envFile, ...more])
    let err = ""
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => void (err += chunk))
    const [code] = await once(child, "close")
    assert.strictEqual(code, 0, err)
    return err
  })

/** An account's environment file in the host's folder, as deploy/compose/account.env describes it, and its project. */
const startAccount = (host: string, name: string, subnet: number, house: Setup) =>
  Effect.gen(function* () {
    const files = yield* accountFolder({ "service-token": house.account.serviceToken, "gateway-token": "local-token" })
    const port = yield* freePort
    const envFile = join(host, `${name}.env`)
    const bridge = `172.30.${subnet}.1`
    writeFileSync(
      envFile,
      [
        `COMPOSE_PROJECT_NAME=mission-control-${name}-${process.pid}`,
        `FILES=${files}`,
        `AGENTS_SUBNET=172.30.${subnet}.0/24`,
        `HEALTH_PORT=${port}`,
        `ACCOUNT_ID=${house.account.accountId}`,
        "OPENCLAW_PROFILE_SYNC=false",
        `RUNTIME_IMAGE=${image.split(":")[0]}`,
        `RUNTIME_TAG=${image.split(":")[1]}`
      ].join("\n")
    )
    const project = ["--env-file", envFile, "--file", composeFile]
    const compose = (...args: ReadonlyArray<string>) => docker(["compose", ...project, ...args])
    yield* Effect.addFinalizer(() => compose("down", "--volumes", "--timeout", "5"))
    // As docs/operations.md puts the gateway's configuration into a new volume.
    const put = ["run", "--rm", "--no-deps", "-T", "--entrypoint", "/bin/sh", "runtime", "-c"]
    const configured = yield* docker(
      ["compose", ...project, ...put, "umask 077; cat > /openclaw/openclaw.json"],
      {},
      "{}"
    )
    assert.strictEqual(configured.code, 0, configured.err)
    // The network exists now, and with it the address at which containers reach this machine.
    appendFileSync(
      envFile,
      `\nCONVEX_URL=${yield* openTo(house.plane.url, bridge)}\nOPENCLAW_GATEWAY_URL=${yield* openTo(house.gateway.url, bridge)}\n`
    )
    const up = yield* compose("up", "--no-build", "--detach", "--wait", "runtime")
    assert.strictEqual(up.code, 0, up.err)
    const container = Effect.map(compose("ps", "--all", "--quiet", "runtime"), ({ out }) => out.trim())
    return { compose, container, envFile, files, house, url: `http://127.0.0.1:${port}` }
  })

/** A message to the engineer is answered. */
const assertAnswers = (house: Setup) =>
  Effect.gen(function* () {
    const task = yield* house.newTask()
    yield* house.post(task, "@engineer are you there?")
    yield* eventually(house.messages(task), (messages) => messages.some(({ author }) => author.type === "agent"))
  })

type RuntimeRow = {
  readonly runtimeId: string
  readonly status: string
  readonly versions: { readonly runtime: string | null }
  readonly lastCommand: { readonly state: string } | null
}

const runtimesOf = (house: Setup): Effect.Effect<ReadonlyArray<RuntimeRow>> =>
  Effect.promise(() => house.person.query("app/runtimes:list", { accountId: house.account.accountId }))

const team = [{ slug: "engineer", name: "Engineer", role: "builds and fixes" }]

describe("two accounts on one host", () => {
  it.live("run side by side, come back after a restart of Docker, and are upgraded one by one", () =>
    Effect.gen(function* () {
      const host = yield* temporaryFolder
      const houses = [yield* makeSetup({ team }), yield* makeSetup({ team })] as const
      const acme = yield* startAccount(host, "acme", 94, houses[0])
      const umbra = yield* startAccount(host, "umbra", 95, houses[1])
      for (const { house, url } of [acme, umbra]) {
        yield* assertAnswers(house)
        assert.lengthOf(yield* runtimesOf(house), 1)
        assert.strictEqual((yield* Effect.promise(() => fetch(`${url}/readyz`))).status, 200)
      }

      // Only the tests' own engine may be restarted; the one of a developer's machine has other containers.
      const pidFile = process.env["ENGINE_PID_FILE"]
      if (pidFile !== undefined) {
        const engine = Number(readFileSync(pidFile, "utf8"))
        process.kill(engine, "SIGTERM")
        yield* eventually(
          Effect.sync(() => existsSync(pidFile) && Number(readFileSync(pidFile, "utf8")) !== engine),
          (isNew) => isNew
        )
        yield* eventually(docker(["info"]), ({ code }) => code === 0)
        for (const { container, house } of [acme, umbra]) {
          yield* eventually(inspect(yield* container, ".State.Health.Status"), (status) => status === "healthy")
          yield* assertAnswers(house)
          assert.lengthOf(yield* runtimesOf(house), 1, "the same runtime as before")
        }
      }

      const registry = yield* startRegistry
      const line = yield* registry.release("9.9.9")
      const broken = yield* registry.release("9.9.10", image, 'ENTRYPOINT ["false"]')
      yield* Effect.forEach([line, broken], registry.sign)
      writeFileSync(join(host, "images"), `${line}\n${broken}\n`)
      appendFileSync(acme.envFile, `RUNTIME_IMAGE=${registry.image}\nCOSIGN_KEY=${registry.key}\n`)
      const [before, other] = [yield* acme.container, yield* umbra.container]
      const upgradeFile = join(acme.files, "upgrade/upgrade.json")
      const isLeft = Effect.sync(() => existsSync(upgradeFile))
      const upgrade = (runtimeVersion: string) =>
        Effect.gen(function* () {
          const { accountId } = acme.house.account
          yield* Effect.promise(() => acme.house.person.mutation("app/runtimes:upgrade", { accountId, runtimeVersion }))
          yield* eventually(isLeft, (left) => left)
          return yield* applyUpgrade(upgradeFile, acme.envFile, composeFile)
        })
      yield* upgrade("9.9.9")
      const [row] = yield* eventually(runtimesOf(acme.house), ([runtime]) => runtime?.lastCommand?.state === "success")
      assert.strictEqual(row?.versions.runtime, "9.9.9")
      assert.notStrictEqual(yield* acme.container, before)
      assert.strictEqual(yield* inspect(yield* acme.container, ".Config.Image"), line)
      yield* assertAnswers(acme.house)
      yield* eventually(isLeft, (left) => !left)

      assert.include(yield* upgrade("9.9.10"), `runtime ${broken.slice(registry.image.length + 1)} does not start`)
      assert.strictEqual(
        yield* inspect(yield* acme.container, ".Config.Image"),
        line,
        "the previous version runs again"
      )
      yield* assertAnswers(acme.house)
      assert.strictEqual(yield* umbra.container, other, "the other account keeps its container")
      yield* assertAnswers(umbra.house)
    })
  )
})

describe("the images of an upgrade", () => {
  it.live("start only with the digest of the list and the signature of the key", () =>
    Effect.gen(function* () {
      const host = yield* temporaryFolder
      const registry = yield* startRegistry
      const [upgradeFile, envFile] = [join(host, "upgrade.json"), join(host, "acme.env")]
      const [signed, unsigned, moved] = [
        yield* registry.release("1.1.0", "scratch"),
        yield* registry.release("1.2.0", "scratch"),
        yield* registry.release("1.3.0", "scratch")
      ]
      yield* registry.sign(signed)
      yield* registry.sign(moved)
      // Another image under a tag of the list: only the listed digest is pulled, and not what the tag means now.
      const wrong = `${moved.split("@")[0]}@${unsigned.split("@")[1]}`
      writeFileSync(join(host, "images"), [signed, unsigned, wrong].join("\n"))
      writeFileSync(envFile, `RUNTIME_IMAGE=${registry.image}\nRUNTIME_TAG=1.0.0\nCOSIGN_KEY=${registry.key}\n`)
      const apply = (id: string, runtimeVersion: string) =>
        Effect.suspend(() => {
          writeFileSync(upgradeFile, JSON.stringify({ id, kind: "upgrade", runtimeVersion, openclawVersion: null }))
          return applyUpgrade(upgradeFile, envFile)
        })
      assert.include(yield* apply("u1", "1.2.0"), "has no signature")
      assert.include(yield* apply("u2", "1.3.0"), "has no signature")
      assert.include(readFileSync(envFile, "utf8"), "RUNTIME_TAG=1.0.0\n")
      yield* apply("u3", "1.1.0")
      assert.include(readFileSync(envFile, "utf8"), `RUNTIME_TAG=${signed.slice(registry.image.length + 1)}\n`)
      yield* ask("rmi", signed)
    })
  )
})
