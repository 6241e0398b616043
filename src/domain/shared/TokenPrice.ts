/** US dollars per million tokens. */
export interface TokenPrice {
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheWrite: number
}

/** Tokens of one or several requests. inputTokens includes those read from and written to the cache. */
export interface Tokens {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cacheReadTokens: number
  readonly cacheWriteTokens: number
}

/** The price of a token as a multiple of the price of an uncached input token. */
const weights: TokenPrice = { input: 1, output: 5, cacheRead: 0.1, cacheWrite: 1.25 }

const valueOf = (tokens: Tokens, price: TokenPrice): number => {
  const { cacheReadTokens, cacheWriteTokens, inputTokens, outputTokens } = tokens
  const uncached = Math.max(0, inputTokens - cacheReadTokens - cacheWriteTokens)
  return (
    uncached * price.input +
    outputTokens * price.output +
    cacheReadTokens * price.cacheRead +
    cacheWriteTokens * price.cacheWrite
  )
}

/** Price-weighted tokens: the number of uncached input tokens that cost about as much. */
export const weightedTokensOf = (tokens: Tokens): number => Math.round(valueOf(tokens, weights))

/** The cost of the tokens in US dollars. */
export const costOf = (tokens: Tokens, price: TokenPrice): number => valueOf(tokens, price) / 1_000_000
