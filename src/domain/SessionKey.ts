/** What a session key is made of; the generation starts at 1. */
export interface SessionKeyParts {
  readonly slug: string
  readonly accountId: string
  readonly taskId?: string
  readonly generation: number
}

const slugForm = /^[a-z0-9][a-z0-9_-]{0,63}$/
const idForm = /^[a-z0-9_-]{1,64}$/
const generationForm = /^g([1-9][0-9]{0,8})$/

/** Whether the text is an agent's slug: 1 to 64 of a-z, 0-9, hyphen and underscore, not starting with the last two. */
export const isAgentSlug = (text: string): boolean => slugForm.test(text)

/**
 * The gateway's key of an agent's session: `agent:{slug}:{accountId}`, with `:task:{taskId}` where tasks have sessions
 * of their own and `:g{n}` from the second generation; lower case throughout, since the gateway folds case.
 */
export const sessionKey = (parts: SessionKeyParts): string =>
  [
    "agent",
    parts.slug.toLowerCase(),
    parts.accountId.toLowerCase(),
    ...(parts.taskId === undefined ? [] : ["task", parts.taskId.toLowerCase()]),
    ...(parts.generation > 1 ? [`g${parts.generation}`] : [])
  ].join(":")

/** The parts of a session key, ids in lower case; null when the text is none. */
export const parseSessionKey = (key: string): SessionKeyParts | null => {
  const [scheme, slug, accountId, ...rest] = key.split(":")
  if (scheme !== "agent" || slug === undefined || accountId === undefined) return null
  if (!isAgentSlug(slug) || !idForm.test(accountId)) return null
  const [word, id, ...afterTask] = rest
  if (word === "task" && (id === undefined || !idForm.test(id))) return null
  const task = word === "task" && id !== undefined ? { taskId: id } : {}
  const [suffix, ...more] = word === "task" ? afterTask : rest
  if (suffix === undefined) return { slug, accountId, ...task, generation: 1 }
  const generation = Number(generationForm.exec(suffix)?.[1] ?? 0)
  return more.length > 0 || generation < 2 ? null : { slug, accountId, ...task, generation }
}
