import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { freePort } from "../../local/launcher.ts"
import { blocksIn, commandsOf, documents } from "../documentCommands.ts"
import type { CommandBlock } from "../documentCommands.ts"
import { eventually, makeSetup } from "./setup.ts"

const root = resolve(import.meta.dirname, "../..")
const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** A command that runs until it is stopped, with or without variables in front of it. */
const isStart = (command: string): boolean =>
  /^(?:[A-Z_]+="[^"]*" )*(?:npm start|node src\/main\.ts start)$/.test(command)

/** A shell's output and exit code; `onChild` gets the process at once. */
const shell = (
  text: string,
  env: Record<string, string>,
  { cwd = root, onChild }: { readonly cwd?: string; readonly onChild?: (child: ChildProcess) => void } = {}
): Promise<Ended> =>
  new Promise((done, fail) => {
    const child = spawn("sh", ["-eu"], { cwd, env })
    onChild?.(child)
    let out = ""
    let err = ""
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString("utf8")))
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString("utf8")))
    child.once("error", fail)
    child.once("close", (code) => done({ code, out, err }))
    // npx's programs are on the path; without npx each command is half a second faster.
    child.stdin.end(`npx() { "$@"; }\n${text}`)
  })

/** The objects that a command printed as JSON, including those in arrays. */
const printed = (out: string): ReadonlyArray<Record<string, unknown>> => {
  try {
    const value: unknown = JSON.parse(out)
    return (Array.isArray(value) ? value : [value]).filter((each) => typeof each === "object" && each !== null)
  } catch {
    return []
  }
}

