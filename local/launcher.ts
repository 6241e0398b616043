import { type ChildProcess, spawn } from "node:child_process"
import { createWriteStream, mkdirSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, Exit, Schema, type Scope } from "effect"

/** The object a process prints on stdout, on one line, once it serves. */
export type Ready = {
  readonly ready: true
  readonly name: string
  readonly url: string
  readonly [key: string]: unknown
}

/** A process did not come up: it ended first, said something else, or stayed silent too long. Carries its last words. */
export class LaunchFailed extends Schema.TaggedError<LaunchFailed>()("LaunchFailed", {
  name: Schema.String,
  reason: Schema.String,
  exitCode: Schema.NullOr(Schema.Finite),
  output: Schema.String
}) {
  override get message(): string {
    const code = this.exitCode === null ? "" : ` (exit code ${this.exitCode})`
    return `${this.name} ${this.reason}${code}${this.output === "" ? "" : `\n${this.output}`}`
  }
}

/** How a process ended; exactly one of the two is set. */
export type Ending = { readonly code: number | null; readonly signal: NodeJS.Signals | null }

/** A running local process that its scope stops. */
export type Launched = {
  readonly name: string
  readonly pid: number
  readonly url: string
  /** What the process said of itself when it was ready. */
  readonly ready: Ready
  readonly logFile: string
  /** Sends a signal to the process itself, not to its children; a process that has ended is left alone. */
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Waits until the process has ended. */
  readonly exit: Effect.Effect<Ending>
  /** The last 256 KiB of stdout and stderr together, in the order they came. */
  readonly output: () => string
}

/** What to start, and how it says that it is ready. */
export type LaunchOptions = {
  readonly name: string
  readonly command: string
  readonly args?: ReadonlyArray<string>
  /** Added to the launcher's own environment; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly logFile?: string
  readonly cwd?: string
  /** Absent: one JSON line on stdout. Otherwise a URL that answers 200; the process is then known by `url`. */
  readonly readiness?: { readonly url: string; readonly probe: string }
  /** Hears every line of stdout and stderr as it comes. */
  readonly onLine?: (line: string) => void
  /** How long to wait for readiness, in milliseconds; 90,000 when absent. */
  readonly readyTimeout?: number
  /** How long SIGTERM may take before SIGKILL, in milliseconds; 10,000 when absent. */
  readonly stopTimeout?: number
}

const root = fileURLToPath(new URL("..", import.meta.url))
const keptOutput = 256 * 1024
const logDirectory = join(tmpdir(), `mission-control-${process.pid}`)
let launches = 0

type Child = {
  readonly process: ChildProcess
  readonly pid: number
  readonly logFile: string
  readonly output: () => string
  readonly lastWords: () => string
  readonly onLine: (listener: (line: string) => void) => void
  readonly ended: Promise<Ending>
  ending: Ending | undefined
}

const tail = (text: string, lines: number): string => text.trimEnd().split("\n").slice(-lines).join("\n")

const start = (options: LaunchOptions): Promise<Child> => {
  launches += 1
  const logFile = options.logFile ?? join(logDirectory, `${options.name}-${launches}.log`)
  mkdirSync(dirname(logFile), { recursive: true })
  const log = createWriteStream(logFile, { flags: "a" })
  // A lost log must not take the launcher down.
  log.on("error", () => {})
  const env: NodeJS.ProcessEnv = { ...process.env, ...options.env }
  const child = spawn(options.command, options.args ?? [], {
    cwd: options.cwd ?? root,
    env,
    // A group of its own: the children of the child end with it.
    detached: true,
    stdio: ["pipe", "pipe", "pipe"]
  })
  let kept = ""
  let errors = ""
  const listeners: Array<(line: string) => void> = []
  const toLines = (hear: (line: string) => void): ((chunk: string) => void) => {
    let partial = ""
    return (chunk) => {
      const lines = (partial + chunk).split("\n")
      partial = lines.pop() ?? ""
      for (const line of lines) hear(line)
    }
  }
  const outputLines = toLines((line) => {
    for (const listener of listeners) listener(line)
    options.onLine?.(line)
  })
  const errorLines = toLines((line) => options.onLine?.(line))
  const keep = (chunk: string): void => {
    log.write(chunk)
    kept = (kept + chunk).slice(-keptOutput)
  }
  child.stdin.on("error", () => {})
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    keep(chunk)
    outputLines(chunk)
  })
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    keep(chunk)
    errorLines(chunk)
    errors = (errors + chunk).slice(-16_384)
  })
  return new Promise((resolve, reject) => {
    child.once("error", reject)
    child.once("spawn", () => {
      child.off("error", reject)
      child.on("error", () => {})
      const ended = new Promise<Ending>((settle) => {
        // `exit`, not `close`: a grandchild that holds the pipes must not keep us waiting, but our own pipes get a turn to drain.
        child.once("exit", (code, signal) => {
          const ending = { code, signal }
          const done = (): void => {
            running.ending = ending
            log.end()
            settle(ending)
          }
          const drained = setTimeout(done, 250)
          child.once("close", () => {
            clearTimeout(drained)
            done()
          })
        })
      })
      const running: Child = {
        process: child,
        pid: child.pid!,
        logFile,
        output: () => kept,
        lastWords: () => tail(errors === "" ? kept : errors, 12),
        onLine: (listener) => void listeners.push(listener),
        ended,
        ending: undefined
      }
      resolve(running)
    })
  })
}

