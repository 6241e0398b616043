import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { parse } from "yaml"
import { billOfMaterials } from "../../build/billOfMaterials.ts"

const at = (path: string) => new URL(`../../${path}`, import.meta.url)
const read = (path: string) => readFileSync(at(path), "utf8")

interface LockedPackage {
  readonly integrity?: string
  readonly hasInstallScript?: boolean
  readonly inBundle?: boolean
  readonly optional?: boolean
  readonly os?: ReadonlyArray<string>
  readonly cpu?: ReadonlyArray<string>
}

const lockedPackages = (path: string): ReadonlyArray<readonly [string, LockedPackage]> =>
  Object.entries<LockedPackage>(JSON.parse(read(path)).packages).filter(
    ([name, { inBundle }]) => name !== "" && !inBundle
  )

/** A binary that no machine installs but one of another platform. */
const isOfAnotherPlatform = ({ cpu, optional, os }: LockedPackage): boolean =>
  optional === true && (os?.includes("linux") === false || cpu?.includes("x64") === false)

describe("the lock files", () => {
  for (const path of [
    "package-lock.json",
    "test/openclaw/package-lock.json",
    "test/container/package-lock.json",
    "deploy/openclaw/package-lock.json"
  ]) {
    it(`${path} says what is in each package`, () => {
      const packages = lockedPackages(path)
      assert.isAbove(packages.length, 20)
      const unchecked = packages.filter(([, locked]) => locked.integrity === undefined && !isOfAnotherPlatform(locked))
      assert.deepStrictEqual(unchecked, [])
    })
  }
})

describe("install scripts", () => {
  it("are allowed or denied for each package that has one, and only the package that brings Node.js may run its own", () => {
    const allowed: Readonly<Record<string, boolean>> = JSON.parse(read("package.json")).allowScripts
    const withScript = lockedPackages("package-lock.json").filter(([, { hasInstallScript }]) => hasInstallScript)
    assert.sameMembers(
      withScript.map(([path]) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length)),
      Object.keys(allowed)
    )
    assert.deepStrictEqual(
      Object.keys(allowed).filter((name) => allowed[name]),
      ["node"]
    )
    assert.match(read(".npmrc"), /^strict-allow-scripts=true$/m)
  })

  it("do not run where only npm's archive is needed: in the images, for OpenClaw and for a release", () => {
    for (const path of ["Dockerfile", "deploy/openclaw/Dockerfile"]) {
      const installs = read(path)
        .split("\n")
        .filter((line) => /\bnpm (ci|install)\b/.test(line))
      assert.isNotEmpty(installs, path)
      for (const line of installs) assert.include(line, "--ignore-scripts", path)
    }
    for (const path of ["local/openclaw/install.ts", "build/releaseFiles.ts"]) {
      assert.include(read(path), '"--ignore-scripts"', path)
    }
  })
})

describe("the licence of each package that the program needs", () => {
  const allowed = ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "PSF-2.0"]

  it("allows commercial use and requires no more than a notice", () => {
    const { components } = billOfMaterials(fileURLToPath(at(".")))
    assert.isAbove(components.length, 50)
    const others = components.flatMap(({ licenses = [], name, version }) => {
      const ids = licenses.map(({ expression, license }) => license?.id ?? license?.name ?? expression ?? "unknown")
      return ids.length > 0 && ids.every((id) => allowed.includes(id)) ? [] : [{ package: `${name}@${version}`, ids }]
    })
    assert.deepStrictEqual(others, [])
  })
})

describe(".github/dependabot.yml", () => {
  interface Update {
    readonly "package-ecosystem": string
    readonly directory: string
    readonly schedule: { readonly interval: string }
    readonly groups: Readonly<Record<string, unknown>>
  }
  const { updates, version }: { version: number; updates: ReadonlyArray<Update> } = parse(
    read(".github/dependabot.yml")
  )

  it("has the packages of this repository upgraded each week, in groups", () => {
    assert.strictEqual(version, 2)
    assert.deepStrictEqual(
      updates.map((update) => [update["package-ecosystem"], update.directory, update.schedule.interval]),
      [["npm", "/", "weekly"]]
    )
    for (const { groups } of updates) assert.isNotEmpty(Object.keys(groups))
  })

  it("leaves out only OpenClaw: no other package is in the other lock files", () => {
    for (const path of ["test/openclaw/package.json", "deploy/openclaw/package.json"]) {
      assert.deepStrictEqual(Object.keys(JSON.parse(read(path)).dependencies), ["openclaw"], path)
    }
  })
})

describe("the images", () => {
  it("are built on a base that the builder may name, by default one tag for all", () => {
    for (const path of ["Dockerfile", "deploy/openclaw/Dockerfile"]) {
      const file = read(path)
      assert.match(file, /^ARG BASE=node:24-bookworm-slim$/m, path)
      const stages = [...file.matchAll(/^FROM (\S+)(?: AS (\S+))?$/gm)].map(([, from, name]) => ({ from, name }))
      assert.isNotEmpty(stages)
      const names = stages.map(({ name }) => name)
      assert.deepStrictEqual(
        stages.filter(({ from }) => from !== "${BASE}" && !names.includes(from)),
        [],
        path
      )
    }
  })
})

describe("docker-compose.runtime.yml", () => {
  it("has every container come back after a reboot, unless a person stopped it", () => {
    const { services } = parse(read("docker-compose.runtime.yml"), { merge: true })
    for (const [name, service] of Object.entries<{ restart?: string }>(services)) {
      assert.strictEqual(service.restart, "unless-stopped", name)
    }
  })
})
