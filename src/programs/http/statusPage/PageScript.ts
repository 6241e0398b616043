/**
 * What the status page does in the browser: follows the events, shows the last state, lets ages grow between them. It
 * writes text only, never markup, and keeps the nodes of what stays, so that a reader's place is not lost.
 */
export const pageScript = String.raw`"use strict"
const byId = (id) => document.getElementById(id)
const GLYPHS = { good: "●", warn: "▲", bad: "■", idle: "○" }
const SILENCE_MILLIS = 20000
const RETRY_MILLIS = 3000
let state = null
let letters = null
let usage = null
let skew = 0
let lastEventAt = 0
let lastStatus = null
let isLost = false

const make = (tag, className) => {
  const node = document.createElement(tag)
  if (className) node.className = className
  return node
}
const write = (node, text) => {
  if (node.textContent !== text) node.textContent = text
}
const span = (millis) => {
  const seconds = Math.max(0, Math.round(millis / 1000))
  if (seconds < 60) return seconds + " s"
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return minutes + " min" + (minutes < 10 ? " " + (seconds % 60) + " s" : "")
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? hours + " h " + (minutes % 60) + " min" : Math.floor(hours / 24) + " days"
}
const short = (millis) => millis < 995 ? Math.round(millis) + " ms" : (millis < 9950 ? (millis / 1000).toFixed(1) + " s" : span(millis))
const now = () => Date.now() + skew
const plural = (count, one, many) => count + " " + (count === 1 ? one : many)
const words = (text) => text.replaceAll("_", " ")

/** Text that the page updates each second: {age} is the time since, {until} the time left. */
const aging = new Map()
const grow = (node, template, at) => {
  if (at === null || at === undefined) {
    aging.delete(node)
    return write(node, template)
  }
  aging.set(node, { template, at })
  showAge(node)
}
const showAge = (node) => {
  const { at, template } = aging.get(node)
  const passed = now() - at
  const until = passed >= 0 ? "now" : "in " + span(-passed)
  write(node, template.replace("{age}", span(passed)).replace("{until}", until))
}

/** Brings the list to the items, reusing the node of each key. */
const keep = (list, items, keyOf, update) => {
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]))
  items.forEach((item, index) => {
    const key = String(keyOf(item, index))
    let node = old.get(key)
    if (node === undefined) {
      node = make("li")
      node.dataset.key = key
    } else old.delete(key)
    update(node, item)
    if (list.children[index] !== node) list.insertBefore(node, list.children[index] || null)
  })
  for (const node of old.values()) node.remove()
  for (const node of aging.keys()) if (!node.isConnected) aging.delete(node)
}

const part = (node, name, parent) => {
  const found = node.querySelector("." + name)
  if (found) return found
  const fresh = make("span", name)
  ;(parent || node).append(fresh)
  return fresh
}

/** A row: title with a tag, detail below, and on the right a fact with one below. */
const row = (node, { detail, side, sideAt, sideMore, sideMoreAt, tag, tagLevel, title }) => {
  let head = node.querySelector(".head")
  if (!head) {
    head = make("span", "head")
    node.append(head)
  }
  write(part(head, "title"), title)
  const tagNode = part(head, "tag")
  tagNode.hidden = !tag
  tagNode.className = "tag " + (tagLevel || "idle")
  write(tagNode, tag || "")
  grow(part(node, "side"), side || "", sideAt)
  const detailNode = part(node, "detail")
  write(detailNode, detail || "")
  grow(part(node, "side-more"), sideMore || "", sideMoreAt)
}

const section = (name, items, empty, keyOf, toRow) => {
  write(byId(name + "-count"), items && items.length > 0 ? String(items.length) : "")
  const emptyNode = byId(name + "-empty")
  emptyNode.hidden = items !== null && items.length > 0
  write(emptyNode, empty)
  const list = byId(name)
  list.hidden = items === null || items.length === 0
  keep(list, items || [], keyOf, (node, item) => row(node, toRow(item)))
}

const svg = (tag, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag)
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value))
  return node
}
const HEIGHT = 40

const showRate = (spans, spanMillis) => {
  const most = Math.max(1, ...spans.map(({ ended }) => ended))
  const bars = [svg("line", { class: "base", x1: 0, x2: spans.length * 4, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 })]
  spans.forEach(({ ended, failed }, index) => {
    const height = (count) => (count / most) * (HEIGHT - 2)
    if (ended > 0) {
      bars.push(svg("rect", { class: "bar", x: index * 4, y: HEIGHT - height(ended), width: 3, height: height(ended) }))
    }
    if (failed > 0) {
      bars.push(svg("rect", { class: "bar-failed", x: index * 4, y: HEIGHT - height(failed), width: 3, height: height(failed) }))
    }
  })
  byId("rate").replaceChildren(...bars)
  const total = spans.reduce((sum, { ended }) => sum + ended, 0)
  const failed = spans.reduce((sum, { failed }) => sum + failed, 0)
  const minutes = Math.round((spans.length * spanMillis) / 60000)
  const text = plural(total, "delivery", "deliveries") + " in " + minutes + " min, " + failed + " failed"
  write(byId("rate-text"), text)
  byId("rate").setAttribute("aria-label", text + "; at most " + most + " in " + spanMillis / 1000 + " s")
  for (const node of document.querySelectorAll(".axis-from")) write(node, minutes + " min ago")
}

const showLatency = (spans) => {
  const points = spans.flatMap(({ ended, totalMillis }, index) => (ended === 0 ? [] : [[index, totalMillis / ended]]))
  const most = Math.max(1, ...points.map(([, mean]) => mean))
  const x = (index) => index * 4 + 2
  const y = (mean) => HEIGHT - 2 - (mean / most) * (HEIGHT - 6)
  const nodes = [svg("line", { class: "base", x1: 0, x2: spans.length * 4, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 })]
  if (points.length > 1) {
    nodes.push(svg("polyline", { class: "curve", points: points.map(([index, mean]) => x(index) + "," + y(mean)).join(" ") }))
  }
  for (const [index, mean] of points) nodes.push(svg("rect", { class: "dot", x: x(index) - 1, y: y(mean) - 2, width: 2, height: 4 }))
  byId("latency").replaceChildren(...nodes)
  const last = points.at(-1)
  const longest = Math.max(0, ...spans.map(({ longestMillis }) => longestMillis))
  const text = last === undefined ? "nothing has ended yet" : "mean lately " + short(last[1]) + ", longest " + short(longest)
  write(byId("latency-text"), text)
  byId("latency").setAttribute("aria-label", "Mean duration of deliveries: " + text)
}

const OUTCOMES = { replied: "good", acted: "good", posted: "good", ok: "good", skipped: "idle", released: "idle",
  stopped: "idle", fallback: "warn", retrying: "warn", silent: "warn", lease_lost: "warn", abandoned: "warn", dead: "bad", given_up: "bad" }
const ENDS = { retrying: "will be retried", dead: "dead letter", abandoned: "end not stored",
  fallback: "fallback posted", lease_lost: "taken by another runtime", given_up: "given up", ok: "nothing to do" }
// The gateway's internal error may be an agent's silence or not, and a run to which no answer is owed can end with it.
const endOf = (work) => work.isError && (work.outcome === "skipped" || work.outcome === "silent")
  ? { tag: "failed, not retried", tagLevel: "warn" }
  : { tag: (work.isSilence ? "no answer, " : "") + (ENDS[work.outcome] || work.outcome), tagLevel: OUTCOMES[work.outcome] || "idle" }
const agentName = (slug) => {
  const agent = state && state.activity.agents.find((each) => each.slug === slug)
  return (agent && agent.name) || slug
}
const nameOf = (work) => work.agentName || work.agent || "Unknown agent"
const eventsOf = ({ events }) => {
  const first = events.slice(0, 3).map(({ by, type }) => words(type) + " by " + by).join(", ")
  return first + (events.length > 3 ? " and " + (events.length - 3) + " more" : "")
}

const show = () => {
  if (state === null) return
  const { activity, delivery } = state
  document.title = (isLost ? "lost" : state.status) + " · " + state.runtime
  const pill = byId("status")
  pill.className = "pill " + (isLost ? "idle" : state.level)
  write(pill, state.status + (isLost ? ", last known" : ""))
  write(byId("who"), "Account " + state.account + ", runtime " + state.runtime + ", version " + state.versions.runtime +
    (state.versions.openclaw ? ", gateway " + state.versions.openclaw : "") + ", up for " + span(state.uptimeMillis))
  if (lastStatus !== null && lastStatus !== state.status) write(byId("spoken"), "The runtime is " + state.status)
  lastStatus = state.status

  byId("reasons-card").hidden = state.reasons.length === 0
  keep(byId("reasons"), state.reasons, ({ text }) => text, (node, reason) => {
    write(part(node, "why"), reason.text)
    write(part(node, "help"), reason.help)
  })

  keep(byId("lights"), state.lights, ({ name }) => name, (node, light) => {
    node.className = "card"
    write(part(node, "name"), light.name)
    const level = isLost ? "idle" : light.level
    const stateNode = part(node, "state")
    stateNode.className = "state " + level
    let glyph = stateNode.querySelector(".glyph")
    if (!glyph) {
      glyph = make("span", "glyph")
      glyph.setAttribute("aria-hidden", "true")
      stateNode.append(glyph, make("span", "word"))
    }
    write(glyph, GLYPHS[level])
    write(stateNode.querySelector(".word"), light.text)
    grow(part(node, "more"), light.more || "", light.at)
  })

  write(byId("n-running"), activity.running.length + " of " + state.permits)
  const waits = state.oldestWaitingSince !== null
  write(byId("n-waiting"), waits ? "Yes" : "None")
  grow(byId("n-waiting-more"), waits ? "the oldest for {age}" : "nothing is ready", waits ? state.oldestWaitingSince : null)
  write(byId("n-done"), String(delivery.successCount))
  write(byId("n-retry"), String(delivery.retries))
  write(byId("n-retry-more"), delivery.consecutiveFailures > 0 ? delivery.consecutiveFailures + " failures in a row" : "failed and retried")
  write(byId("n-silent"), String(delivery.silences))
  write(byId("n-dead"), String(delivery.deadLetters))
  showRate(state.spans, state.spanMillis)
  showLatency(state.spans)

  section("running", activity.running,
    state.isPaused ? "Paused: no new work starts until a person resumes the account."
      : state.phase === "draining" ? "Draining: no new work starts, and no turn is running."
      : !state.isClaiming ? "No turn is running. New turns are blocked for the reasons above."
      : state.reasons.length > 0 ? "No turn is running. The next one may be blocked or fail for the reasons above."
      : "No turn is running. The next one starts as soon as an agent has work.",
    ({ run }) => run,
    (work) => ({
      title: nameOf(work), tag: words(work.type),
      detail: (work.task || "No task") + (work.attempt > 1 ? ", attempt " + work.attempt : ""),
      side: "{age}", sideAt: work.startedAt,
      sideMore: work.tool ? "calls " + work.tool : "thinks"
    }))

  const working = new Map(activity.running.map((work) => [work.agent, work]))
  section("agents", activity.agents, "No agent has been seen since the start. An agent appears with the roster, or with its first delivery.",
    ({ slug }) => slug,
    (agent) => {
      const work = working.get(agent.slug)
      return {
        title: agent.name || agent.slug,
        tag: agent.isPaused ? "paused" : state.failing.includes(agent.slug) ? "failing" : work ? "working" : "",
        tagLevel: isLost ? "idle" : agent.isPaused ? "warn" : state.failing.includes(agent.slug) ? "bad" : "good",
        detail: work ? words(work.type) + (work.task ? ": " + work.task : "") : agent.role || "@" + agent.slug,
        side: agent.lastHeartbeatAt === null ? "no heartbeat yet" : "heartbeat {age} ago", sideAt: agent.lastHeartbeatAt,
        sideMore: agent.nextHeartbeatAt > state.now
          ? state.isClaiming && !isLost && !agent.isPaused ? "next {until}" : "on hold"
          : agent.lastHeartbeatAt !== null ? ENDS[agent.lastHeartbeatOutcome] || agent.lastHeartbeatOutcome : "",
        sideMoreAt: agent.nextHeartbeatAt
      }
    })

  section("ended", activity.ended.slice(0, 12), "Nothing has ended since the start.", ({ at, run }) => run + " " + at,
    (work) => ({
      title: nameOf(work), ...endOf(work),
      detail: words(work.type) + (work.task ? ": " + work.task : ""),
      side: "{age} ago", sideAt: work.at, sideMore: "took " + short(work.durationMillis)
    }))

  section("errors", activity.errors, "None since the start.", ({ agent, firstAt, message }) => firstAt + " " + agent + " " + message,
    (error) => ({
      title: error.agent === null ? "Runtime" : agentName(error.agent), tag: error.count > 1 ? error.count + " times" : "", tagLevel: "warn",
      detail: error.message, side: "{age} ago", sideAt: error.at
    }))
}

const showLetters = () => {
  if (letters === null) return
  byId("letters-hint").hidden = letters.list.length === 0
  byId("letters-stale").hidden = letters.error === null || letters.list.length === 0
  write(byId("letters-stale"), "The list may be old, it cannot be read now: " + letters.error)
  section("letters", letters.list,
    letters.error ? "The list cannot be read now: " + letters.error : "None: no notification waits for a decision.",
    ({ id }) => id,
    (letter) => ({
      title: letter.agent === null ? "Unknown agent" : agentName(letter.agent), tag: words(letter.type),
      detail: (letter.task ? letter.task + ". " : "") + eventsOf(letter) + ". " + (letter.error || "No error was kept") + " (ID " + letter.id + ")",
      side: "{age} ago", sideAt: letter.diedAt, sideMore: plural(letter.attempts, "attempt", "attempts")
    }))
}

const showUsage = () => {
  if (usage === null) return
  byId("usage-stale").hidden = usage.error === null || usage.list.length === 0
  write(byId("usage-stale"), "The figures may be old, they cannot be read now: " + usage.error)
  section("usage", usage.list,
    usage.error ? "The figures cannot be read now: " + usage.error : "Nothing was spent.",
    ({ agent }) => agent,
    (line) => ({
      title: agentName(line.agent), tag: line.cost === "-" ? "no price" : line.cost,
      detail: plural(line.attempts, "attempt", "attempts"),
      side: line.weightedTokens.toLocaleString("en-US"), sideMore: "weighted tokens"
    }))
  section("budgets", usage.budgets, usage.error ? "" : "There is no budget.",
    ({ of, period }) => of + " " + period,
    (budget) => ({
      title: "Of the " + budget.of, tag: budget.period, detail: budget.used + (budget.waits === "" ? "" : ": " + budget.waits),
      side: budget.share, sideMore: budget.ends === "never" ? "" : "until " + budget.ends
    }))
  section("held", usage.held, usage.error ? "" : "No work is held.",
    ({ agent, task }, index) => agent + " " + task + " " + index,
    (work) => ({
      title: agentName(work.agent), tag: "", detail: work.task + ": " + work.reason, side: "until", sideMore: work.until
    }))
}

/** If the runtime does not answer, the page shows its last known state without colours and with stopped clocks. */
const notice = (text) => {
  byId("notice").hidden = text === ""
  write(byId("notice"), text)
  if (isLost === (text !== "")) return
  isLost = text !== ""
  show()
}
const clock = (millis) => new Date(millis).toLocaleTimeString()

const connect = () => {
  const source = new EventSource("status/events")
  const arrived = (event) => {
    lastEventAt = Date.now()
    notice("")
    return JSON.parse(event.data)
  }
  source.addEventListener("state", (event) => {
    state = arrived(event)
    skew = state.now - Date.now()
    show()
  })
  source.addEventListener("letters", (event) => {
    letters = arrived(event)
    showLetters()
  })
  source.addEventListener("usage", (event) => {
    usage = arrived(event)
    showUsage()
  })
  source.addEventListener("error", () => {
    notice(lastEventAt === 0
      ? "The runtime gives no events. It may have ended, too many pages may show it already, or this address may not be allowed to (AGENT_HTTP_ALLOW). Trying again."
      : "The connection to the runtime is lost: this is its state of " + clock(lastEventAt) + ". It may be restarting. Trying again.")
    if (source.readyState !== EventSource.CLOSED) return
    source.close()
    setTimeout(connect, RETRY_MILLIS)
  })
}

setInterval(() => {
  if (!isLost) for (const node of aging.keys()) showAge(node)
  if (lastEventAt !== 0 && Date.now() - lastEventAt > SILENCE_MILLIS) {
    notice("The runtime has been silent since " + clock(lastEventAt) + ": this is its last known state.")
  }
}, 1000)
connect()
`
