import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import {
  firstProtocol,
  protocolMismatch,
  protocolProblem,
  protocolsServedAt
} from "../../src/domain/shared/Protocol.ts"

const version = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000 }))
const many = { arbitrary: { runs: 200 } }

describe("a deployment of any version", () => {
  it.prop(
    "serves its own version and the one before",
    { version },
    ({ version }) => {
      const served = protocolsServedAt(version)
      assert.isNull(protocolMismatch(version, served))
      if (version > 1) assert.isNull(protocolMismatch(version - 1, served))
    },
    many
  )

  it.prop(
    "serves no other version: the older side must be upgraded",
    { version, more: version },
    ({ version, more }) => {
      const served = protocolsServedAt(version)
      assert.strictEqual(protocolMismatch(version + more, served), "deployment")
      const older = served.oldest - more
      assert.strictEqual(protocolMismatch(older, served), "runtime")
    },
    many
  )

  it.prop(
    "keeps serving a runtime while either side is upgraded by one version, the deployment first",
    { version },
    ({ version }) => {
      for (const [runtime, deployment] of [
        [version, version],
        [version, version + 1],
        [version + 1, version + 1]
      ] as const) {
        assert.isNull(protocolMismatch(runtime, protocolsServedAt(deployment)))
      }
    },
    many
  )

  it.prop(
    "is reported as a problem if it does not serve the runtime, with both versions and the side to upgrade",
    { runtime: version, deployment: version },
    ({ runtime, deployment }) => {
      const served = protocolsServedAt(deployment)
      const problem = protocolProblem(runtime, served)
      const side = protocolMismatch(runtime, served)
      if (side === null) return assert.isNull(problem)
      const [found = "", remedy = ""] = problem ?? []
      assert.include(found, `needs ${runtime}`)
      assert.include(found, String(served.newest))
      assert.include(remedy, `upgrade the ${side}`)
    },
    many
  )
})

describe("a deployment that reports no versions", () => {
  it("is treated as one of the first version", () => {
    assert.deepStrictEqual(firstProtocol, { oldest: 1, newest: 1 })
  })
})
