import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { CAPABILITY_PREFIX } from "../../../src/domain/http/Capability.ts"
import { makeOwnRedactor, makeRedactor, REDACTED } from "../../../src/domain/observability/Redaction.ts"
import type { credentialForms } from "../../../src/domain/observability/Redaction.ts"

const base64 = (text: string) => Buffer.from(text, "utf8").toString("base64").replace(/=+$/, "")
const base64Url = (text: string) => Buffer.from(text, "utf8").toString("base64url")
const inJson = (text: string) => JSON.stringify(text).slice(1, -1)

const token = `mc_service_k57abc_${"0123456789abcdef".repeat(4)}`

describe("a known secret", () => {
  const secret = 'p&ss w"rd\\with/ünïcode?>~~~'
  const redact = makeRedactor([secret])

  it("is removed from plain text, JSON, URLs and base64 of both alphabets", () => {
    const forms = [secret, inJson(secret), encodeURIComponent(secret), base64(secret), base64Url(secret)]
    assert.notStrictEqual(base64(secret), base64Url(secret))
    for (const form of forms) {
      assert.strictEqual(redact(`before ${form} after ${form}`), `before ${REDACTED} after ${REDACTED}`)
    }
  })

  it("is removed from JSON inside JSON, from URLs in lower case, from base64 in URLs", () => {
    const forms = [
      inJson(inJson(secret)),
      encodeURIComponent(secret).replace(/%../g, (byte) => byte.toLowerCase()),
      encodeURIComponent(Buffer.from(secret).toString("base64"))
    ]
    for (const form of forms) assert.match(redact(`before ${form} after`), /^before <redacted>(%3D)* after$/)
  })

  it("is removed from base64 at any position of the encoded text", () => {
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

  it("is removed completely if it contains another secret", () => {
    const both = makeRedactor(["secret-part", "the-secret-part-and-more"])
    assert.strictEqual(both("the-secret-part-and-more secret-part"), `${REDACTED} ${REDACTED}`)
  })

  it("is matched as text, not as a pattern", () => {
    const odd = makeRedactor(["a.c*e+(x)[y]{z}|$^"])
    assert.strictEqual(odd("abcde a.c*e+(x)[y]{z}|$^"), `abcde ${REDACTED}`)
    const dollars = makeRedactor(["$& $1 $$"])
    assert.strictEqual(dollars("x $& $1 $$ y"), `x ${REDACTED} y`)
  })

  it("that is too short is kept, so that ordinary words stay", () => {
    assert.strictEqual(makeRedactor(["yes", ""])("yes and no"), "yes and no")
  })

  it("may be a lone surrogate", () => {
    assert.strictEqual(makeRedactor(["secret\ud800"])("my secret\ud800!"), `my ${REDACTED}!`)
  })
})

describe("a secret recognised by its format", () => {
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

  it("is the value of the runtime's headers, in text and in JSON", () => {
    assert.strictEqual(redact("x-honeycomb-team: abcdef123"), `x-honeycomb-team: ${REDACTED}`)
    assert.strictEqual(
      redact('{"x-mission-control-capability":"abc123def"}'),
      `{"x-mission-control-capability":"${REDACTED}"}`
    )
  })

  it("is a run's capability, complete or cut, also in base64 of both alphabets", () => {
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

  it("never extends from one field of a JSON text into the next", () => {
    for (const fields of [
      { title: "See http://host", author: "@qa" },
      { url: "https://example.com", status: "ok", mail: "pat@example.com" },
      { list: ["http://a", "b@c"] }
    ]) {
      assert.deepStrictEqual(JSON.parse(redact(JSON.stringify(fields))), fields)
    }
  })

  it("is not found in ordinary text", () => {
    for (const text of [
      "The bearer of this note asked for basic help at https://host.example:8080/@pat, see mc_service_ docs.",
      "Basic authentication, basic JavaScript, basic task_status and/or a bearer certificate.",
      "The file begins with -----BEGIN PRIVATE KEY----- and then the key; a certificate with -----BEGIN CERTIFICATE-----.",
      "Set AWS_SECRET_ACCESS_KEY and x-api-key, as sk-learn does; the prefix of a token is ghp_ or xoxb-, xoxo-hugs-and-kisses."
    ]) {
      assert.strictEqual(redact(text), text)
    }
  })
})

const letters = "aB3dE5gH7jK9mN".repeat(8)
const awsId = "IOSFODNN7EXAMPLE"
const hex = "0123456789abcdef".repeat(8)
const keyLines = Array.from({ length: 5 }, () => `${letters.slice(0, 60)}+/AB`)
const pem = (kind: string) => `-----BEGIN ${kind}-----\n${keyLines.join("\n")}\nAb3=\n-----END ${kind}-----`

/** Credentials as their issuers form them, put together here so that no scanner takes them for real ones. */
const credentials: Readonly<Record<keyof typeof credentialForms, ReadonlyArray<string>>> = {
  Anthropic: [`sk-ant-api03-${letters.slice(0, 93)}-_AA`],
  AWS: [`AKIA${awsId}`, `ASIA${awsId}`],
  Cerebras: [`csk-${letters.toLowerCase().slice(0, 48)}`],
  Convex: [`prod:happy-animal-123|${letters.slice(0, 60)}==`, `preview:team:project|${letters.slice(0, 60)}`],
  DigitalOcean: [`dop_v1_${hex.slice(0, 64)}`],
  GitHub: [
    `ghp_${letters.slice(0, 36)}`,
    `ghs_${letters.slice(0, 36)}`,
    `github_pat_${letters.slice(0, 22)}_${letters.slice(0, 59)}`
  ],
  GitLab: [`glpat-${letters.slice(0, 18)}_-`],
  Google: [`AIza${letters.slice(0, 33)}_-`, `ya29.${letters.slice(0, 60)}`, `GOCSPX-${letters.slice(0, 28)}`],
  Groq: [`gsk_${letters.slice(0, 52)}`],
  "Hugging Face": [`hf_${letters.slice(0, 34)}`],
  "JSON Web Token": [`${base64Url('{"alg":"HS256"}')}.${base64Url('{"sub":"1234567890"}')}.${letters.slice(0, 43)}`],
  npm: [`npm_${letters.slice(0, 36)}`],
  NVIDIA: [`nvapi-${letters.slice(0, 64)}`],
  OpenAI: [`sk-proj-${letters.slice(0, 60)}_-`, `sk-${letters.slice(0, 48)}`],
  OpenRouter: [`sk-or-v1-${hex.slice(0, 64)}`],
  Perplexity: [`pplx-${letters.slice(0, 48)}`],
  "private key": [pem("PRIVATE KEY"), pem("OPENSSH PRIVATE KEY"), pem("RSA PRIVATE KEY"), pem("PGP PRIVATE KEY BLOCK")],
  PyPI: [`pypi-AgE${letters.slice(0, 80)}`],
  Replicate: [`r8_${letters.slice(0, 37)}`],
  SendGrid: [`SG.${letters.slice(0, 22)}.${letters.slice(0, 43)}`],
  Slack: [
    `xoxb-${"1234567890".repeat(2)}-${letters.slice(0, 24)}`,
    `xoxe.xoxp-1-${letters.slice(0, 40)}`,
    `xapp-1-A012-${letters.slice(0, 40)}`,
    `hooks.slack.com/services/T01234567/B01234567/${letters.slice(0, 24)}`
  ],
  Stripe: [`sk_live_${letters.slice(0, 24)}`, `rk_test_${letters.slice(0, 24)}`, `whsec_${letters.slice(0, 32)}`],
  Telegram: [`123456789:AA${letters.slice(0, 33)}`],
  xAI: [`xai-${letters.slice(0, 80)}`]
}

describe("a credential of another service", () => {
  const redact = makeRedactor([])
  const surroundings: ReadonlyArray<(text: string) => string> = [
    (text) => text,
    (text) => `the key is ${text}.`,
    (text) => `KEY=${text}\nNEXT=1`,
    (text) => `line\n${text}\nline`,
    (text) => `\`${text}\` "${text}" (${text})`
  ]

  for (const [issuer, samples] of Object.entries(credentials)) {
    it(`of ${issuer} is removed completely, and nothing around it`, () => {
      for (const sample of samples) {
        for (const surround of surroundings) {
          const expected = surround(REDACTED)
          assert.strictEqual(redact(surround(sample)), expected)
          assert.strictEqual(redact(JSON.stringify(surround(sample))), JSON.stringify(expected))
          assert.strictEqual(
            redact(JSON.stringify(JSON.stringify(surround(sample)))),
            JSON.stringify(JSON.stringify(expected))
          )
        }
        assert.strictEqual(redact(`?a=%22${sample}&b=c`), `?a=%22${REDACTED}&b=c`)
      }
    })
  }

  it("that is a truncated private key is removed", () => {
    const whole = pem("RSA PRIVATE KEY")
    const cut = whole.slice(0, whole.indexOf("Ab3="))
    for (const line of keyLines) assert.notInclude(redact(`the key: ${cut}`), line)
    for (const line of keyLines) assert.notInclude(redact(JSON.stringify(`the key: ${cut}`)), line)
  })

  it("without a special format is recognised by its name", () => {
    const secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCY".padEnd(40, "EXAMPLEKEY")
    for (const [text, expected] of [
      [`AWS_SECRET_ACCESS_KEY=${secret}`, `AWS_SECRET_ACCESS_KEY=${REDACTED}`],
      [JSON.stringify({ SecretAccessKey: secret }), JSON.stringify({ SecretAccessKey: REDACTED })],
      ["x-api-key: abcdef", `x-api-key: ${REDACTED}`],
      ["Authorization: Bearer abcdefgh", `Authorization: Bearer ${REDACTED}`]
    ] as const) {
      assert.strictEqual(redact(text), expected)
    }
  })

  it("is searched in linear time", () => {
    const many = ["-----BEGIN PRIVATE KEY-----\n", "eyJaaaaaaaa.", "prod:", "sk-", "aws_session_token   ", "Bearer a"]
    for (const part of many) assert.isString(redact(part.repeat(20_000)))
  })

  const Id = Schema.String.check(Schema.isPattern(/^[a-z0-9]{32}$/))
  const Hash = Schema.String.check(Schema.isPattern(/^[0-9a-f]{40}$/))
  const Digest = Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/))
  const Slug = Schema.String.check(Schema.isPattern(/^[a-z][a-z0-9-]{0,30}$/))
  it.prop(
    "is no id, hash, digest, slug or key of a session",
    { Id, Hash, Digest, Slug },
    ({ Digest, Hash, Id, Slug }) => {
      for (const text of [
        Id,
        Hash,
        Digest,
        Slug,
        `task-${Id}`,
        `agent:${Slug}:${Id}:task:${Id}:g2`,
        `https://github.com/acme/app/commit/${Hash}`,
        `sha256:${Digest}`,
        `feature/${Slug}-${Hash.slice(0, 8)}`
      ]) {
        assert.strictEqual(redact(JSON.stringify({ text: `see ${text}.` })), JSON.stringify({ text: `see ${text}.` }))
      }
    }
  )
})

describe("a text for a model", () => {
  it("loses the runtime's secrets and service tokens, and keeps people's texts", () => {
    const own = makeOwnRedactor(["the-gateway-token"])
    const pasted = `use ${credentials.GitHub[0]} and Bearer abc123def`
    assert.strictEqual(
      own(`${pasted} the-gateway-token ${token}`),
      `${pasted} ${REDACTED} mc_service_k57abc_${REDACTED}`
    )
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

  it.prop("leave none in a JSON document that contains them", { Secrets, name: Text }, ({ Secrets, name }) => {
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
