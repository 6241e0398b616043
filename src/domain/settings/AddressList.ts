import { Result } from "effect"
import { IpInterface, IpNetwork, NetAddress } from "effect/net"

/** The networks from which agents may call: this machine, and those of AGENT_HTTP_ALLOW. */
export type AddressList = ReadonlyArray<IpNetwork.IpNetwork>

/** This machine: 127.0.0.0/8 and ::1. */
export const loopback: AddressList = [IpNetwork.fromStringUnsafe("127.0.0.0/8"), IpNetwork.fromStringUnsafe("::1/128")]

const MAPPED_BITS = 96

/** An IPv4-mapped network means the IPv4 network, because remote addresses are compared unmapped. */
const unmapped = (address: NetAddress.IpAddress, prefix: number): Result.Result<IpNetwork.IpNetwork, unknown> => {
  const canonical = NetAddress.toCanonical(address)
  return canonical === address || prefix < MAPPED_BITS
    ? IpNetwork.make(address, prefix)
    : IpNetwork.make(canonical, prefix - MAPPED_BITS)
}

/** Reads a list of CIDRs, addresses and `loopback`, separated by commas or spaces; names invalid entries. */
export const parseAddressList = (text: string): Result.Result<AddressList, string> => {
  const networks: Array<IpNetwork.IpNetwork> = [...loopback]
  for (const entry of text.split(/[\s,]+/).filter((part) => part !== "" && part.toLowerCase() !== "loopback")) {
    const network = Result.flatMap(IpInterface.fromString(entry), ({ address, prefixLength }) =>
      unmapped(address, prefixLength)
    )
    if (Result.isFailure(network)) return Result.fail(entry)
    networks.push(network.success)
  }
  return Result.succeed(networks)
}

/** Whether the URL's host is this machine by its loopback address or as `localhost`. */
export const isLoopbackUrl = (url: string): boolean => {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, "")
  return host === "localhost" || isListed(loopback, host)
}

/**
 * Whether the list contains the peer's address as a socket reports it. IPv4-mapped addresses count as IPv4 and zones
 * are ignored. A text that is not a canonical address is in no list.
 */
export const isListed = (list: AddressList, remoteAddress: string | undefined): boolean => {
  if (remoteAddress === undefined) return false
  const address = Result.map(NetAddress.ipFromString(remoteAddress.replace(/%[\w.-]+$/, "")), (parsed) =>
    NetAddress.toCanonical(parsed)
  )
  return Result.isSuccess(address) && list.some((network) => IpNetwork.contains(network, address.success))
}
