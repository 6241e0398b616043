/** The address of a server, the variable that sets it, and which server is expected there. */
export interface Address {
  readonly url: string
  readonly variable: string
  /** E.g. "the gateway". */
  readonly server: string
  /** Whether requests may go through a proxy. */
  readonly isProxied?: boolean
}

/** The parts of an HTTP answer that show which server sent it. */
export interface HttpAnswer {
  readonly _tag: "Answered"
  readonly status: number
  readonly location?: string | undefined
  readonly contentType?: string | undefined
}

/** The result of a request: an error, no answer in time, or an answer that the expected server would not give. */
export type AddressOutcome =
  | { readonly _tag: "Failed"; readonly cause: unknown }
  | { readonly _tag: "Silent"; readonly within: string }
  | HttpAnswer

/** The outcome of an HTTP answer with this status and these headers. */
export const httpAnswer = (
  status: number,
  headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
): HttpAnswer => ({
  _tag: "Answered",
  status,
  location: headers["location"]?.toString(),
  contentType: headers["content-type"]?.toString()
})

/** Why an address cannot be used. `down` may be temporary, `wrong` needs a change of the settings. */
export interface AddressFailure {
  readonly kind: "down" | "wrong"
  readonly problem: string
  readonly fix: string
}

/** System calls that fail before anything is sent. In any other, ETIMEDOUT means that something was sent. */
const CONNECTING = new Set(["connect", "getaddrinfo"])
const DNS_CODES = new Set(["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EAI_NONAME"])
/** Codes of undici and Node for a connection that the other side closed. */
export const CLOSED_CODES: ReadonlySet<string> = new Set(["UND_ERR_SOCKET", "ECONNRESET", "EPIPE"])

/** Codes of Node and OpenSSL for a certificate that they reject. */
const certificateProblems: ReadonlyArray<readonly [RegExp, string]> = [
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, "is for another host name"],
  [/^CERT_HAS_EXPIRED$/, "has expired"],
  [/^CERT_NOT_YET_VALID$/, "is not valid yet"],
  [
    /SELF_SIGNED_CERT|UNABLE_TO_(VERIFY|GET_ISSUER)|^CERT_|^INVALID_CA$/,
    "comes from an authority that is not trusted here"
  ]
]
const certificateProblem = (code: string): string | undefined =>
  certificateProblems.find(([pattern]) => pattern.test(code))?.[1]

const isOtherProtocol = (code: string): boolean => /^(ERR_SSL_|EPROTO$|HPE_|HTTPParserError$)/.test(code)

/** The code of the underlying error; undici and fetch wrap it in causes and aggregates. */
export const transportError = (cause: unknown): { readonly code: string; readonly isBeforeSending: boolean } => {
  if (!(cause instanceof Error)) return { code: "unknown", isBeforeSending: false }
  if (cause instanceof AggregateError && cause.errors.length > 0) return transportError(cause.errors[0])
  if ("code" in cause && typeof cause.code === "string") {
    const { code } = cause
    const isConnecting = "syscall" in cause && typeof cause.syscall === "string" && CONNECTING.has(cause.syscall)
    const isHandshake = certificateProblem(code) !== undefined || /^(ERR_SSL_|EPROTO$)/.test(code)
    return { code, isBeforeSending: isConnecting || isHandshake || code === "UND_ERR_CONNECT_TIMEOUT" }
  }
  return cause.cause === undefined ? { code: cause.name, isBeforeSending: false } : transportError(cause.cause)
}

const parsed = (url: string): URL | null => (URL.canParse(url) ? new URL(url) : null)

const onError = ({ isProxied, server, url, variable }: Address, code: string): AddressFailure => {
  const { host, hostname, protocol } = new URL(url)
  const down = (problem: string, fix = `check that ${server} runs, or correct ${variable}`): AddressFailure => ({
    kind: "down",
    problem: `${problem} (${code})`,
    fix: isProxied === true ? `check HTTPS_PROXY and NO_PROXY; then ${fix}` : fix
  })
  const wrong = (problem: string, fix: string): AddressFailure => ({
    kind: "wrong",
    problem: `${problem} (${code})`,
    fix
  })
  const certificate = certificateProblem(code)
  if (certificate !== undefined) {
    return wrong(
      `the certificate of ${host} ${certificate}`,
      certificate.includes("authority")
        ? "set NODE_EXTRA_CA_CERTS to the file of its authority's certificate"
        : `renew the certificate, correct this machine's clock, or set ${variable} to a name that it is for`
    )
  }
  if (isOtherProtocol(code)) {
    return protocol === "https:"
      ? wrong(`${host} does not speak https`, `set ${variable} to http://${host}, or to the port that serves https`)
      : wrong(`${host} does not speak http`, `correct host and port of ${variable}: another program listens there`)
  }
  if (DNS_CODES.has(code)) return down(`no host is named ${hostname}`, `correct ${variable}, or this machine's DNS`)
  if (code === "ECONNREFUSED") return down(`nothing listens at ${host}`)
  if (CLOSED_CODES.has(code)) {
    return down(
      `${host} closes the connection without an answer`,
      protocol === "http:"
        ? `if ${server} serves https there, set ${variable} to https://${host}; otherwise see its log`
        : `check that ${server} serves https there, and see its log`
    )
  }
  return down(`${host} cannot be reached`)
}

