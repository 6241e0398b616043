const maxUrlLength = 2_000

/** Names under these endings belong to a private network, or are reserved. */
const privateEndings = new Set([
  "arpa",
  "corp",
  "example",
  "home",
  "internal",
  "intranet",
  "invalid",
  "lan",
  "local",
  "localdomain",
  "localhost",
  "onion",
  "private",
  "svc",
  "test"
])

const localHosts = new Set(["localhost", "127.0.0.1", "[::1]"])

/** For development: whether webhooks may be sent to this machine, also over http. */
export const isLocalAllowed = (): boolean => process.env["ALLOW_LOCAL_WEBHOOKS"] === "true"

/** An address as browsers write it: IPv6 in brackets, IPv4 as a name whose last part is a number. */
const isAddress = (host: string): boolean =>
  host.startsWith("[") || /^(?:\d+|0x[\da-f]*)$/i.test(host.split(".").at(-1) ?? "")

/**
 * Why nothing may be sent to this URL, or null. Allows https and a public host name. IP addresses are refused in every
 * notation, public ones too, because certificates are made for names. A deployment cannot resolve names, so a public
 * name that points to a private address is not recognised.
 */
export const addressProblem = (text: string, allowsLocal: boolean): string | null => {
  if (text.length > maxUrlLength) return `The URL is longer than ${maxUrlLength} characters.`
  if (!URL.canParse(text)) return "This is not a URL. Write it as https://name.example.com/path."
  const { hash, hostname, password, protocol, username } = new URL(text)
  if (username !== "" || password !== "") return "The URL contains a user name or password. Put a secret into the path."
  if (hash !== "") return "The URL contains a fragment (#), which is never sent. Remove it."
  if (allowsLocal && (protocol === "http:" || protocol === "https:") && localHosts.has(hostname)) return null
  if (protocol !== "https:") return "The URL does not begin with https://. Webhooks are sent over https only."
  const host = hostname.replace(/\.+$/, "")
  if (isAddress(host)) return "The URL's host is an IP address. Use a public host name."
  const labels = host.split(".")
  if (labels.length < 2 || privateEndings.has(labels.at(-1) ?? "")) {
    return "The URL's host name belongs to a private network or is reserved. Use a public host name."
  }
  return null
}
