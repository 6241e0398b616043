/** The calls of people, page viewers and strangers during a soak. */
import { Effect } from "effect"
import { guests, workers } from "./world.ts"
import type { World } from "./world.ts"

/** The requests so far, and the tasks that may have notifications. */
export type Journal = {
  readonly certain: Set<number>
  readonly perhaps: Set<number>
  readonly tasks: Array<string>
  readonly counts: Map<string, number>
}

const MILLIS_BETWEEN = 450

const get = async (url: string, init: RequestInit = {}): Promise<void> => {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(5_000) })
  await response.arrayBuffer()
}

/** Reads the status page's events for a while and disconnects in the middle. */
const watch = async (url: string, millis: number): Promise<void> => {
  const leaving = AbortSignal.timeout(millis)
  const response = await fetch(`${url}/status/events`, { signal: leaving })
  for await (const chunk of response.body ?? []) void chunk
}

/** The people's part: requests, assignments, messages, status changes, and a changing roster. */
export const people = (world: World, random: () => number, journal: Journal) => {
  const { accountId, agents } = world.account
  const assigned: Array<{ readonly taskId: string; readonly slug: string }> = []
  const joined = new Map<string, string>()
  let n = 0
  let guest = 0
  const pick = <A>(list: ReadonlyArray<A>): A => list[Math.floor(random() * list.length)]!
  const change = (path: string, args: Record<string, any>): Promise<any> =>
    world.person.mutation(path, { accountId, ...args })

  const request = async (): Promise<void> => {
    const number = n++
    journal.perhaps.add(number)
    const { taskId } = await change("app/tasks:create", { title: `Request ${number}` })
    journal.tasks.push(taskId)
    await change("app/messages:post", { taskId, content: `@${pick(workers)} this is request number ${number}` })
    journal.certain.add(number)
  }
  const assignment = async (): Promise<void> => {
    const slug = pick(workers)
    const { taskId } = await change("app/tasks:create", { title: "Work", assigneeIds: [agents[slug]!] })
    journal.tasks.push(taskId)
    assigned.push({ taskId, slug })
    if (assigned.length > 30) assigned.shift()
  }
  const message = async (): Promise<void> => {
    if (assigned.length === 0) return assignment()
    await change("app/messages:post", { taskId: pick(assigned).taskId, content: "How is it going?" })
  }
  const status = async (): Promise<void> => {
    if (assigned.length === 0) return assignment()
    const { taskId } = pick(assigned)
    await change("app/tasks:setStatus", { taskId, status: random() < 0.6 ? "review" : "in_progress" })
  }
  const roster = async (): Promise<void> => {
    const leaving = [...joined].find(() => random() < 0.5)
    if (leaving !== undefined) {
      joined.delete(leaving[0])
      await change("app/agents:remove", { agentId: leaving[1] })
    } else if (guest < guests.length) {
      const slug = guests[guest++]!
      const { agentId } = await change("app/agents:create", { slug, name: slug, role: "visits", heartbeat: 1 })
      joined.set(slug, agentId)
    } else {
      await change("app/agents:update", {
        agentId: agents[pick(workers)]!,
        role: `answers ${Math.floor(random() * 10)}`
      })
    }
  }
  const kinds: ReadonlyArray<readonly [name: string, weight: number, act: () => Promise<void>]> = [
    ["request", 40, request],
    ["assignment", 15, assignment],
    ["message", 27, message],
    ["status change", 15, status],
    ["roster change", 3, roster]
  ]
  return Effect.gen(function* () {
    let point = random() * 100
    const [name, , act] = kinds.find(([, weight]) => (point -= weight) < 0) ?? kinds[0]!
    // A call that meets a restarting plane is not retried. Whether it succeeded is unknown, so the ledger allows both.
    yield* Effect.promise(() =>
      act().then(
        () => void journal.counts.set(name, (journal.counts.get(name) ?? 0) + 1),
        () =>
          void journal.counts.set(
            `${name} while the plane is down`,
            (journal.counts.get(`${name} while the plane is down`) ?? 0) + 1
          )
      )
    )
    yield* Effect.sleep(MILLIS_BETWEEN * 2 * random())
  }).pipe(Effect.forever)
}

/** Page viewers, metric scrapers and calls that are refused, at the watched runtimes. */
export const strangers = (world: World, random: () => number) => {
  const calls = (url: string): ReadonlyArray<() => Promise<void>> => [
    () => get(`${url}/metrics`),
    () => get(`${url}/health`),
    () => get(`${url}/readyz`),
    () => get(url),
    () => watch(url, 3_000 * random()),
    () => get(`${url}/agent/task-load`),
    () => get(`${url}/agent/task-load`, { method: "POST", body: "{}", headers: { "content-type": "text/plain" } }),
    () =>
      get(`${url}/agent/task-load`, { method: "POST", body: "{}", headers: { "content-type": "application/json" } }),
    () =>
      get(`${url}/agent/task-load`, {
        method: "POST",
        body: "{".repeat(100_000),
        headers: {
          "content-type": "application/json",
          "x-openclaw-session-key": "agent:agent-1:nobody",
          "x-mission-control-capability": "A".repeat(43)
        }
      })
  ]
  return Effect.gen(function* () {
    const { launched } = world.watched[random() < 0.5 ? 0 : 1]!
    const list = calls(launched.url)
    yield* Effect.promise(() => list[Math.floor(random() * list.length)]!().catch(() => undefined))
    yield* Effect.sleep(200 * random())
  }).pipe(Effect.forever)
}
