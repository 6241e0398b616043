import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { flagsOf, variablesOf } from "../../bench/subject.ts"
import { HASHBANG } from "../../build/bundle.ts"

const read = (path: string): string => readFileSync(join(import.meta.dirname, "..", "..", path), "utf8")

describe("the runtime as shipped", () => {
  it("gets the flags of the bundle's first line in the benches", () => {
    assert.deepStrictEqual(flagsOf("#!/usr/bin/env -S node --one --two=3\ncode"), ["--one", "--two=3"])
    assert.deepStrictEqual(flagsOf("#!/usr/bin/env node\ncode"), [])
    assert.isNotEmpty(flagsOf(HASHBANG))
  })

  it("is started through that line by the image and the unit, which name no flags", () => {
    assert.match(read("Dockerfile"), /^ENTRYPOINT \["\/app\/dist\/main\.js"\]$/m)
    assert.match(
      read("deploy/systemd/mission-control-runtime@.service"),
      /^ExecStart=\/usr\/local\/bin\/mission-control-runtime start$/m
    )
    for (const path of [
      "Dockerfile",
      "deploy/systemd/mission-control-runtime@.service",
      "docker-compose.runtime.yml"
    ]) {
      assert.notMatch(read(path), /NODE_OPTIONS|--liftoff-only|--max-semi-space-size/, path)
    }
  })

  it("gets the same variables in the image, the unit and the benches", () => {
    const variables = variablesOf(read("Dockerfile"))
    assert.deepStrictEqual(variables, {
      NODE_ENV: "production",
      MALLOC_ARENA_MAX: "2",
      MALLOC_MMAP_THRESHOLD_: "32768"
    })
    const unit = read("deploy/systemd/mission-control-runtime@.service")
    for (const [name, value] of Object.entries(variables)) assert.include(unit, `\nEnvironment=${name}=${value}\n`)
  })
})
