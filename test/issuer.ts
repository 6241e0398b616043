/** A sign-in provider for tests: publishes its keys as OpenID Connect does, and signs tokens. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import type { Scope } from "effect"
import { blocksIn } from "./documentCommands.ts"

/** The `aud` of its tokens, as the documents' auth.config.ts has it. */
export const audience = "mission-control"

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url")

/** A JSON Web Token, signed with RS256 or ES256 by the type of the key. */
export const tokenOf = (key: KeyObject, kid: string, claims: object): string => {
  const isElliptic = key.asymmetricKeyType === "ec"
  const text = `${part({ alg: isElliptic ? "ES256" : "RS256", kid, typ: "JWT" })}.${part(claims)}`
  const signature = sign("sha256", Buffer.from(text), isElliptic ? { key, dsaEncoding: "ieee-p1363" } : key)
  return `${text}.${signature.toString("base64url")}`
}

const pairOf = (kid: string, isElliptic: boolean) => {
  const { privateKey, publicKey } = isElliptic
    ? generateKeyPairSync("ec", { namedCurve: "P-256" })
    : generateKeyPairSync("rsa", { modulusLength: 2_048 })
  return { privateKey, published: { ...publicKey.export({ format: "jwk" }), kid, use: "sig" } }
}

/** A provider that its scope stops. */
export interface Issuer {
  readonly url: string
  /** A token for this person that is valid for an hour, with changed claims. */
  readonly token: (subject: string, name: string, changes?: object) => string
  /** Replaces its key by a new one of the other type. */
  readonly rotate: () => void
  /** An auth.config.ts that trusts it: the example of the documents with its address. */
  readonly authConfig: string
}

/** Starts a provider on a free port. */
export const startIssuer: Effect.Effect<Issuer, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(async () => {
    let generation = 1
    let key = pairOf("key1", false)
    const server = createServer((request, response) => {
      const answers: Record<string, object> = {
        "/.well-known/openid-configuration": { issuer: url, jwks_uri: `${url}/keys` },
        "/keys": { keys: [key.published] }
      }
      const answer = answers[request.url ?? ""]
      response.writeHead(answer === undefined ? 404 : 200, { "content-type": "application/json" })
      response.end(JSON.stringify(answer ?? {}))
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const folder = mkdtempSync(join(tmpdir(), "mission-control-issuer-"))
    const authConfig = join(folder, "auth.config.ts")
    const example = blocksIn("docs/control-plane.md").find(({ text }) => text.includes("AuthConfig"))?.text ?? ""
    writeFileSync(authConfig, example.replace("https://login.example.com", url))
    const now = () => Math.floor(Date.now() / 1_000)
    const issuer: Issuer = {
      url,
      authConfig,
      token: (subject, name, changes = {}) =>
        tokenOf(key.privateKey, key.published.kid, {
          iss: url,
          sub: subject,
          aud: audience,
          iat: now(),
          exp: now() + 3_600,
          name,
          ...changes
        }),
      rotate: () => {
        generation += 1
        key = pairOf(`key${generation}`, generation % 2 === 0)
      }
    }
    return { issuer, server, folder }
  }),
  ({ folder, server }) =>
    Effect.sync(() => {
      server.close()
      server.closeAllConnections()
      rmSync(folder, { recursive: true, force: true })
    })
).pipe(Effect.map(({ issuer }) => issuer))
