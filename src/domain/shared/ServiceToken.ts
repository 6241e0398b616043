/** The parts of a service token: the account's id, and the secret of 64 hexadecimal digits. */
export interface ServiceTokenParts {
  readonly accountId: string
  readonly secret: string
}

const tokenForm = /^mc_service_([a-zA-Z0-9_-]{1,64})_([0-9a-f]{64})$/
const secretForm = /^[0-9a-f]{64}$/

/** The text of a service token: `mc_service_{accountId}_{64 hex}`. */
export const formatServiceToken = (parts: ServiceTokenParts): string => `mc_service_${parts.accountId}_${parts.secret}`

/** The parts of a service token; null if the text is not one. */
export const parseServiceToken = (text: string): ServiceTokenParts | null => {
  const match = tokenForm.exec(text)
  return match?.[1] === undefined || match[2] === undefined ? null : { accountId: match[1], secret: match[2] }
}

/** What is wrong with a service token, without quoting any of it; null if its form is valid. */
export const serviceTokenProblem = (text: string): string | null => {
  if (text === "") return "is empty"
  if (parseServiceToken(text) !== null) return null
  if (/\s/.test(text)) return "contains white space"
  if (/["'`]/.test(text)) return "contains a quotation mark"
  if (!text.startsWith("mc_service_")) return "does not start with mc_service_"
  const rest = text.slice("mc_service_".length)
  const cut = rest.lastIndexOf("_")
  if (cut < 1) return "has no account: the form is mc_service_{accountId}_{64 hex}"
  if (!secretForm.test(rest.slice(cut + 1))) return "does not end with 64 lower-case hexadecimal digits"
  return "has an account that is not an id"
}
