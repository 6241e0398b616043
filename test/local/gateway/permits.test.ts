import { expect, it } from "vitest"
import { Permits } from "../../../local/gateway/permits.ts"

const never = new AbortController().signal

it("grants permits in order of arrival, up to the limit", async () => {
  const permits = new Permits(() => 1)
  const order: Array<string> = []
  await permits.take(never)
  const second = permits.take(never).then(() => order.push("second"))
  const third = permits.take(never).then(() => order.push("third"))
  expect([permits.taken, permits.waiting]).toEqual([1, 2])
  permits.release()
  await second
  permits.release()
  await third
  expect(order).toEqual(["second", "third"])
})

it("skips an aborted waiter, and grants its place to the next", async () => {
  const permits = new Permits(() => 1)
  await permits.take(never)
  const giveUp = new AbortController()
  const gone = permits.take(giveUp.signal)
  const next = permits.take(never)
  giveUp.abort(new Error("gave up"))
  await expect(gone).rejects.toThrow("gave up")
  permits.release()
  await next
  expect([permits.taken, permits.waiting]).toEqual([1, 0])
})

it("applies a changed limit when a permit is released", async () => {
  let limit = 1
  const permits = new Permits(() => limit)
  await permits.take(never)
  const others = [permits.take(never), permits.take(never)]
  limit = 2
  permits.release()
  await Promise.all(others)
  expect(permits.taken).toBe(2)
})
