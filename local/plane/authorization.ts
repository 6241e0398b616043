import { createHash, timingSafeEqual } from "node:crypto"
import { type JSONValue } from "convex/values"
import { type Identity } from "./call.ts"
import { refuse, type SignInTokens } from "./signInTokens.ts"

/** The caller of a function. */
export type Caller = { readonly identity: Identity | null; readonly isAdmin: boolean }

/** A caller without a token, who may call public functions only. */
export const anonymous: Caller = { identity: null, isAdmin: false }

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()

/** Adds what every identity has: subject, issuer, and the token identifier made of both. */
export const completeIdentity = (attributes: { readonly [attribute: string]: JSONValue | undefined }): Identity => {
  const subject = String(attributes["subject"] ?? "person")
  const issuer = String(attributes["issuer"] ?? "https://local.invalid")
  const given = Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined)) as Identity
  return { ...given, subject, issuer, tokenIdentifier: given["tokenIdentifier"] ?? `${issuer}|${subject}` }
}

/** Who callers are: administrators by the admin key, who may act as anyone, and people by tokens of sign-in providers. */
export class Authorization {
  private readonly adminKey: string
  private readonly tokens: SignInTokens

  constructor(adminKey: string, tokens: SignInTokens) {
    this.adminKey = adminKey
    this.tokens = tokens
  }

  isAdminKey(given: string): boolean {
    return timingSafeEqual(digest(given), digest(this.adminKey))
  }

  /** Throws TokenRefused. */
  async personOf(token: string): Promise<Caller> {
    return { identity: await this.tokens.identityOf(token), isAdmin: false }
  }

  /**
   * Reads an Authorization header: `Convex <admin key>` for an administrator, `Convex <admin key>:<base64 identity JSON>`
   * for an administrator acting as a person, `Bearer <token>` for a person. Throws TokenRefused.
   */
  async callerOf(header: string | undefined): Promise<Caller> {
    if (header === undefined) return anonymous
    if (header.startsWith("Bearer ")) return await this.personOf(header.slice("Bearer ".length))
    return this.adminOf(header) ?? refuse("Could not authenticate this request")
  }

  adminOf(header: string | undefined): Caller | undefined {
    if (header?.startsWith("Convex ") !== true) return undefined
    const given = header.slice("Convex ".length)
    if (this.isAdminKey(given)) return { identity: null, isAdmin: true }
    const split = given.lastIndexOf(":")
    if (split === -1 || !this.isAdminKey(given.slice(0, split))) return undefined
    try {
      const attributes = JSON.parse(Buffer.from(given.slice(split + 1), "base64").toString("utf8")) as Identity
      return { identity: completeIdentity(attributes), isAdmin: true }
    } catch {
      return undefined
    }
  }
}
