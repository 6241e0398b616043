import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { CAPABILITY_PREFIX } from "../../src/domain/Capability.ts"
import { makeRedactor, REDACTED } from "../../src/domain/Redaction.ts"

const base64 = (text: string) => Buffer.from(text, "utf8").toString("base64").replace(/=+$/, "")
const base64Url = (text: string) => Buffer.from(text, "utf8").toString("base64url")
const inJson = (text: string) => JSON.stringify(text).slice(1, -1)

const token = `mc_service_k57abc_${"0123456789abcdef".repeat(4)}`

describe("a known secret", () => {
  const secret = 'p&ss w"rd\\with/ünïcode?>~~~'
  const redact = makeRedactor([secret])

  it("is taken out as it is, from JSON, from URLs and from base64 of both alphabets", () => {
    const forms = [secret, inJson(secret), encodeURIComponent(secret), base64(secret), base64Url(secret)]
    assert.notStrictEqual(base64(secret), base64Url(secret))
    for (const form of forms) {
      assert.strictEqual(redact(`before ${form} after ${form}`), `before ${REDACTED} after ${REDACTED}`)
    }
  })

  it("is taken out of JSON inside JSON, of URLs in small letters, of base64 in URLs", () => {
    const forms = [
      inJson(inJson(secret)),
      encodeURIComponent(secret).replace(/%../g, (byte) => byte.toLowerCase()),
      encodeURIComponent(Buffer.from(secret).toString("base64"))
    ]
    for (const form of forms) assert.match(redact(`before ${form} after`), /^before <redacted>(%3D)* after$/)
  })

  it("is taken out of base64 wherever it stands in what was encoded", () => {
    const long = "canary-0123456789-abcdefghij"
    const without = makeRedactor([long])
    for (const before of ["", "u", "us", "user", "user:"]) {
      for (const after of ["", ":", "::", ":more"]) {
        for (const encode of [base64, base64Url]) {
          const redacted = without(encode(`${before}${long}${after}`))
          assert.include(redacted, REDACTED)
          assert.isAtMost(redacted.replace(REDACTED, "").length, Math.ceil(((before + after).length * 8) / 6) + 4)
        }
      }
    }
  })

  it("goes whole when it holds another secret", () => {
    const both = makeRedactor(["secret-part", "the-secret-part-and-more"])
    assert.strictEqual(both("the-secret-part-and-more secret-part"), `${REDACTED} ${REDACTED}`)
  })

  it("is matched as text, not as a pattern", () => {
    const odd = makeRedactor(["a.c*e+(x)[y]{z}|$^"])
    assert.strictEqual(odd("abcde a.c*e+(x)[y]{z}|$^"), `abcde ${REDACTED}`)
    const dollars = makeRedactor(["$& $1 $$"])
    assert.strictEqual(dollars("x $& $1 $$ y"), `x ${REDACTED} y`)
  })

  it("that is too short to be one is left, or ordinary words would go", () => {
    assert.strictEqual(makeRedactor(["yes", ""])("yes and no"), "yes and no")
  })

  it("may be half a surrogate pair without harm", () => {
    assert.strictEqual(makeRedactor(["secret\ud800"])("my secret\ud800!"), `my ${REDACTED}!`)
  })
})

describe("a secret known by its shape alone", () => {
  const redact = makeRedactor([])

  it("is a service token of any account", () => {
    assert.strictEqual(redact(`token ${token}.`), `token mc_service_k57abc_${REDACTED}.`)
    const underscored = `mc_service_my_account-1_${"a".repeat(64)}`
    assert.strictEqual(redact(underscored), `mc_service_my_account-1_${REDACTED}`)
  })

  it("is the beginning of a service token that was cut", () => {
    assert.notInclude(redact(token.slice(0, 40)), token.slice(18, 40))
  })

  it("is what follows Bearer and Basic", () => {
    assert.strictEqual(redact("authorization: Bearer abc.def-123"), `authorization: Bearer ${REDACTED}`)
    assert.strictEqual(redact("basic dXNlcjpwYXNz"), `basic ${REDACTED}`)
  })

  it("is the value of our headers that carry one, in text and in JSON", () => {
    assert.strictEqual(redact("x-honeycomb-team: abcdef123"), `x-honeycomb-team: ${REDACTED}`)
    assert.strictEqual(
      redact('{"x-mission-control-capability":"abc123def"}'),
      `{"x-mission-control-capability":"${REDACTED}"}`
    )
  })

  it("is a run's capability, whole or cut, also in base64 of both alphabets", () => {
    // Bytes whose base64 has characters in which the alphabets differ.
    const capability = `${CAPABILITY_PREFIX}${"-_aZ9".repeat(8)}end`
    for (const form of [capability, base64(capability), base64Url(capability)]) {
      assert.strictEqual(redact(`with ${form} as key`), `with ${REDACTED} as key`)
      assert.strictEqual(redact(form.slice(0, 24)), REDACTED)
    }
    for (const before of ["u", "us", "user"]) assert.include(redact(base64(`${before}${capability}`)), REDACTED)
    assert.strictEqual(redact(CAPABILITY_PREFIX), CAPABILITY_PREFIX)
  })

  it("is the password in a URL", () => {
    assert.strictEqual(redact("https://pat:hunter2@host.example/x"), `https://pat:${REDACTED}@host.example/x`)
  })

  it("never reaches from one field of a JSON text into the next", () => {
    for (const fields of [
      { title: "See http://host", author: "@qa" },
      { url: "https://example.com", status: "ok", mail: "pat@example.com" },
      { list: ["http://a", "b@c"] }
    ]) {
      assert.deepStrictEqual(JSON.parse(redact(JSON.stringify(fields))), fields)
    }
  })

  it("is nothing in ordinary text", () => {
    const text = "The bearer of this note asked for basic help at https://host.example:8080/@pat, see mc_service_ docs."
    assert.strictEqual(redact(text), text)
  })
})

const Secret = Schema.String.check(Schema.isMinLength(6))
const Secrets = Schema.NonEmptyArray(Secret)
const Text = Schema.String

describe("any secrets in any text", () => {
  const survives = (text: string, secrets: ReadonlyArray<string>) =>
    // A secret that is part of the mark itself cannot be told from the mark.
    secrets.filter((secret) => !REDACTED.includes(secret)).filter((secret) => text.includes(secret))

  it.prop("leave none of them, in none of the encodings", { Secrets, before: Text, after: Text }, (sample) => {
    const redact = makeRedactor(sample.Secrets)
    for (const secret of sample.Secrets) {
      for (const form of [secret, inJson(secret), encodeURIComponent(secret.toWellFormed()), base64(secret)]) {
        const text = redact(`${sample.before}${form}${sample.after}`)
        assert.deepStrictEqual(survives(text, sample.Secrets), [])
        assert.include(text, REDACTED)
      }
    }
  })

  it.prop("leave none in a JSON document that holds them", { Secrets, name: Text }, ({ Secrets, name }) => {
    const line = makeRedactor(Secrets)(JSON.stringify({ name, secrets: Secrets, nested: { list: [Secrets] } }))
    for (const secret of Secrets) {
      if (!REDACTED.includes(inJson(secret))) assert.notInclude(line, inJson(secret))
    }
  })

  it.prop("change nothing the second time", { Secrets, text: Text }, ({ Secrets, text }) => {
    const redact = makeRedactor(Secrets.filter((secret) => !REDACTED.includes(secret)))
    const once = redact(`${text}${Secrets[0]}`)
    assert.strictEqual(redact(once), once)
  })
})
