/** Docker's command line for tests: what it prints, and containers that a scope removes. */
import { spawn } from "node:child_process"
import { dirname } from "node:path"
import { Effect } from "effect"
import type { Scope } from "effect"

export const image = "mission-control-runtime:test"

export type Answer = { readonly code: number; readonly out: string; readonly err: string }

/** Runs docker to its end, whatever it ends with. */
export const docker = (
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {},
  input = ""
): Effect.Effect<Answer> =>
  Effect.callback<Answer>((resume) => {
    const child = spawn("docker", args, {
      cwd: dirname(dirname(import.meta.dirname)),
      env: { ...process.env, ...env }
    })
    // Whether a command reads it at all is its own affair.
    child.stdin.on("error", () => {}).end(input)
    let [out, err] = ["", ""]
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => void (out += chunk))
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => void (err += chunk))
    child.once("error", (error) => resume(Effect.die(error)))
    child.once("close", (code) => resume(Effect.succeed({ code: code ?? -1, out, err })))
  })

/** The same, where only success will do; what it printed. */
export const ask = (...args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.flatMap(docker(args), ({ code, err, out }) =>
    code === 0 ? Effect.succeed(out.trim()) : Effect.die(new Error(`docker ${args.join(" ")}: ${code}\n${err}${out}`))
  )

/** How every container of the runtime runs here: nothing writable but /tmp, no capability, on this machine's network. */
export const hardened = [
  "--network=host",
  "--read-only",
  "--tmpfs=/tmp",
  "--cap-drop=ALL",
  "--security-opt=no-new-privileges",
  "--memory=256m",
  "--memory-swap=256m"
]

let count = 0

/** A container's name; whatever bears it is removed with the scope. */
export const containerName: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => `mission-control-test-${process.pid}-${(count += 1)}`),
  (name) => docker(["rm", "--force", "--volumes", name])
)

const variables = (env: Readonly<Record<string, string>>): ReadonlyArray<string> =>
  Object.entries(env).flatMap(([name, value]) => ["--env", `${name}=${value}`])

/** Starts the runtime's container, under the restart policy of compose, and goes on at once; answers its name. */
export const startContainer = (
  env: Readonly<Record<string, string>>,
  more: ReadonlyArray<string> = []
): Effect.Effect<string, never, Scope.Scope> =>
  Effect.gen(function* () {
    const name = yield* containerName
    yield* ask(
      "run",
      "--detach",
      "--restart=unless-stopped",
      "--name",
      name,
      ...hardened,
      ...variables(env),
      ...more,
      image
    )
    return name
  })

/** Runs the runtime's container to its end. */
export const runContainer = (
  env: Readonly<Record<string, string>>,
  more: ReadonlyArray<string> = [],
  command: ReadonlyArray<string> = []
): Effect.Effect<Answer, never, Scope.Scope> =>
  Effect.flatMap(containerName, (name) =>
    docker(["run", "--name", name, ...hardened, ...variables(env), ...more, image, ...command])
  )

/** One field of what Docker knows of a container, for instance `.State.ExitCode`. */
export const inspect = (name: string, field: string): Effect.Effect<string> =>
  ask("inspect", "--format", `{{${field}}}`, name)
