import { CAPABILITY_PREFIX } from "./Capability.ts"

/** What stands where a secret stood. */
export const REDACTED = "<redacted>"

/** Secrets shorter than this would take ordinary words out of every text. */
const LEAST_LENGTH = 6

const escapeForPattern = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

const base64Of = (text: string): string => {
  const bytes = new TextEncoder().encode(text)
  let binary = ""
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary)
}

/** The forms in which a secret turns up: as it is, inside JSON, inside a URL, in base64 (both alphabets). */
const formsOf = (secret: string): ReadonlyArray<string> => {
  const base64 = base64Of(secret).replace(/=+$/, "")
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret.toWellFormed()),
    base64,
    base64.replaceAll("+", "-").replaceAll("/", "_")
  ]
}

/** The capability's prefix in base64, but for the last character, in which the next byte has its part. */
const ENCODED_PREFIX = base64Of(CAPABILITY_PREFIX).replace(/.=*$/, "")

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
  { pattern: new RegExp(`${ENCODED_PREFIX}[A-Za-z0-9+/_-]{6,}=*`, "g"), replacement: REDACTED },
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
