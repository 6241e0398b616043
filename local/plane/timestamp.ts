/** A timestamp as in the protocols: base64 of eight bytes, least significant first. */
export const encodeTimestamp = (timestamp: bigint): string => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(timestamp)
  return bytes.toString("base64")
}

export const decodeTimestamp = (encoded: string): bigint => Buffer.from(encoded, "base64").readBigUInt64LE()
