import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { PulseAnswer, RuntimeCommands } from "../../src/domain/controlPlane/RuntimeCommands.ts"
import { DeliveryContext } from "../../src/domain/delivery/DeliveryContext.ts"
import {
  Backlog,
  ClaimAnswer,
  Fence,
  HeartbeatRun,
  NotificationRun,
  RenewAnswer,
  Usage,
  Wake
} from "../../src/domain/delivery/Run.ts"
import { sampleContext, sampleRun } from "./delivery/sampleContext.ts"

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
  roundTrip("a claim's answer", ClaimAnswer)
  roundTrip("a notification's run", NotificationRun)
  roundTrip("a heartbeat's run", HeartbeatRun)
  roundTrip("a renewal's answer", RenewAnswer)
  roundTrip("a wake", Wake)
  roundTrip("a backlog", Backlog)
  roundTrip("a fence", Fence)
  roundTrip("usage", Usage)
  roundTrip("commands", RuntimeCommands)
  roundTrip("a pulse's answer", PulseAnswer)

  it("take more fields than this version knows", () => {
    const context = { ...sampleContext(), addedLater: { nested: true } }
    assert.deepStrictEqual(Schema.decodeSync(DeliveryContext)(context), sampleContext())
  })

  it("refuse what is missing or of another kind, by its path", () => {
    const decode = Schema.decodeUnknownResult(DeliveryContext)
    const { events, ...withoutEvents } = sampleContext()
    assert.include(String(decode(withoutEvents)), "events")
    assert.include(String(decode({ ...sampleContext(), events: [{ ...events[0], type: "unheard_of" }] })), "type")
    const decodeRun = Schema.decodeUnknownResult(NotificationRun)
    assert.include(String(decodeRun({ ...sampleRun(), epoch: "seven" })), "epoch")
    assert.include(String(decodeRun({ ...sampleRun(), kind: "heartbeat" })), "kind")
  })
})
