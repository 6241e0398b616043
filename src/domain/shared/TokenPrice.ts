/** US dollars per million tokens. */
export interface TokenPrice {
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheWrite: number
}

/** Tokens of one or several requests; those read from and written to the cache are parts of inputTokens. */
export interface Tokens {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cacheReadTokens: number
  readonly cacheWriteTokens: number
}

/** What providers charge for a token, as a multiple of an uncached input token. */
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

/** Price-weighted tokens: how many uncached input tokens cost about as much. A whole number. */
export const weightedTokensOf = (tokens: Tokens): number => Math.round(valueOf(tokens, weights))

/** What the tokens cost in US dollars. */
export const costOf = (tokens: Tokens, price: TokenPrice): number => valueOf(tokens, price) / 1_000_000
