import { createHash, timingSafeEqual } from "node:crypto"
import { type JSONValue } from "convex/values"
import { type Identity } from "./call.ts"

/** The caller of a function. */
export type Caller = { readonly identity: Identity | null; readonly isAdmin: boolean }

/** A caller without a token, who may call public functions only. */
export const anonymous: Caller = { identity: null, isAdmin: false }

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()

export const isAdminKey = (given: string, adminKey: string): boolean => timingSafeEqual(digest(given), digest(adminKey))

/** Adds what every identity has: subject, issuer, and the token identifier made of both. */
export const completeIdentity = (attributes: { readonly [attribute: string]: JSONValue | undefined }): Identity => {
  const subject = String(attributes["subject"] ?? "person")
  const issuer = String(attributes["issuer"] ?? "https://local.invalid")
  const given = Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined)) as Identity
  return { ...given, subject, issuer, tokenIdentifier: given["tokenIdentifier"] ?? `${issuer}|${subject}` }
}

/**
 * Reads an Authorization header: `Convex <admin key>` for an administrator, `Convex <admin key>:<base64 identity JSON>`
 * for an administrator acting as a person. Returns undefined for anything else, including tokens of identity providers,
 * which the plane does not support.
 */
export const callerOf = (header: string | undefined, adminKey: string): Caller | undefined => {
  if (header === undefined) return anonymous
  if (!header.startsWith("Convex ")) return undefined
  const given = header.slice("Convex ".length)
  if (isAdminKey(given, adminKey)) return { identity: null, isAdmin: true }
  const split = given.lastIndexOf(":")
  if (split === -1 || !isAdminKey(given.slice(0, split), adminKey)) return undefined
  try {
    const attributes = JSON.parse(Buffer.from(given.slice(split + 1), "base64").toString("utf8")) as Identity
    return { identity: completeIdentity(attributes), isAdmin: true }
  } catch {
    return undefined
  }
}
