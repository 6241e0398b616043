import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { parseMentions } from "../../src/domain/shared/Mention.ts"
import { formatServiceToken, parseServiceToken, serviceTokenProblem } from "../../src/domain/shared/ServiceToken.ts"
import { isAgentSlug, parseSessionKey, sessionKey } from "../../src/domain/shared/SessionKey.ts"

const Slug = Schema.String.check(Schema.isPattern(/^[a-z0-9][a-z0-9_-]{0,63}$/))
const Id = Schema.String.check(Schema.isPattern(/^[a-z0-9]{8,64}$/))
const Hex = Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/))
const Generation = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 999_999_999 }))

describe("a session key", () => {
  it.prop(
    "is read back into its parts, with a task and without",
    { slug: Slug, accountId: Id, taskId: Schema.UndefinedOr(Id), generation: Generation },
    ({ taskId, ...others }) => {
      const parts = { ...others, ...(taskId === undefined ? {} : { taskId }) }
      const key = sessionKey(parts)
      assert.deepStrictEqual(parseSessionKey(key), parts)
      assert.strictEqual(key, key.toLowerCase())
    }
  )

  it.prop("is read only from texts in its format", { text: Schema.String }, ({ text }) => {
    for (const key of [text, `agent:${text}`, `agent:engineer:${text}`, `agent:engineer:account1:${text}`]) {
      const parts = parseSessionKey(key)
      if (parts === null) continue
      assert.isTrue(isAgentSlug(parts.slug))
      assert.strictEqual(sessionKey(parts), key)
    }
  })
})

describe("a service token", () => {
  it.prop("is read back into account and secret", { accountId: Id, secret: Hex }, ({ accountId, secret }) => {
    const token = formatServiceToken({ accountId, secret })
    assert.deepStrictEqual(parseServiceToken(token), { accountId, secret })
    assert.isNull(serviceTokenProblem(token))
  })

  it.prop(
    "has a problem exactly when it cannot be read, and the problem repeats none of it",
    { text: Slug },
    ({ text }) => {
      for (const token of [text, `mc_service_${text}`, `mc_service_${text}_${"a".repeat(63)}`]) {
        const problem = serviceTokenProblem(token)
        assert.strictEqual(problem === null, parseServiceToken(token) !== null)
        if (token.length > 20) assert.notInclude(problem ?? "", token.slice(11))
      }
    }
  )
})

describe("mentions", () => {
  it.prop("are found within any words, each once", { before: Schema.String, slug: Slug }, ({ before, slug }) => {
    const end = slug.replace(/[-_]+$/, "")
    // Ends whatever the words opened: a fence, a span of code or a quote holds no mention.
    const words = before.replace(/[`~>"@]/g, " ")
    const { all, slugs } = parseMentions(`${words}\n\n@${slug}, and @${slug} again`)
    if (end === "all") assert.isTrue(all)
    else assert.deepStrictEqual(slugs, [end])
  })

  it.prop("are read from any text, in lower case and without repetition", { text: Schema.String }, ({ text }) => {
    const { names, slugs } = parseMentions(`@${text} @"${text}" \`@${text}`)
    assert.strictEqual(new Set(slugs).size, slugs.length)
    for (const slug of slugs) assert.isTrue(isAgentSlug(slug), slug)
    for (const name of names) assert.strictEqual(name, name.toLowerCase())
  })
})
