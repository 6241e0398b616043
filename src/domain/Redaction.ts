import { CAPABILITY_PREFIX } from "./Capability.ts"

/** What stands where a secret stood. */
export const REDACTED = "<redacted>"

/** Secrets shorter than this would take ordinary words out of every text. */
const LEAST_LENGTH = 6

const escapeForPattern = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

const base64OfBytes = (bytes: Uint8Array): string => {
  let binary = ""
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary).replace(/=+$/, "")
}

const base64Of = (text: string): string => base64OfBytes(new TextEncoder().encode(text))

/** The characters that the text alone decides, when in base64 this many bytes stand before it and others behind it. */
const base64Within = (text: string, before: number): string => {
  const bytes = new TextEncoder().encode(text)
  const padded = new Uint8Array(before + bytes.length)
  padded.set(bytes, before)
  return base64OfBytes(padded).slice(Math.ceil((before * 8) / 6), Math.floor((padded.length * 8) / 6))
}

const inJson = (text: string): string => JSON.stringify(text).slice(1, -1)

const inUrl = (text: string): string => encodeURIComponent(text.toWellFormed())

/** Fewer characters from the middle of a base64 text would turn up in others by chance. */
const LEAST_BASE64 = 10

/**
 * The forms in which a secret turns up: as it is, inside JSON (which may be a text inside JSON again), inside a URL, in
 * base64 (both alphabets), and there with others before or behind it.
 */
const formsOf = (secret: string): ReadonlyArray<string> => {
  const base64 = [
    base64Of(secret),
    ...[0, 1, 2].map((before) => base64Within(secret, before)).filter(({ length }) => length >= LEAST_BASE64)
  ]
  const escaped = inUrl(secret)
  return [
    secret,
    inJson(secret),
    inJson(inJson(secret)),
    escaped,
    escaped.replace(/%[0-9A-F]{2}/g, (byte) => byte.toLowerCase()),
    ...base64,
    ...base64.map(inUrl),
    ...base64.map((text) => text.replaceAll("+", "-").replaceAll("/", "_"))
  ]
}

/** The capability's prefix in base64, but for the characters in which its neighbours have their part. */
const ENCODED_PREFIX = [0, 1, 2].map((before) => base64Within(CAPABILITY_PREFIX, before)).join("|")

/** Secrets that are known by their shape, wherever they come from. */
const SHAPES: ReadonlyArray<{ readonly pattern: RegExp; readonly replacement: string }> = [
  { pattern: /mc_service_([A-Za-z0-9_-]{1,64})_[0-9a-f]{16,}/gi, replacement: `mc_service_$1_${REDACTED}` },
  { pattern: /\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}/gi, replacement: `$1 ${REDACTED}` },
  {
    pattern: /(x-honeycomb-team|x-mission-control-capability)(["'\s:=]+)[A-Za-z0-9._~+/=-]{6,}/gi,
    replacement: `$1$2${REDACTED}`
  },
  // Its own alphabet is left as it is by JSON and URLs.
  { pattern: new RegExp(`${CAPABILITY_PREFIX}[A-Za-z0-9_-]{6,}`, "g"), replacement: REDACTED },
  { pattern: new RegExp(`(?:${ENCODED_PREFIX})[A-Za-z0-9+/_-]{6,}=*`, "g"), replacement: REDACTED },
  // A quotation mark ends it: across the fields of a JSON text this would take their names along.
  { pattern: /:\/\/([^/\s:@"]+):([^/\s@"]+)@/g, replacement: `://$1:${REDACTED}@` }
]

/** A function that takes every known secret, and whatever has a secret's shape, out of a text. */
export const makeRedactor = (secrets: ReadonlyArray<string>): ((text: string) => string) => {
  const forms = [...new Set(secrets.filter((secret) => secret.length >= LEAST_LENGTH).flatMap(formsOf))]
  // Longest first, so that a secret which contains another goes whole.
  forms.sort((a, b) => b.length - a.length)
  const known = forms.length === 0 ? undefined : new RegExp(forms.map(escapeForPattern).join("|"), "g")
  return (text) => {
    let redacted = known === undefined ? text : text.replace(known, REDACTED)
    for (const { pattern, replacement } of SHAPES) redacted = redacted.replace(pattern, replacement)
    return redacted
  }
}
