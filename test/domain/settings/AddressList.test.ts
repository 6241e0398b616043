import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { isListed, loopback, parseAddressList } from "../../../src/domain/settings/AddressList.ts"

const listOf = (text: string) => Result.getOrThrow(parseAddressList(text))

describe("an address list", () => {
  const here = [
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::FFFF:127.9.9.9"
  ]
  for (const address of here) {
    it(`holds ${address} as this machine`, () => assert.isTrue(isListed(loopback, address)))
  }

  const elsewhere = [
    "10.0.0.1",
    "192.168.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "169.254.169.254",
    "::",
    "::2",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "fe80::1",
    "fe80::1%eth0",
    "2001:db8::1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.1.",
    " 127.0.0.1",
    "127.0.0.1:80",
    "[::1]",
    "::1::",
    "localhost",
    "",
    "1".repeat(5_000)
  ]
  for (const address of elsewhere) {
    it(`does not hold ${JSON.stringify(address.slice(0, 40))} as this machine`, () =>
      assert.isFalse(isListed(loopback, address)))
  }

  it("contains no unknown address", () => assert.isFalse(isListed(loopback, undefined)))

  it("always contains this machine in addition to its entries, in either family and mapped", () => {
    const list = listOf("10.20.0.0/16, fd00::/8 192.0.2.7 ::ffff:172.16.0.0/108")
    for (const address of ["127.0.0.1", "10.20.3.4", "::ffff:10.20.255.1", "fd12::9", "fd12::9%eth0", "192.0.2.7"]) {
      assert.isTrue(isListed(list, address), address)
    }
    assert.isTrue(isListed(list, "172.16.9.1"))
    for (const address of ["10.21.0.1", "fe00::1", "192.0.2.8", "172.32.0.1", "::ffff:10.21.0.1"]) {
      assert.isFalse(isListed(list, address), address)
    }
  })

  it("is this machine alone if it is `loopback` or empty", () => {
    assert.deepStrictEqual(listOf("loopback"), loopback)
    assert.deepStrictEqual(listOf(" , "), loopback)
  })

  for (const entry of ["10.0.0.1/8", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "any", "0x0a.0.0.0/8", "10.0.0.0/08"]) {
    it(`refuses ${entry} and names it`, () => {
      assert.deepStrictEqual(parseAddressList(`127.0.0.1,${entry}`), Result.fail(entry))
    })
  }
})