const onAnswer = (
  { server, url, variable }: Address,
  { contentType, location, status }: HttpAnswer
): AddressFailure => {
  const { host, hostname, pathname, protocol } = new URL(url)
  const wrong = (problem: string, fix: string): AddressFailure => ({ kind: "wrong", problem, fix })
  if (status >= 300 && status < 400) {
    const target = parsed(location ?? "") ?? parsed(new URL(location ?? "/", url).href)
    const isSameHost = target?.hostname === hostname && target.origin !== new URL(url).origin
    return wrong(
      `${host} redirects to ${target === null ? "another address" : `${target.origin}${target.pathname}`} (HTTP ${status})`,
      isSameHost
        ? `set ${variable} to ${target.origin}`
        : `set ${variable} to the address of ${server} itself: redirects are not followed`
    )
  }
  const type = contentType === undefined ? "" : `, ${contentType.split(";")[0]}`
  if (pathname !== "/") {
    return wrong(
      `${host} does not serve ${server} below ${pathname} (HTTP ${status}${type})`,
      `remove ${pathname} from ${variable}`
    )
  }
  if (hostname.endsWith(".convex.site")) {
    return wrong(
      `${host} serves a deployment's HTTP actions, not its functions (HTTP ${status})`,
      `set ${variable} to https://${hostname.replace(/\.convex\.site$/, ".convex.cloud")}`
    )
  }
  if (status === 429 || status === 502 || status === 503 || status === 504) {
    return {
      kind: "down",
      problem: `a proxy at ${host} does not reach ${server} (HTTP ${status})`,
      fix: `check that ${server} runs, and see the proxy's log`
    }
  }
  if (status === 400 && protocol === "http:") {
    return wrong(
      `${host} answers HTTP 400${type}, which is not ${server}'s answer`,
      `if the port serves https, set ${variable} to https://${host}; otherwise correct it`
    )
  }
  return wrong(
    `another server answers at ${host}: HTTP ${status}${type}, which is not ${server}'s answer`,
    status === 401 || status === 403 || status === 407
      ? `set ${variable} to an address without a proxy that asks for credentials`
      : `correct host and port of ${variable}`
  )
}

/** The status with which a proxy refused a tunnel. undici and Node's agents report it only in their messages. */
const refusedTunnel = (cause: unknown): string | undefined =>
  cause instanceof Error
    ? (/^(?:Proxy response \(|Failed to establish tunnel .* HTTP\/1\.\d )(\d+)/.exec(cause.message)?.[1] ??
      refusedTunnel(cause.cause))
    : undefined

const onRefusedTunnel = ({ url }: Address, status: string): AddressFailure => ({
  kind: "wrong",
  problem: `the proxy in HTTPS_PROXY refuses a connection to ${new URL(url).host} (HTTP ${status})`,
  fix: "correct HTTPS_PROXY and its credentials, or add the host to NO_PROXY"
})

/** Names what is wrong with an address and how to fix it, for the log, /readyz and `doctor`. */
export const judgeAddress = (address: Address, outcome: AddressOutcome): AddressFailure => {
  switch (outcome._tag) {
    case "Failed": {
      const status = refusedTunnel(outcome.cause)
      return status === undefined
        ? onError(address, transportError(outcome.cause).code)
        : onRefusedTunnel(address, status)
    }
    case "Silent":
      return {
        kind: "down",
        problem: `${new URL(address.url).host} does not answer within ${outcome.within}`,
        fix: `check that ${address.server} runs and that no firewall blocks it, or correct ${address.variable}`
      }
    case "Answered":
      return onAnswer(address, outcome)
  }
}

/** The failure in one line. */
export const describeAddressFailure = ({ fix, problem }: AddressFailure): string => `${problem}: ${fix}`
