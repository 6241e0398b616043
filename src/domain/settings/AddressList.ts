import { Result } from "effect"
import { IpInterface, IpNetwork, NetAddress } from "effect/net"

/** The networks from which agents may call: always this machine, and what AGENT_HTTP_ALLOW adds. */
export type AddressList = ReadonlyArray<IpNetwork.IpNetwork>

/** This machine: 127.0.0.0/8 and ::1. */
export const loopback: AddressList = [IpNetwork.fromStringUnsafe("127.0.0.0/8"), IpNetwork.fromStringUnsafe("::1/128")]

const MAPPED_BITS = 96

/** An IPv4-mapped network stands for the IPv4 network, since remote addresses are compared unmapped. */
const unmapped = (address: NetAddress.IpAddress, prefix: number): Result.Result<IpNetwork.IpNetwork, unknown> => {
  const canonical = NetAddress.toCanonical(address)
  return canonical === address || prefix < MAPPED_BITS
    ? IpNetwork.make(address, prefix)
    : IpNetwork.make(canonical, prefix - MAPPED_BITS)
}

/** Reads a list of CIDRs and addresses separated by commas or blanks, `loopback` among them; names what is none. */
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

/**
 * Whether the list holds the peer's address, in the form in which a socket gives it: IPv4-mapped ones count as IPv4, a
 * zone is left out, and whatever is not a canonical address is held by no list.
 */
export const isListed = (list: AddressList, remoteAddress: string | undefined): boolean => {
  if (remoteAddress === undefined) return false
  const address = Result.map(NetAddress.ipFromString(remoteAddress.replace(/%[\w.-]+$/, "")), (parsed) =>
    NetAddress.toCanonical(parsed)
  )
  return Result.isSuccess(address) && list.some((network) => IpNetwork.contains(network, address.success))
}