describe("the commands of the documents that need an account", () => {
  it.live(
    "work as written with the local control plane and gateway, in the order of the pages",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSetup()
        const home = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "mission-control-commands-"))),
          (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
        )
        const port = String(yield* freePort)
        const env: Record<string, string> = {
          PATH: [join(root, "node_modules/.bin"), process.env["PATH"]].join(delimiter),
          HOME: home,
          CI: "1",
          NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"] ?? "",
          CONVEX_SELF_HOSTED_URL: setup.plane.url,
          CONVEX_SELF_HOSTED_ADMIN_KEY: setup.plane.adminKey,
          HEALTH_PORT: port,
          RUNTIME_ID: "documents",
          DELIVERY_MAX_ATTEMPTS: "1"
        }
        /** The values of placeholders; commands that print new ones add them. */
        const values = new Map<string, string>([
          ["https://<name>.convex.cloud", setup.plane.url],
          ["http://127.0.0.1:18789", setup.gateway.url],
          ["<gateway token>", "any"],
          ["<deploy key>", setup.plane.adminKey],
          ["<url>", setup.plane.url],
          ["<adminKey>", setup.plane.adminKey],
          ["<address>", join(home, "shop.git")],
          ["<repository>", "shop"],
          ["<task id>", "k57abc"],
          ["<folder>", home]
        ])
        const learn = ({ out }: Ended, command: string): void => {
          const said = out.trim()
          if (command.includes("main.ts accounts create")) values.set("<the accountId>", said)
          if (command.includes("main.ts tasks create")) values.set("<the taskId>", said)
          if (command.includes("main.ts tokens provision") && !values.has("mc_service_<accountId>_<64 hex digits>")) {
            values.set("mc_service_<accountId>_<64 hex digits>", said)
          }
          if (command.endsWith("main.ts webhooks list"))
            values.set("<webhook>", said.split("\n")[1]?.split(" ")[0] ?? "")
          if (command.endsWith("main.ts tokens list")) {
            // The newest is first; what the runtime uses stays valid.
            values.set("<token id>", said.split("\n")[1]?.split(" ")[0] ?? "")
          }
        }
        /** The shell of the person has the key, that of the runtime and of Convex's own command has not. */
        const envOf = (command: string): Record<string, string> => {
          const { CONVEX_DEPLOY_KEY, ...rest } = env
          return CONVEX_DEPLOY_KEY === undefined || command.includes("npx convex") || isStart(command)
            ? rest
            : { ...rest, CONVEX_DEPLOY_KEY }
        }
        const filled = (text: string): string => {
          let result = text
          for (const [placeholder, value] of values) result = result.replaceAll(placeholder, value)
          return result
        }
        let started:
          | { readonly child: ChildProcess; readonly ended: Promise<Ended>; readonly command: string }
          | undefined
        const stop = Effect.gen(function* () {
          if (started === undefined) return
          const { child, ended } = started
          started = undefined
          yield* Effect.promise(() => shell(`kill -TERM ${child.pid}`, env))
          const { code, err } = yield* Effect.promise(() => ended)
          assert.strictEqual(code, 0, err)
        })
        yield* Effect.addFinalizer(() => Effect.sync(() => started?.child.kill("SIGKILL")))

        /** Starts the runtime as the page does, and waits until it is ready. */
        const start = Effect.fnUntraced(function* (command: string) {
          yield* stop
          let child: ChildProcess | undefined
          const ended = shell(`exec env ${command.replace("npm start", "node src/main.ts start")}`, envOf(command), {
            onChild: (made) => {
              child = made
            }
          })
          assert.isDefined(child)
          started = { child: child!, ended, command }
          yield* Effect.promise(() =>
            fetch(`http://127.0.0.1:${port}/readyz`).then(
              ({ status }) => status,
              () => 0
            )
          ).pipe(Effect.repeat({ schedule: Schedule.spaced("50 millis"), until: (status) => status === 200 }))
        })

        /** Does the host's part: starts the runtime that exited with 75 again, in the requested version. */
        const startAgain = Effect.fnUntraced(function* (text: string) {
          if (started === undefined) throw new Error(`no runtime runs that ${text} applies to`)
          const { command, ended } = started
          started = undefined
          const { code, err } = yield* Effect.promise(() => ended)
          assert.strictEqual(code, 75, err)
          const version = /\\"runtimeVersion\\":\\"([^"\\]+)/.exec(text)?.[1]
          if (version === undefined) return yield* start(command)
          env["RUNTIME_VERSION"] = version
          yield* start(command)
          const list =
            'npx convex run --identity "$MISSION_CONTROL_IDENTITY" app/runtimes:list "{\\"accountId\\":\\"$ACCOUNT_ID\\"}"'
          yield* eventually(
            Effect.promise(() => shell(list, envOf(list))),
            ({ out }) => printed(out).some(({ commands }) => (commands as { underway?: unknown }).underway === null)
          )
        })

        const run = Effect.fnUntraced(function* (block: CommandBlock) {
          const at = `${block.path}:${block.line}`
          let cwd = root
          for (const command of commandsOf(block)) {
            const text = filled(command)
            assert.notMatch(text, /<[a-zA-Z][^<>]*>/, `${at}: add a value for the placeholder of ${command}`)
            if (isStart(text)) {
              yield* start(text)
              continue
            }
            const assigned = /^(?:export )?([A-Z_]+)=(.*)$/.exec(text)
            if (assigned !== null) {
              const [, name = ""] = assigned
              env[name] = (yield* Effect.promise(() => shell(`${text}\nprintf %s "$${name}"`, env))).out
              continue
            }
            if (text.startsWith("cd ")) {
              cwd = (yield* Effect.promise(() => shell(`${text}\npwd`, env, { cwd }))).out.trim()
              continue
            }
            const ended = yield* Effect.promise(() => shell(text, envOf(text), { cwd }))
            // The doctor warns of differences between the local gateway and a real one.
            const isGood = ended.code === 0 || (text.startsWith("node src/main.ts doctor") && ended.code === 1)
            assert.isTrue(isGood, `${at}: ${text}\n${ended.out}${ended.err}`)
            learn(ended, text)
            if (/app\/runtimes:(restart|upgrade|rollback)/.test(text)) yield* startAgain(text)
          }
        })

        /** Two turns with an unreadable answer, on a budget of one attempt. */
        const addDeadLetters = Effect.gen(function* () {
          for (const words of ["one", "two"]) {
            yield* setup.fault({ kind: "garbage", agent: "engineer" })
            yield* run({
              path: "dead letters",
              line: 0,
              kind: "sh account",
              text: `npx convex run --identity "$MISSION_CONTROL_IDENTITY" app/messages:post '{"accountId":"<the accountId>","taskId":"<the taskId>","content":"@engineer ${words}"}'`
            })
            yield* eventually(
              Effect.promise(() => shell("node src/main.ts dead-letters list --json", env)),
              ({ out }) => printed(out).length === (words === "one" ? 1 : 2)
            )
          }
          const { out } = yield* Effect.promise(() => shell("node src/main.ts dead-letters list --json", env))
          const [first, second] = printed(out)
          values.set("<another dead letter>", String(first?.["id"])).set("<dead letter>", String(second?.["id"]))
        })

        const seed = yield* Effect.promise(() =>
          shell(
            'git init --quiet --bare "$HOME/shop.git" && git clone --quiet "$HOME/shop.git" "$HOME/seed" && cd "$HOME/seed" && git -c user.name=Pat -c user.email=pat@example.com commit --quiet --allow-empty -m Begin && git push --quiet origin HEAD',
            env
          )
        )
        assert.strictEqual(seed.code, 0, seed.err)
        assert.strictEqual(scripts["start"], "node src/main.ts start")
        for (const path of documents) {
          for (const block of blocksIn(path).filter(({ kind }) => kind === "sh account")) {
            if (block.text.includes("<dead letter>")) yield* addDeadLetters
            yield* run(block)
          }
        }
        // The agent that a page creates has replied to that page's message.
        const list = filled(
          'npx convex run --identity "$MISSION_CONTROL_IDENTITY" app/messages:list \'{"accountId":"<the accountId>","taskId":"<the taskId>"}\''
        )
        yield* eventually(
          Effect.promise(() => shell(list, envOf(list))),
          ({ out }) => printed(out).some(({ author }) => (author as { name?: string } | undefined)?.name === "Engineer")
        )
        yield* stop
      }).pipe(Effect.scoped),
    480_000
  )
})
