import { isListed } from "../settings/AddressList.ts"
import type { AddressList } from "../settings/AddressList.ts"

/** Who may call the endpoints other than probes: from which addresses, and under which host names. */
export interface PeerRules {
  readonly allow: AddressList
  /** Host names without a port, because a proxy may map the port. */
  readonly hosts: ReadonlySet<string>
}

/** What a request reveals about its sender. */
export interface Peer {
  readonly remoteAddress: string | undefined
  readonly host: string | undefined
  readonly origin: string | undefined
}

/** The name in a Host header or a URL, lower case, without brackets, port and the root's dot. */
const nameOf = (host: string): string | null => {
  if (!/^[\w.:[\]%-]+$/.test(host) || !URL.canParse(`http://${host}/`)) return null
  return new URL(`http://${host}/`).hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "")
}

/** A wildcard address is not a host name: such a process is reached as this machine or at TASK_STATUS_BASE_URL. */
const WILDCARDS = new Set(["0.0.0.0", "::", ""])

/**
 * The host names of this process: this machine's, the one it listens on, and the one at which the gateway reaches it.
 */
export const hostsOf = (listensOn: string, baseUrl: string): ReadonlySet<string> => {
  const hosts = [listensOn.includes(":") ? `[${listensOn.replace(/^\[|\]$/g, "")}]` : listensOn, new URL(baseUrl).host]
  const names = hosts.flatMap((host) => nameOf(host) ?? []).filter((name) => !WILDCARDS.has(name))
  return new Set(["localhost", "127.0.0.1", "::1", ...names])
}

/** Most requests have the host in this form, which saves parsing a URL. */
const isNamed = (hosts: ReadonlySet<string>, host: string): boolean => {
  if (hosts.has(host.replace(/:\d{1,5}$/, ""))) return true
  const name = nameOf(host)
  return name !== null && hosts.has(name)
}

/**
 * Why a request is refused before its body is read, or null. A web page would send an Origin header or use a foreign
 * host name that resolves to this address. Agents do neither.
 */
export const peerProblem = ({ allow, hosts }: PeerRules, peer: Peer): string | null => {
  if (!isListed(allow, peer.remoteAddress))
    return "this address may not call: AGENT_HTTP_ALLOW lists the addresses that may"
  if (peer.host === undefined || !isNamed(hosts, peer.host))
    return "this host name is not served: TASK_STATUS_BASE_URL sets the one that is"
  return peer.origin === undefined ? null : "requests from web pages are refused: agents send no Origin header"
}
