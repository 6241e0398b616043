/** The length of a row as JSON, in characters. */
export const lengthOf = (row: object): number => JSON.stringify(row).length

/**
 * The first rows of a query, up to a count or until the characters are used up, so that large rows shorten an answer
 * instead of exceeding the transaction's limit. Returns at least one row if there is one.
 */
export const readWithin = async <A>(
  rows: AsyncIterable<A>,
  count: number,
  characters: number,
  sizeOf: (row: A) => number
): Promise<Array<A>> => {
  const read: Array<A> = []
  let left = characters
  for await (const row of rows) {
    read.push(row)
    left -= sizeOf(row)
    if (read.length >= count || left <= 0) break
  }
  return read
}
