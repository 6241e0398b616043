import { type ChildProcess, spawn } from "node:child_process"
import { createWriteStream, mkdirSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, Exit, Schema, type Scope } from "effect"

/** The JSON line that a process prints on stdout when it is ready. */
export type Ready = {
  readonly ready: true
  readonly name: string
  readonly url: string
  readonly [key: string]: unknown
}

/** A process did not become ready: it exited first or took too long. Has its last output. */
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

/** The end of a process; exactly one of the two is set. */
export type Ending = { readonly code: number | null; readonly signal: NodeJS.Signals | null }

/** A running local process that its scope stops. */
export type Launched = {
  readonly name: string
  readonly pid: number
  readonly url: string
  /** The process's ready line. */
  readonly ready: Ready
  readonly logFile: string
  /** Sends a signal to the process itself, not to its children. Does nothing if the process has exited. */
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Waits until the process has exited. */
  readonly exit: Effect.Effect<Ending>
  /** The last 256 KiB of stdout and stderr together, in order of arrival. */
  readonly output: () => string
}

/** What to start, and how to find out that it is ready. */
export type LaunchOptions = {
  readonly name: string
  readonly command: string
  readonly args?: ReadonlyArray<string>
  /** Added to the launcher's own environment; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly logFile?: string
  readonly cwd?: string
  /** Without it, a JSON line on stdout. Otherwise a probe that answers 200; `url` is then the process's address. */
  readonly readiness?: { readonly url: string; readonly probe: string }
  /** Called with every line of stdout and stderr. */
  readonly onLine?: (line: string) => void
  /** How long to wait for readiness, in milliseconds; 90,000 by default. */
  readonly readyTimeout?: number
  /** How long after SIGTERM to send SIGKILL, in milliseconds; 10,000 by default. */
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
  // A failure to write the log must not end the launcher.
  log.on("error", () => {})
  const env: NodeJS.ProcessEnv = { ...process.env, ...options.env }
  const child = spawn(options.command, options.args ?? [], {
    cwd: options.cwd ?? root,
    env,
    // Its own process group, so that its children end with it.
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
        // `exit`, not `close`: a grandchild that holds the pipes must not delay the end, but our own pipes get time to
        // drain.
        child.once("exit", (code, signal) => {
          const ending = { code, signal }
          const done = (): void => {
            running.ending = ending
            log.end(() => settle(ending))
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
    // The group has no process left.
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
 * Starts a process and waits until it is ready. The scope stops it with SIGTERM, then with SIGKILL to its whole group.
 * Its stdin stays open while the launcher runs, so that a child with `--die-with-parent` ends with it. Fails at once if
 * the process exits before it is ready.
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

/** The options of every local process: more arguments, environment, and the log file. */
export type LocalOptions = Pick<
  LaunchOptions,
  "env" | "logFile" | "cwd" | "onLine" | "readyTimeout" | "stopTimeout"
> & {
  readonly name?: string
  readonly args?: ReadonlyArray<string>
  /** The checkout whose program is started; this one by default. */
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

/** A running plane. With `adminKey` a caller can use its internal functions and act as any person. */
export type LaunchedPlane = Launched & { readonly adminKey: string }

/** Starts the local control plane; `args` are its options, for example `--app`, `--data`, `--port`, `--conflicts`. */
export const launchPlane = (options: LocalOptions = {}): Effect.Effect<LaunchedPlane, LaunchFailed, Scope.Scope> =>
  local("plane", "local/plane/main.ts", options).pipe(
    Effect.map((plane) => ({ ...plane, adminKey: String(plane.ready["adminKey"]) }))
  )

/**
 * Without this flag the scripted gateway's heap grows under load to ten times its live objects, and is no faster. It is
 * a flag of Node because V8 does not guarantee that it reads flags while it runs.
 */
export const gatewayNodeArgs = ["--optimize-for-size"]

/** Starts the scripted gateway; `args` are its options. */
export const launchGateway = (options: LocalOptions = {}): Effect.Effect<Launched, LaunchFailed, Scope.Scope> =>
  local("gateway", "local/gateway/main.ts", options, gatewayNodeArgs)

/** Starts the scripted model provider; `args` are its options. */
export const launchModel = (options: LocalOptions = {}): Effect.Effect<Launched, LaunchFailed, Scope.Scope> =>
  local("model", "local/model/main.ts", options)

export const freePort: Effect.Effect<number> = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

/** How to start the runtime: `env` has its variables; HEALTH_PORT is a free port by default. */
export type RuntimeOptions = LocalOptions & {
  /**
   * The path that answers 200 when the runtime is ready. `/readyz` by default, `/livez` for a runtime that must wait.
   */
  readonly readyPath?: string
  /** The file to run instead of `src/main.ts`, for example the bundle. */
  readonly entry?: string
  /** Flags of Node.js. */
  readonly nodeArgs?: ReadonlyArray<string>
  /**
   * If the launcher is killed, the runtime ends in order, which stops the gateway that it started. Otherwise it is
   * killed.
   */
  readonly stopsGateway?: boolean
}

/** Starts the runtime on a free port of 127.0.0.1 and waits until it is ready. */
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
        new URL(`launcher/dieWithParent.js${options.stopsGateway === true ? "?in-order" : ""}`, import.meta.url).href,
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
