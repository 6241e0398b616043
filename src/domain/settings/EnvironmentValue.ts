/**
 * Reads values of the environment in the forms that env files, compose, systemd and people use. A form with a certain
 * meaning is accepted. Any other fails with the end of a sentence about the value, e.g. "is not a URL".
 */
import { Result } from "effect"
import { NetAddress } from "effect/net"

type Reading<A> = Result.Result<A, string>

/** The value without white space, byte order mark and quotation marks around it. */
export const unwrapped = (text: string): string => {
  const bare = text.trim()
  const [, mark, inner] = /^(["'])(.*)\1$/s.exec(bare) ?? []
  // Two quoted words begin and end with a quotation mark too.
  return mark === undefined || inner === undefined || inner.includes(mark) ? bare : unwrapped(inner)
}

/** Whether the whole value is a variable that a shell or compose would have replaced, except the home folder. */
export const isReference = (text: string): boolean =>
  /^\$(?:\{[A-Za-z_]\w*(?:[:?+=-][^}]*)?\}|[A-Z_][A-Z0-9_]*)$/.test(text) && !/^\$\{?HOME\}?$/.test(text)

/** The secret in a file: alone, or as a line `NAME=secret` of an env file. */
export const readSecretText = (name: string, text: string): string =>
  unwrapped(unwrapped(text).replace(new RegExp(`^(?:export\\s+)?${name}\\s*=`), ""))

const UNREPLACED = /\$[A-Za-z_{(]/
const isUnreplaced = "contains a variable that was not replaced by its value"

/** A path as a shell reads it, with the home folder inserted. */
export const readPath = (text: string, home: string): Reading<string> => {
  const path = text.replace(/^(?:~|\$HOME|\$\{HOME\})(?=\/|$)/, () => home)
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(path)) return Result.fail("is a URL and not a path")
  if (path.startsWith("~")) return Result.fail("names another user's home folder, which only a shell can find")
  if (UNREPLACED.test(path)) return Result.fail(isUnreplaced)
  if (/^%[A-Za-z](?=\/|$)/.test(path)) return Result.fail("begins with a specifier that systemd replaces only in units")
  if (/^["']|["']$/.test(path)) return Result.fail("has a quotation mark at one end only")
  if (/\s#/.test(path)) return Result.fail("ends with a comment")
  return /\p{Cc}/u.test(path) ? Result.fail("contains a line break or another control character") : Result.succeed(path)
}

/** A program and its arguments, separated by white space, without quoting. */
export const readCommand = (text: string, home: string): Reading<ReadonlyArray<string>> => {
  const words = text.split(/\s+/)
  if (/["']/.test(text)) return Result.fail("contains quotation marks, which are not interpreted")
  return Result.all(words.map((word) => (/^[~%]|\$/.test(word) ? readPath(word, home) : Result.succeed(word))))
}

/** Addresses whose scheme is certain without being written: on this machine, and in Convex's cloud. */
const schemeOf = (text: string): string | undefined =>
  /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?(?:\/|$)/i.test(text)
    ? "http://"
    : /^[a-z0-9-]+(?:\.[a-z0-9-]+)*\.convex\.cloud(?:\/|$)/i.test(text)
      ? "https://"
      : undefined

/** An http or https address without credentials, in its normal form. */
export const readUrl = (text: string): Reading<URL> => {
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text)
  const scheme = hasScheme ? "" : schemeOf(text)
  if (UNREPLACED.test(text)) return Result.fail(isUnreplaced)
  if (scheme === undefined) return Result.fail("does not begin with http:// or https://")
  if (!URL.canParse(scheme + text)) return Result.fail("is not a URL")
  const url = new URL(scheme + text)
  if (url.protocol !== "http:" && url.protocol !== "https:") return Result.fail("is neither http nor https")
  if (url.username !== "" || url.password !== "") return Result.fail("contains credentials")
  return url.hash === "" ? Result.succeed(url) : Result.fail("has a fragment")
}

/** The address of a trace, with {traceId} where its id belongs. */
export const readTraceLink = (text: string): Reading<string> => {
  if (!text.includes("{traceId}")) return Result.fail("does not contain {traceId}")
  const id = "0traceid0"
  return Result.map(readUrl(text.replaceAll("{traceId}", id)), ({ href }) => href.replaceAll(id, "{traceId}"))
}

/** The address of a proxy, which may contain credentials; http if it has no scheme. */
export const readProxy = (text: string): Reading<URL> => {
  const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`
  if (UNREPLACED.test(text)) return Result.fail(isUnreplaced)
  if (!URL.canParse(address)) return Result.fail("is not a URL")
  const url = new URL(address)
  if (url.protocol !== "http:" && url.protocol !== "https:") return Result.fail("is neither http nor https")
  return Result.mapBoth(
    Result.try(() => decodeURIComponent(url.username + url.password)),
    { onSuccess: () => url, onFailure: () => "has a % in its credentials that must be written %25" }
  )
}

/** An address to which paths are added: without a query and without a slash at its end. */
export const readBaseUrl = (text: string): Reading<string> =>
  Result.flatMap(readUrl(text), (url) =>
    url.search === "" ? Result.succeed(`${url.origin}${url.pathname.replace(/\/+$/, "")}`) : Result.fail("has a query")
  )

/** The address of a deployment. The similar addresses for HTTP actions and of the dashboard serve no functions. */
export const readDeploymentUrl = (text: string): Reading<string> =>
  Result.flatMap(readBaseUrl(text), (url) =>
    /\.convex\.(?:site|dev)$/.test(new URL(url).hostname)
      ? Result.fail("is not the address where the deployment serves functions, which ends with .convex.cloud")
      : Result.succeed(url)
  )

/** A name or address to listen on, without the brackets that a URL puts around IPv6. */
export const readHost = (text: string): Reading<string> => {
  const host = text.replace(/^\[(.*)\]$/, "$1")
  if (/^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/.test(host)) return Result.succeed(host)
  if (Result.isSuccess(NetAddress.ipFromString(host.replace(/%[\w.-]+$/, "")))) return Result.succeed(host)
  if (host.includes("/")) return Result.fail("is a URL and not a host")
  return /:\d+$/.test(host) ? Result.fail("has a port") : Result.fail("is not a host name or an IP address")
}
