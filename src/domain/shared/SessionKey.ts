/** The parts of a session key. Generations start at 1. */
export interface SessionKeyParts {
  readonly slug: string
  readonly accountId: string
  readonly taskId?: string
  /** The session of the agent's heartbeats, which has no task. */
  readonly isHeartbeat?: boolean
  readonly generation: number
}

const slugForm = /^[a-z0-9][a-z0-9_-]{0,63}$/
const idForm = /^[a-z0-9_-]{1,64}$/
const generationForm = /^g([1-9][0-9]{0,8})$/

/** The number in `g{n}`; 0 if the text has another form. */
const generationIn = (text = ""): number => Number(generationForm.exec(text)?.[1] ?? 0)

/** Whether the text is an agent's slug: 1 to 64 of a-z, 0-9, hyphen and underscore, not starting with the last two. */
export const isAgentSlug = (text: string): boolean => slugForm.test(text)

/**
 * The gateway's key of an agent's session: `agent:{slug}:{accountId}`, with `:task:{taskId}` if tasks have separate
 * sessions and `:g{n}` from the second generation. Heartbeats run in `agent:{slug}:{accountId}:heartbeat:g{n}`. All
 * lower case, because the gateway ignores case.
 */
export const sessionKey = (parts: SessionKeyParts): string =>
  [
    "agent",
    parts.slug.toLowerCase(),
    parts.accountId.toLowerCase(),
    ...(parts.taskId === undefined ? [] : ["task", parts.taskId.toLowerCase()]),
    ...(parts.isHeartbeat === true ? ["heartbeat"] : []),
    ...(parts.generation > 1 || parts.isHeartbeat === true ? [`g${parts.generation}`] : [])
  ].join(":")

const DAY_MILLIS = 86_400_000

/**
 * Whether an agent's last heartbeat was on an earlier day (UTC), in epoch milliseconds: each day its heartbeats begin a
 * new generation.
 */
export const isOnEarlierDay = (lastHeartbeatAt: number, now: number): boolean =>
  Math.floor(lastHeartbeatAt / DAY_MILLIS) < Math.floor(now / DAY_MILLIS)

/** The parts of a session key, ids in lower case; null if the text is not one. */
export const parseSessionKey = (key: string): SessionKeyParts | null => {
  const [scheme, slug, accountId, ...rest] = key.split(":")
  if (scheme !== "agent" || slug === undefined || accountId === undefined) return null
  if (!isAgentSlug(slug) || !idForm.test(accountId)) return null
  const [word, id, ...afterTask] = rest
  if (word === "heartbeat") {
    const generation = generationIn(id)
    return afterTask.length > 0 || generation === 0 ? null : { slug, accountId, isHeartbeat: true, generation }
  }
  if (word === "task" && (id === undefined || !idForm.test(id))) return null
  const task = word === "task" && id !== undefined ? { taskId: id } : {}
  const [suffix, ...more] = word === "task" ? afterTask : rest
  if (suffix === undefined) return { slug, accountId, ...task, generation: 1 }
  const generation = generationIn(suffix)
  return more.length > 0 || generation < 2 ? null : { slug, accountId, ...task, generation }
}
