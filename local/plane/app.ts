import { existsSync, globSync } from "node:fs"
import { join, resolve, sep } from "node:path"
import { pathToFileURL } from "node:url"
import { type AuthConfig } from "convex/server"
import { type JSONValue } from "convex/values"

/** The kind of a function. */
export type Kind = "query" | "mutation" | "action"

/** A registered Convex function, as `convex/server` makes it. */
export type RegisteredFunction = {
  readonly isQuery?: boolean
  readonly isMutation?: boolean
  readonly isAction?: boolean
  readonly isPublic?: boolean
  readonly isInternal?: boolean
  readonly exportArgs: () => string
  readonly exportReturns: () => string
  readonly _handler: (context: unknown, args: unknown) => unknown
}

/** A function of the app and who may call it. */
export type AppFunction = {
  readonly path: string
  readonly kind: Kind
  readonly isPublic: boolean
  readonly returns: JSONValue
  readonly registered: RegisteredFunction
}

/** One entry of `crons.ts`. */
export type CronJob = {
  readonly name: string
  readonly path: string
  readonly args: JSONValue
  readonly schedule: { readonly type: string; readonly [field: string]: unknown }
}

/** A Convex app that the plane serves. */
export type App = {
  readonly folder: string
  readonly schema: unknown
  /** By path, `folder/module:name`. */
  readonly functions: ReadonlyMap<string, AppFunction>
  readonly crons: ReadonlyArray<CronJob>
}

/** Convex's own form of a function's path: no extension, and `default` if no name is given. */
export const normalPath = (path: string): string => {
  const [module = "", name = "default"] = path.split(":")
  return `${module.replace(/\.[cm]?[jt]s$/, "")}:${name}`
}

const isRegistered = (value: unknown): value is RegisteredFunction =>
  typeof value === "function" &&
  "exportArgs" in value &&
  "_handler" in value &&
  ("isQuery" in value || "isMutation" in value || "isAction" in value)

// Convex's bundler skips these: generated code, the schema and configurations, tests, hidden files.
const isModule = (file: string): boolean => {
  const parts = file.split(sep)
  const name = parts.at(-1) ?? ""
  return (
    !parts.some((part) => part.startsWith(".") || part.startsWith("_")) &&
    !parts.includes("node_modules") &&
    /^[A-Za-z0-9_]+\.[cm]?[jt]sx?$/.test(name) &&
    file !== "schema.ts" &&
    file !== "schema.js"
  )
}

const importDefault = async (file: string): Promise<unknown> =>
  ((await import(pathToFileURL(file).href)) as { readonly default?: unknown }).default

/** Imports every module of a `convex/` folder; fails with the import's own error. */
export const loadApp = async (folder: string): Promise<App> => {
  const files = globSync("**/*.{ts,js,mts,mjs}", { cwd: folder })
  const functions = new Map<string, AppFunction>()
  let crons: unknown
  for (const file of files.filter(isModule).toSorted()) {
    const modulePath = file.replaceAll(sep, "/").replace(/\.[^.]+$/, "")
    const exports = (await import(pathToFileURL(join(folder, file)).href)) as Record<string, unknown>
    if (modulePath === "crons") crons = exports["default"]
    for (const [name, value] of Object.entries(exports)) {
      if (!isRegistered(value)) continue
      const path = `${modulePath}:${name}`
      functions.set(path, {
        path,
        kind: value.isQuery === true ? "query" : value.isMutation === true ? "mutation" : "action",
        isPublic: value.isPublic === true,
        returns: JSON.parse(value.exportReturns()) as JSONValue,
        registered: value
      })
    }
  }
  if (functions.size === 0) throw new Error("the folder has no Convex function")
  const schemaFile = files.find((file) => file === "schema.ts" || file === "schema.js")
  return {
    folder,
    schema: schemaFile === undefined ? null : await importDefault(join(folder, schemaFile)),
    functions,
    crons: cronJobs(crons)
  }
}

/** The sign-in providers of the app, or of the given file. */
export const loadAuthConfig = async ({ folder }: App, file: string | undefined): Promise<AuthConfig> => {
  const path = resolve(file ?? join(folder, "auth.config.ts"))
  if (file === undefined && !existsSync(path)) return { providers: [] }
  return (await importDefault(path)) as AuthConfig
}

const cronJobs = (crons: unknown): ReadonlyArray<CronJob> =>
  typeof crons === "object" && crons !== null && "crons" in crons
    ? Object.entries(
        crons.crons as Record<
          string,
          { readonly name: string; readonly args: ReadonlyArray<JSONValue>; readonly schedule: CronJob["schedule"] }
        >
      ).map(([name, { name: path, args, schedule }]) => ({
        name,
        path: normalPath(path),
        args: args[0] ?? {},
        schedule
      }))
    : []
