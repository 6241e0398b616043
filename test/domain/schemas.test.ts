import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Backlog, Claim, Fence, Usage } from "../../src/domain/Delivery.ts"
import { DeliveryContext } from "../../src/domain/DeliveryContext.ts"
import { PulseAnswer, RuntimeCommands } from "../../src/domain/RuntimeCommands.ts"
import { sampleContext } from "./sampleContext.ts"

const throughJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

/** What is sent as JSON comes back as it was. */
const roundTrip = <A, I>(name: string, schema: Schema.Codec<A, I>) => {
  it.prop(
    `${name} comes back from JSON as it was`,
    { value: schema },
    ({ value }) => {
      const encoded = throughJson(Schema.encodeSync(schema)(value))
      assert.deepStrictEqual(Schema.decodeUnknownSync(schema)(encoded), throughJson(value))
    },
    { arbitrary: { runs: 30 } }
  )
}

describe("the schemas of the control plane's answers", () => {
  roundTrip("a claim", Claim)
  roundTrip("a backlog", Backlog)
  roundTrip("a fence", Fence)
  roundTrip("usage", Usage)
  roundTrip("commands", RuntimeCommands)
  roundTrip("a pulse's answer", PulseAnswer)
  roundTrip("a context", DeliveryContext)

  it("take more fields than this version knows", () => {
    const context = { ...sampleContext(), addedLater: { nested: true } }
    assert.deepStrictEqual(Schema.decodeSync(DeliveryContext)(context), sampleContext())
  })

  it("refuse what is missing or of another kind, by its path", () => {
    const decode = Schema.decodeUnknownResult(DeliveryContext)
    const { fold, ...withoutFold } = sampleContext()
    assert.include(String(decode(withoutFold)), "fold")
    assert.include(String(decode({ ...sampleContext(), fold: [{ ...fold[0], type: "unheard_of" }] })), "type")
    assert.include(String(Schema.decodeUnknownResult(Claim)({ deliveries: [], nextDueAt: null, now: "soon" })), "now")
  })

  it("refuse a delivery without notifications", () => {
    const [delivery] = [{ notificationIds: [], session: "s", epoch: 1 }]
    const claim = { deliveries: [delivery], nextDueAt: null, now: 0, isBlocked: false }
    assert.include(String(Schema.decodeUnknownResult(Claim)(claim)), "notificationIds")
  })
})
