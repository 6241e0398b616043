import { generateKeyPairSync } from "node:crypto"
import { Effect, Exit, Scope } from "effect"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type LaunchedPlane } from "../../../local/launcher.ts"
import { type Issuer, startIssuer, tokenOf } from "../../issuer.ts"
import { api, ServedApp } from "./fixtures/servedApp.ts"

const served = new ServedApp(null)
const scope = Scope.makeUnsafe()
let issuer: Issuer
let plane: LaunchedPlane
beforeAll(async () => {
  issuer = await Effect.runPromise(startIssuer.pipe(Scope.provide(scope)))
  plane = await served.start(["--auth-config", issuer.authConfig])
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const whoAmI = api["people"]!["whoAmI"]!
const asked = (token: string): Promise<unknown> => {
  const client = served.http(plane)
  client.setAuth(token)
  return client.query(whoAmI, {}).catch((error: Error) => JSON.parse(error.message))
}
const kim = () => ({ subject: "kim", name: "Kim", tokenIdentifier: `${issuer.url}|kim` })
const now = () => Math.floor(Date.now() / 1_000)

describe("a token of a sign-in provider that auth.config.ts trusts", () => {
  it("identifies the caller", async () => {
    assert.deepEqual(await asked(issuer.token("kim", "Kim")), kim())
    assert.deepEqual(await asked(issuer.token("kim", "Kim", { aud: ["other", "mission-control"] })), kim())
  })

  it("identifies the subscriber, even after the provider has replaced its key", async () => {
    issuer.rotate()
    const client = served.socket(plane)
    client.setAuth(() => Promise.resolve(issuer.token("kim", "Kim")))
    const watched = served.watch(client, whoAmI, {})
    assert.deepEqual(await watched.value((value) => value !== null), kim())
  })

  it.each([
    ["has expired", () => issuer.token("kim", "Kim", { exp: now() - 60 }), /has expired/],
    ["is not valid yet", () => issuer.token("kim", "Kim", { nbf: now() + 60 }), /not valid yet/],
    [
      "is for another application",
      () => issuer.token("kim", "Kim", { aud: "shop" }),
      /aud does not contain mission-control/
    ],
    [
      "is of another issuer",
      () => issuer.token("kim", "Kim", { iss: "https://id.example" }),
      /has no provider https:\/\/id.example/
    ],
    [
      "is signed by another key",
      () => {
        const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 })
        const claims = { iss: issuer.url, sub: "kim", aud: "mission-control", exp: now() + 60 }
        return tokenOf(privateKey, "key1", claims)
      },
      /no key with the token's kid|signature is wrong/
    ],
    [
      "is not signed",
      () => `${Buffer.from('{"alg":"none"}').toString("base64url")}.${issuer.token("kim", "Kim").split(".")[1]}.`,
      /algorithm is not accepted/
    ],
    ["is no token", () => "Kim", /not a JSON Web Token/]
  ])("is refused if it %s", async (_, token, reason) => {
    const refusal = (await asked(token())) as { readonly code: string; readonly message: string }
    assert.strictEqual(refusal.code, "Unauthenticated")
    assert.match(refusal.message, reason)
  })

  it("does not make its person an administrator", async () => {
    const headers = { authorization: `Bearer ${issuer.token("kim", "Kim")}` }
    assert.strictEqual((await fetch(`${plane.url}/__local/stats`, { headers })).status, 403)
  })
})
