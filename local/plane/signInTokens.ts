/** JSON Web Tokens of the sign-in providers that an app's auth.config.ts trusts, checked as a deployment checks them. */
import { createPublicKey, type JsonWebKey, verify } from "node:crypto"
import { type AuthConfig } from "convex/server"
import { type JSONValue } from "convex/values"
import { type Identity } from "./call.ts"

type Provider = AuthConfig["providers"][number]
type Claims = { readonly [claim: string]: JSONValue }
type Key = JsonWebKey & { readonly kid?: string }

/** A token that is not accepted, with the reason. */
export class TokenRefused extends Error {}

export const refuse = (reason: string): never => {
  throw new TokenRefused(reason)
}

const algorithms: readonly string[] = ["RS256", "ES256"]
/** Clocks may differ by this many seconds. */
const leeway = 5

const issuerOf = (provider: Provider): string => ("type" in provider ? provider.issuer : provider.domain)

const withoutSlash = (url: string): string => url.replace(/\/$/, "")

const decoded = (part: string): Claims => {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString("utf8"))
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Claims
  } catch {
    // Refused below.
  }
  return refuse("The token is not a JSON Web Token.")
}

const getJson = async (url: string): Promise<unknown> => {
  const response = await fetch(url).catch(() => refuse(`${url} does not answer.`))
  return response.ok ? await response.json() : refuse(`${url} answers ${response.status}.`)
}

/** The address of the provider's keys, which OpenID Connect publishes at a known address. */
const keysUrlOf = async (provider: Provider): Promise<string> => {
  if ("type" in provider) return provider.jwks
  const found = (await getJson(`${withoutSlash(provider.domain)}/.well-known/openid-configuration`)) as {
    readonly jwks_uri?: unknown
  }
  return typeof found.jwks_uri === "string" ? found.jwks_uri : refuse(`${provider.domain} publishes no jwks_uri.`)
}

const claimNames: Record<string, string> = {
  sub: "subject",
  iss: "issuer",
  given_name: "givenName",
  family_name: "familyName",
  picture: "pictureUrl",
  email_verified: "emailVerified"
}

/** Checks tokens, and keeps the keys of each provider. */
export class SignInTokens {
  private readonly providers: ReadonlyArray<Provider>
  private readonly keys = new Map<Provider, ReadonlyArray<Key>>()

  constructor({ providers }: AuthConfig) {
    this.providers = providers
  }

  /** The person whom the token names. Throws TokenRefused. */
  async identityOf(token: string): Promise<Identity> {
    const [head = "", body = "", signature = ""] = token.split(".")
    const header = decoded(head)
    const claims = decoded(body)
    const { iss: issuer, sub: subject } = claims
    if (typeof issuer !== "string" || typeof subject !== "string") return refuse("The token has no iss or no sub.")
    const provider =
      this.providers.find((each) => withoutSlash(issuerOf(each)) === withoutSlash(issuer)) ??
      refuse(`auth.config.ts has no provider ${issuer}.`)
    const { alg: algorithm, kid } = header
    const accepted = "type" in provider ? [provider.algorithm] : algorithms
    if (typeof algorithm !== "string" || !accepted.some((each) => each === algorithm)) {
      return refuse("The token's algorithm is not accepted.")
    }
    const key = createPublicKey({ key: await this.keyOf(provider, kid), format: "jwk" })
    const signed = Buffer.from(`${head}.${body}`)
    const parameters = algorithm === "ES256" ? { key, dsaEncoding: "ieee-p1363" as const } : key
    if (!verify("sha256", signed, parameters, Buffer.from(signature, "base64url"))) {
      return refuse("The token's signature is wrong.")
    }
    this.mustBeFor(provider, claims)
    const named = Object.entries(claims).map(([name, value]) => [claimNames[name] ?? name, value] as const)
    return { ...Object.fromEntries(named), tokenIdentifier: `${issuer}|${subject}` }
  }

  private mustBeFor({ applicationID }: Provider, { aud: audience, exp: expiry, nbf: start }: Claims): void {
    const audiences = Array.isArray(audience) ? audience : [audience]
    if (applicationID !== undefined && !audiences.includes(applicationID)) {
      refuse(`The token's aud does not contain ${applicationID}.`)
    }
    const now = Date.now() / 1_000
    if (typeof expiry !== "number" || expiry < now - leeway) refuse("The token has expired.")
    if (typeof start === "number" && start > now + leeway) refuse("The token is not valid yet.")
  }

  /** The provider's key with this id. Providers replace keys, so an unknown id is looked up again. */
  private async keyOf(provider: Provider, kid: JSONValue | undefined): Promise<Key> {
    const known = (keys: ReadonlyArray<Key>): Key | undefined =>
      keys.find((each) => each.kid === kid) ?? (kid === undefined && keys.length === 1 ? keys[0] : undefined)
    const cached = known(this.keys.get(provider) ?? [])
    if (cached !== undefined) return cached
    const { keys = [] } = (await getJson(await keysUrlOf(provider))) as { readonly keys?: ReadonlyArray<Key> }
    this.keys.set(provider, keys)
    return known(keys) ?? refuse(`${issuerOf(provider)} has no key with the token's kid.`)
  }
}
