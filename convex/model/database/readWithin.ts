/**
 * The first rows of a query, up to a count or until the characters read use up the budget, so that large rows make an
 * answer shorter instead of breaking the transaction's limit. Answers at least one row when there is one.
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