const signalGroup = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(-pid, signal)
  } catch {
    // Nobody is left in the group.
  }
}

const within = <A>(work: Promise<A>, ms: number): Promise<A | undefined> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), ms)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })

const stop = async (child: Child, patience: number): Promise<void> => {
  if (child.ending === undefined) {
    child.process.kill("SIGTERM")
    await within(child.ended, patience)
  }
  signalGroup(child.pid, "SIGKILL")
  if (child.ending === undefined) await child.ended
  child.process.stdin?.destroy()
  child.process.stdout?.destroy()
  child.process.stderr?.destroy()
}

const parseReady = (line: string): Ready | undefined => {
  if (!line.startsWith("{")) return undefined
  try {
    const value = JSON.parse(line) as Ready
    return value.ready === true && typeof value.url === "string" ? value : undefined
  } catch {
    return undefined
  }
}

const readyLine = (child: Child): Promise<Ready> =>
  new Promise((resolve) => {
    child.onLine((line) => {
      const ready = parseReady(line)
      if (ready !== undefined) resolve(ready)
    })
  })

const probed = async (
  name: string,
  readiness: { readonly url: string; readonly probe: string },
  isOver: () => boolean
): Promise<Ready> => {
  while (!isOver()) {
    const response = await fetch(readiness.probe, { signal: AbortSignal.timeout(5000) }).catch(() => undefined)
    await response?.arrayBuffer().catch(() => undefined)
    if (response?.status === 200) break
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return { ready: true, name, url: readiness.url }
}

/**
 * Starts a process and waits until it is ready; the scope stops it with SIGTERM, then SIGKILL to its whole group. Its
 * stdin stays open for as long as the launcher lives, so that a child told to can end with it. Fails at once when the
 * process ends before it is ready.
 */
export const launch = (options: LaunchOptions): Effect.Effect<Launched, LaunchFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const failed = (reason: string, child?: Child): LaunchFailed =>
      new LaunchFailed({
        name: options.name,
        reason,
        exitCode: child?.ending?.code ?? null,
        output: child?.lastWords() ?? ""
      })
    const child = yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: () => start(options),
        catch: (cause) => failed(`could not be started: ${String(cause)}`)
      }),
      (child) => Effect.promise(() => stop(child, options.stopTimeout ?? 10_000))
    )
    let isOver = false
    const isReady =
      options.readiness === undefined
        ? readyLine(child)
        : probed(options.name, options.readiness, () => isOver || child.ending !== undefined)
    const first = yield* Effect.promise(() =>
      within(
        Promise.race([
          isReady.then((ready) => (child.ending === undefined ? ready : undefined)),
          child.ended.then(() => undefined)
        ]),
        options.readyTimeout ?? 90_000
      )
    ).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          isOver = Exit.isFailure(exit) || exit.value === undefined
        })
      )
    )
    if (first === undefined) {
      return yield* child.ending === undefined
        ? failed("was not ready in time", child)
        : failed(`ended before it was ready${child.ending.signal === null ? "" : ` by ${child.ending.signal}`}`, child)
    }
    return {
      name: options.name,
      pid: child.pid,
      url: first.url,
      ready: first,
      logFile: child.logFile,
      signal: (signal) =>
        Effect.sync(() => {
          if (child.ending === undefined) child.process.kill(signal)
        }),
      exit: Effect.promise(() => child.ended),
      output: child.output
    }
  })

