/** The subject of a bench: plane and runtime of one checkout, the runtime from source or as shipped. */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { Effect } from "effect"
import { makeSetup } from "../test/process/setup.ts"
import type { Setup } from "../test/process/setup.ts"

/** `source` runs src/main.ts without flags; `shipped` runs the bundle with the flags and variables that it ships with. */
export type Form = "source" | "shipped"

/** A runtime to measure, with the control plane functions of its own checkout. */
export type Subject = { readonly root: string; readonly form: Form }

const root = join(import.meta.dirname, "..")

/** The form that BENCH_FORM selects; as shipped by default. */
export const FORM: Form = process.env["BENCH_FORM"] === "source" ? "source" : "shipped"

/** This checkout, in the form that BENCH_FORM selects. */
export const here: Subject = { root, form: FORM }

/** Another checkout in the same form. */
export const at = (directory: string): Subject => ({ root: resolve(directory), form: FORM })

/** How Node.js runs the bundle of a checkout. */
export type Shipped = {
  readonly entry: string
  /** The flags of the bundle's first line, which the kernel passes for the image and for the systemd unit. */
  readonly nodeArgs: ReadonlyArray<string>
  /** The variables that the image sets, without those that name its directories. */
  readonly env: Readonly<Record<string, string>>
}

/** The flags after `node` in a first line such as `#!/usr/bin/env -S node --flag`. */
export const flagsOf = (code: string): ReadonlyArray<string> =>
  (/^#!.*\bnode\b(.*)\n/.exec(code)?.[1] ?? "").split(" ").filter((flag) => flag !== "")

/** The variables of a Dockerfile's ENV lines, without those that name directories of the image. */
export const variablesOf = (dockerfile: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    [...dockerfile.matchAll(/^ENV (.*)$/gm)]
      .flatMap(([, line]) => line!.split(" "))
      .map((assignment) => assignment.split("=", 2) as [string, string])
      .filter(([, value]) => !value.startsWith("/"))
  )

const variablesIn = (directory: string) => variablesOf(readFileSync(join(directory, "Dockerfile"), "utf8"))

/** The variables that this checkout's image sets. */
export const shippedVariables = variablesIn(root)

const built = new Map<string, Shipped>()

/** Builds the bundle of a checkout, once per process. */
export const shippedFrom = (directory: string): Shipped => {
  const known = built.get(directory)
  if (known !== undefined) return known
  execFileSync(process.execPath, [join(directory, "build/main.ts")], { cwd: directory, stdio: ["ignore", "ignore", 2] })
  const entry = join(directory, "dist/main.js")
  const shipped: Shipped = {
    entry,
    nodeArgs: flagsOf(readFileSync(entry, "utf8")),
    env: variablesIn(directory)
  }
  built.set(directory, shipped)
  return shipped
}

/** A setup of this subject: its plane and gateway run, and `startRuntime` starts its runtime in its form. */
export const setupOf = (
  subject: Subject,
  options: Omit<NonNullable<Parameters<typeof makeSetup>[0]>, "root"> = {}
): ReturnType<typeof makeSetup> =>
  Effect.map(makeSetup({ ...options, root: subject.root }), (setup): Setup => {
    if (subject.form === "source") return setup
    const { entry, env: variables, nodeArgs } = shippedFrom(subject.root)
    return {
      ...setup,
      startRuntime: (env = {}, more = {}) => setup.startRuntime({ ...variables, ...env }, { entry, nodeArgs, ...more })
    }
  })
