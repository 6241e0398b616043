import { CAPABILITY_PREFIX } from "../http/Capability.ts"

/** Replaces a secret. */
export const REDACTED = "<redacted>"

/** Shorter secrets are not removed, because they could be parts of ordinary words. */
const LEAST_LENGTH = 6

const escapeForPattern = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

const base64OfBytes = (bytes: Uint8Array): string => {
  let binary = ""
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary).replace(/=+$/, "")
}

const base64Of = (text: string): string => base64OfBytes(new TextEncoder().encode(text))

/** The base64 characters that depend on the text only, with this number of bytes before it and others after it. */
const base64Within = (text: string, before: number): string => {
  const bytes = new TextEncoder().encode(text)
  const padded = new Uint8Array(before + bytes.length)
  padded.set(bytes, before)
  return base64OfBytes(padded).slice(Math.ceil((before * 8) / 6), Math.floor((padded.length * 8) / 6))
}

const inJson = (text: string): string => JSON.stringify(text).slice(1, -1)

const inUrl = (text: string): string => encodeURIComponent(text.toWellFormed())

/** Shorter parts of a base64 text could occur in others by chance. */
const LEAST_BASE64 = 10

/**
 * The forms in which a secret can occur: plain, inside JSON (also nested), inside a URL, and in base64 (both
 * alphabets), also with other text before or after it.
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

/** The capability's prefix in base64, without the characters that also depend on neighbouring bytes. */
const ENCODED_PREFIX = [0, 1, 2].map((before) => base64Within(CAPABILITY_PREFIX, before)).join("|")

/** Not inside a word. An escape of JSON or a URL before it ends with a letter or a digit. */
const START = String.raw`(?:(?<![\w-])|(?<=\\[bfnrt])|(?<=%[0-9A-Fa-f]{2}))`

/** Credentials of other services, by their issuers' formats. Formats that ordinary ids also have are left out. */
export const credentialForms = {
  Anthropic: String.raw`sk-ant-[\w-]{20,}`,
  AWS: String.raw`${START}A(?:KIA|SIA)[A-Z2-7]{16}(?![A-Za-z0-9])`,
  Cerebras: "csk-[a-z0-9]{40,}",
  Convex: String.raw`${START}(?:prod|dev|preview|project):[\w:-]{1,100}\|[\w+/=-]{20,}`,
  DigitalOcean: "do[opr]_v1_[0-9a-f]{64}",
  GitHub: String.raw`gh[opsru]_[A-Za-z0-9]{36,}|github_pat_\w{50,}`,
  GitLab: String.raw`glpat-[\w-]{20,}`,
  Google: String.raw`AIza[\w-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{28}`,
  Groq: "gsk_[A-Za-z0-9]{48,}",
  "Hugging Face": "hf_[A-Za-z0-9]{34,}",
  "JSON Web Token": String.raw`${START}eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}`,
  npm: "npm_[A-Za-z0-9]{36}",
  NVIDIA: String.raw`nvapi-[\w-]{60,}`,
  OpenAI: String.raw`sk-(?:proj|svcacct|admin)-[\w-]{20,}|${START}sk-[A-Za-z0-9]{32,}`,
  OpenRouter: "sk-or-v1-[0-9a-f]{64}",
  Perplexity: "pplx-[A-Za-z0-9]{40,}",
  "private key": [
    String.raw`-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----`,
    // Complete, or its first lines if the rest was cut off.
    String.raw`(?:(?:(?!-----)[\s\S]){0,20000}?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----`,
    String.raw`|(?:(?:\s|\\+[nr])+[A-Za-z0-9+/=]{32,})+)`
  ].join(""),
  PyPI: String.raw`pypi-AgE[\w-]{50,}`,
  Replicate: "r8_[A-Za-z0-9]{37}",
  SendGrid: String.raw`SG\.[\w-]{22}\.[\w-]{43}`,
  Slack: String.raw`xox[abeoprs](?:\.xox[bp])?-\d[\w-]{9,}|xapp-\d-[\w-]{20,}|hooks\.slack\.com/(?:services|workflows)/[\w/]{20,}`,
  Stripe: String.raw`[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,}`,
  Telegram: String.raw`${START}(?:bot)?\d{8,10}:AA[\w-]{33}`,
  xAI: "xai-[A-Za-z0-9]{60,}"
} as const

/** A service token of any account, complete or cut off. */
const SERVICE_TOKEN = {
  pattern: /mc_service_([A-Za-z0-9_-]{1,64})_[0-9a-f]{16,}/gi,
  replacement: `mc_service_$1_${REDACTED}`
}

/** Secrets that are recognised by their format. */
const SHAPES: ReadonlyArray<{ readonly pattern: RegExp; readonly replacement: string }> = [
  { pattern: new RegExp(Object.values(credentialForms).join("|"), "g"), replacement: REDACTED },
  {
    pattern:
      /(aws_?(?:secret_?access_?key|session_?token)|secretaccesskey|sessiontoken)(["'\\\s:=]{1,10})[A-Za-z0-9/+=]{40,}/gi,
    replacement: `$1$2${REDACTED}`
  },
  {
    pattern: /(authorization["'\\\s:=]{1,10}(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{6,}/gi,
    replacement: `$1${REDACTED}`
  },
  // Ordinary words may follow too. A credential contains a digit, a sign, or capital letters after its first character.
  {
    pattern:
      /\b([Bb]earer|BEARER|[Bb]asic|BASIC)(\s+)(?=[A-Za-z._~+/=-]*\d|[A-Za-z]*[~+=]|(?:[A-Za-z]*[a-z][A-Z]){2})[A-Za-z0-9._~+/=-]{6,}/g,
    replacement: `$1$2${REDACTED}`
  },
  {
    pattern: /(x-honeycomb-team|x-mission-control-capability|x-(?:goog-)?api-key)(["'\\\s:=]+)[A-Za-z0-9._~+/=-]{6,}/gi,
    replacement: `$1$2${REDACTED}`
  },
  // JSON and URLs do not escape its characters.
  { pattern: new RegExp(`${CAPABILITY_PREFIX}[A-Za-z0-9_-]{6,}`, "g"), replacement: REDACTED },
  { pattern: new RegExp(`(?:${ENCODED_PREFIX})[A-Za-z0-9+/_-]{6,}=*`, "g"), replacement: REDACTED },
  // A quotation mark ends it, so that it does not extend over the fields of a JSON text.
  { pattern: /:\/\/([^/\s:@"]+):([^/\s@"]+)@/g, replacement: `://$1:${REDACTED}@` }
]

type Redact = (text: string) => string

/** A function that removes the known secrets and any service token from a text, and no other credentials. */
export const makeOwnRedactor = (secrets: ReadonlyArray<string>): Redact => {
  const forms = [...new Set(secrets.filter((secret) => secret.length >= LEAST_LENGTH).flatMap(formsOf))]
  // Longest first, so that a secret that contains another one is removed completely.
  forms.sort((a, b) => b.length - a.length)
  const known = forms.length === 0 ? undefined : new RegExp(forms.map(escapeForPattern).join("|"), "g")
  return (text) =>
    (known === undefined ? text : text.replace(known, REDACTED)).replace(
      SERVICE_TOKEN.pattern,
      SERVICE_TOKEN.replacement
    )
}

/** A function that removes every known secret, and every text in a secret's format. */
export const makeRedactor = (secrets: ReadonlyArray<string>): Redact => {
  const withoutOwn = makeOwnRedactor(secrets)
  return (text) =>
    SHAPES.reduce((redacted, { pattern, replacement }) => redacted.replace(pattern, replacement), withoutOwn(text))
}