/** What every ready-made launch takes: more arguments, environment, and where the log goes. */
export type LocalOptions = Pick<
  LaunchOptions,
  "env" | "logFile" | "cwd" | "onLine" | "readyTimeout" | "stopTimeout"
> & {
  readonly name?: string
  readonly args?: ReadonlyArray<string>
  /** The checkout whose program is started; this one when absent. */
  readonly root?: string
}

const local = (
  name: string,
  entry: string,
  options: LocalOptions,
  nodeArgs: ReadonlyArray<string> = []
): Effect.Effect<Launched, LaunchFailed, Scope.Scope> =>
  launch({
    ...options,
    name: options.name ?? name,
    command: process.execPath,
    cwd: options.cwd ?? options.root ?? root,
    args: [...nodeArgs, join(options.root ?? root, entry), "--die-with-parent", ...(options.args ?? [])]
  })

/** A plane that runs; `adminKey` lets one call its internal functions and act as anyone. */
export type LaunchedPlane = Launched & { readonly adminKey: string }

/** Starts the embedded control plane: `--app`, `--data`, `--port`, `--conflicts` and the like go into `args`. */
export const launchPlane = (options: LocalOptions = {}): Effect.Effect<LaunchedPlane, LaunchFailed, Scope.Scope> =>
  local("plane", "local/plane/main.ts", options).pipe(
    Effect.map((plane) => ({ ...plane, adminKey: String(plane.ready["adminKey"]) }))
  )

/**
 * Under load the scripted gateway's heap would otherwise grow to ten times what is alive in it, for no speed. Told when
 * Node starts: V8 does not promise to take its flags while it runs.
 */
export const gatewayNodeArgs = ["--optimize-for-size"]

/** Starts the scripted gateway; its own options go into `args`. */
export const launchGateway = (options: LocalOptions = {}): Effect.Effect<Launched, LaunchFailed, Scope.Scope> =>
  local("gateway", "local/gateway/main.ts", options, gatewayNodeArgs)

/** Starts the scripted model provider; its own options go into `args`. */
export const launchModel = (options: LocalOptions = {}): Effect.Effect<Launched, LaunchFailed, Scope.Scope> =>
  local("model", "local/model/main.ts", options)

export const freePort: Effect.Effect<number> = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

/** How to start the runtime: its variables go into `env`; HEALTH_PORT is picked when absent. */
export type RuntimeOptions = LocalOptions & {
  /** The path whose 200 says ready; `/readyz` when absent, `/livez` for a runtime that is meant to wait. */
  readonly readyPath?: string
  /** What to run instead of `src/main.ts`, for instance the bundle. */
  readonly entry?: string
  /** Flags of Node.js. */
  readonly nodeArgs?: ReadonlyArray<string>
}

/** Starts the runtime on a free port of 127.0.0.1 and waits until it answers 200 where told. */
export const launchRuntime = (options: RuntimeOptions = {}): Effect.Effect<Launched, LaunchFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const port = options.env?.["HEALTH_PORT"] ?? String(yield* freePort)
    const url = `http://127.0.0.1:${port}`
    return yield* launch({
      ...options,
      name: options.name ?? "runtime",
      command: process.execPath,
      cwd: options.cwd ?? options.root ?? root,
      args: [
        ...(options.nodeArgs ?? []),
        "--import",
        new URL("launcher/dieWithParent.js", import.meta.url).href,
        options.entry ?? join(options.root ?? root, "src/main.ts"),
        "start",
        ...(options.args ?? [])
      ],
      env: { ...options.env, HEALTH_PORT: port },
      readiness: { url, probe: `${url}${options.readyPath ?? "/readyz"}` },
      // Longer than the runtime's own budget for an orderly end.
      stopTimeout: options.stopTimeout ?? 50_000
    })
  })
