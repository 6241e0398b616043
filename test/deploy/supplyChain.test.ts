import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { parse } from "yaml"

const at = (path: string) => new URL(`../../${path}`, import.meta.url)
const read = (path: string) => readFileSync(at(path), "utf8")

interface LockedPackage {
  readonly integrity?: string
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
