const prefix = "whsec_"

const base64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes))

/** A signing secret of 256 random bits in the form of Standard Webhooks. */
export const newSecret = (): string => `${prefix}${base64(crypto.getRandomValues(new Uint8Array(32)))}`

const keyOf = (secret: string) =>
  crypto.subtle.importKey(
    "raw",
    Uint8Array.from(atob(secret.slice(prefix.length)), (character) => character.charCodeAt(0)),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"]
  )

/** The headers of an attempt at this time (epoch milliseconds), by Standard Webhooks 1.0. */
export const signedHeaders = async (
  secret: string,
  messageId: string,
  now: number,
  body: string
): Promise<Record<string, string>> => {
  const timestamp = String(Math.floor(now / 1_000))
  const content = new TextEncoder().encode(`${messageId}.${timestamp}.${body}`)
  const mac = await crypto.subtle.sign("HMAC", await keyOf(secret), content)
  return {
    "webhook-id": messageId,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${base64(new Uint8Array(mac))}`
  }
}
