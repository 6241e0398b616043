import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { disabledAfterMs, retryDelay } from "../../convex/model/webhooks/retryDelay.ts"
import { addressProblem } from "../../convex/model/webhooks/webhookAddress.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const octet = between(0, 255)
const segment = between(0, 65_535)

/** The notations in which a URL's host may be an IPv4 address. */
const notations = ([a, b, c, d]: readonly [number, number, number, number]): ReadonlyArray<string> => {
  const number = ((a * 256 + b) * 256 + c) * 256 + d
  return [
    `${a}.${b}.${c}.${d}`,
    `${a}.${b}.${c}.${d}.`,
    `${a}.${b}.${c * 256 + d}`,
    `${a}.${(b * 256 + c) * 256 + d}`,
    String(number),
    `0x${number.toString(16)}`,
    `0${number.toString(8)}`,
    `0x${a.toString(16)}.0${b.toString(8)}.${c}.${d}`,
    `[::ffff:${a}.${b}.${c}.${d}]`,
    `[64:ff9b::${a}.${b}.${c}.${d}]`
  ]
}

describe("the address of a webhook", () => {
  it.prop("is no IPv4 address, in any notation", [Schema.Tuple([octet, octet, octet, octet])], ([octets]) => {
    for (const host of notations(octets)) {
      for (const allowsLocal of [false, true]) {
        // This machine has one notation with the switch for development.
        if (allowsLocal && new URL(`https://${host}`).hostname === "127.0.0.1") continue
        assert.isString(addressProblem(`https://${host}/`, allowsLocal), host)
      }
    }
  })

  it.prop(
    "is no IPv6 address",
    [Schema.Tuple([segment, segment, segment, segment, segment, segment, segment, segment])],
    ([segments]) =>
      assert.isString(addressProblem(`https://[${segments.map((each) => each.toString(16)).join(":")}]/`, false))
  )

  it.prop(
    "is no name without a dot, and none under an ending of private networks",
    [Schema.String.check(Schema.isPattern(/^[a-z][a-z0-9-]{0,20}[a-z0-9]$/))],
    ([name]) => {
      const endings = ["local", "internal", "localhost", "LAN", "home.arpa", "corp", "svc.cluster.local"]
      for (const host of [name, `${name}.`, ...endings.map((ending) => `${name}.${ending}`)]) {
        assert.isString(addressProblem(`https://${host}/hook`, false), host)
      }
      assert.isNull(addressProblem(`https://${name}.example.com/hook?token=1`, false))
    }
  )

  const refused = [
    "",
    "hooks.example.com",
    "http://hooks.example.com/",
    "ftp://hooks.example.com/",
    "file:///etc/passwd",
    "https://pat:secret@hooks.example.com/",
    "https://token@hooks.example.com/",
    "https://hooks.example.com/#part",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://metadata.google.internal/computeMetadata/v1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://ⓛocalhost/",
    "https://①②⑦.0.0.1/",
    `https://hooks.example.com/${"a".repeat(2_000)}`
  ]
  it.each(refused)("is not %s", (url) => assert.isString(addressProblem(url, false)))

  it.each(["https://hooks.example.com", "https://hooks.example.com:8443/a/b?c=d", "https://bücher.example.com/"])(
    "may be %s",
    (url) => assert.isNull(addressProblem(url, false))
  )

  it("may be this machine with the switch for development, and no other private address", () => {
    for (const host of ["localhost", "127.0.0.1:8080", "[::1]:8080"]) {
      assert.isNull(addressProblem(`http://${host}/`, true))
      assert.isString(addressProblem(`http://${host}/`, false))
    }
    for (const host of ["10.0.0.1", "192.168.1.1", "[fe80::1]", "printer.local", "hooks.example.com"]) {
      assert.isString(addressProblem(`http://${host}/`, true))
    }
  })
})

describe("the retries of a delivery", () => {
  const delays = (random: number): ReadonlyArray<number> => {
    const waits: Array<number> = []
    for (let attempts = 1; ; attempts += 1) {
      const delay = retryDelay(attempts, random)
      if (delay === null) return waits
      waits.push(delay)
    }
  }

  it.prop(
    "wait longer each time, at most a tenth longer than planned, and last longer than a failing webhook stays enabled",
    [Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))],
    ([random]) => {
      const waits = delays(random)
      assert.deepStrictEqual(
        waits,
        waits.toSorted((a, b) => a - b)
      )
      for (const [index, planned] of delays(0).entries()) {
        assert.isAtLeast(waits[index] ?? 0, planned)
        assert.isAtMost(waits[index] ?? 0, Math.round(planned * 1.1))
      }
      const total = waits.reduce((sum, wait) => sum + wait, 0)
      assert.isAtLeast(total, disabledAfterMs)
      // Without the last one they would not.
      assert.isBelow(total - (waits.at(-1) ?? 0), disabledAfterMs)
    }
  )
})
