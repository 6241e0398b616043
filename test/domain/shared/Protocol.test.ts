import { assert, describe, it } from "@effect/vitest"
import { PROTOCOL, protocolMismatch, protocolProblem, servedProtocols } from "../../../src/domain/shared/Protocol.ts"

describe("protocols", () => {
  it.each([
    [3, { oldest: 3, newest: 4 }, null],
    [4, { oldest: 3, newest: 4 }, null],
    [2, { oldest: 3, newest: 4 }, "runtime"],
    [5, { oldest: 3, newest: 4 }, "deployment"],
    [1, { oldest: 1, newest: 1 }, null],
    [2, { oldest: 1, newest: 1 }, "deployment"]
  ] as const)("of a runtime of %d and a deployment of %j name the side to upgrade: %s", (runtime, served, side) => {
    assert.strictEqual(protocolMismatch(runtime, served), side)
  })

  it("of a deployment are its own and the previous one", () => {
    assert.deepStrictEqual(servedProtocols, { oldest: Math.max(1, PROTOCOL - 1), newest: PROTOCOL })
    assert.isNull(protocolProblem(PROTOCOL, servedProtocols))
    assert.isNull(protocolProblem(PROTOCOL, { oldest: PROTOCOL, newest: PROTOCOL + 1 }))
  })

  it("that do not match name the remedy", () => {
    assert.deepStrictEqual(protocolProblem(1, { oldest: 2, newest: 3 }), [
      "the deployment serves protocol versions 2 to 3, this runtime needs 1",
      "upgrade the runtime (app/runtimes:upgrade, or install the newer release)"
    ])
    assert.deepStrictEqual(protocolProblem(3, { oldest: 2, newest: 2 }), [
      "the deployment serves protocol version 2, this runtime needs 3",
      "upgrade the deployment (npx convex deploy from this runtime's release)"
    ])
  })
})
