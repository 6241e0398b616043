/** The state of the runtime: status, reasons, indicators, numbers, running turns, agents, errors. */
export const overview = String.raw`
const GLYPHS = { good: "●", warn: "▲", bad: "■", idle: "○" }
let state = null
let live = { off: null, turns: [] }
let lastStatus = null
let isLost = false

const OUTCOMES = { replied: "good", acted: "good", posted: "good", ok: "good", skipped: "idle", released: "idle",
  stopped: "idle", fallback: "warn", retrying: "warn", silent: "warn", lease_lost: "warn", abandoned: "warn", dead: "bad", given_up: "bad" }
const ENDS = { retrying: "will be retried", dead: "dead letter", abandoned: "end not stored",
  fallback: "fallback posted", lease_lost: "taken by another runtime", given_up: "given up", ok: "nothing to do" }
// The gateway's internal error may be an agent's silence or not, and a run to which no answer is owed can end with it.
const endOf = (work) => work.isError && (work.outcome === "skipped" || work.outcome === "silent")
  ? { tag: "failed, not retried", tagLevel: "warn" }
  : { tag: (work.isSilence ? "no answer, " : "") + (ENDS[work.outcome] || words(work.outcome)), tagLevel: OUTCOMES[work.outcome] || "idle" }
const agentName = (slug) => {
  const agent = state && state.activity.agents.find((each) => each.slug === slug)
  return (agent && agent.name) || slug || "Unknown agent"
}
const nameOf = (work) => work.agentName || agentName(work.agent)
const taskOf = (work) => words(work.type) + (work.task ? ": " + work.task : "")

const progressOf = ({ inputTokens, outputTokens, rounds }) => rounds === 0 ? "first round"
  : plural(rounds, "round", "rounds") + ", " + plural(inputTokens + outputTokens, "token", "tokens")
/** Of a running turn: what the gateway's events report of it, as far as they are ahead of the answered rounds. */
const liveOf = ({ run }) => live.turns.find((turn) => turn.run === run)
const liveProgressOf = (work) => {
  const turn = liveOf(work)
  if (turn === undefined || turn.modelCalls === 0 && turn.textLength === 0) return progressOf(work)
  const tokens = Math.max(work.inputTokens + work.outputTokens, turn.inputTokens + turn.outputTokens)
  return [
    turn.modelCalls > 0 ? plural(turn.modelCalls, "model call", "model calls") + ", " + plural(tokens, "token", "tokens") : "",
    turn.textLength > 0 ? plural(turn.textLength, "character", "characters") + " of text" : ""
  ].filter(Boolean).join(", ")
}
const stepOf = ({ tool }) => tool || "model"

const showHead = () => {
  document.title = (isLost ? "lost" : state.status) + " · " + (usage && usage.account || state.runtime)
  const pill = byId("status")
  const level = isLost ? "idle" : state.level
  pill.className = "pill " + level
  write(pill, GLYPHS[level] + " " + state.status + (isLost ? ", last known" : ""))
  write(byId("account"), (usage && usage.account) || "Mission Control")
  write(byId("who"), "Account " + state.account + ", runtime " + state.runtime + ", version " + state.versions.runtime +
    (state.versions.openclaw ? ", gateway " + state.versions.openclaw : "") + ", up for " + span(state.uptimeMillis))
  if (lastStatus !== null && lastStatus !== state.status) write(byId("spoken"), "The runtime is " + state.status)
  lastStatus = state.status
  const reasons = byId("reasons-card")
  reasons.hidden = state.reasons.length === 0
  reasons.className = "card reasons " + (state.level === "bad" ? "bad" : "")
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
    const glyph = part(stateNode, "glyph")
    glyph.setAttribute("aria-hidden", "true")
    write(glyph, GLYPHS[level])
    write(part(stateNode, "word"), light.text)
    grow(part(node, "more"), light.more || "", light.at)
  })
}

const showNumbers = ({ activity, delivery }) => {
  write(byId("n-running"), activity.running.length + " of " + state.permits)
  write(byId("n-done"), whole(delivery.successCount))
  write(byId("n-retry"), whole(delivery.retries))
  write(byId("n-retry-more"), delivery.consecutiveFailures > 0 ? plural(delivery.consecutiveFailures, "failure", "failures") + " in a row" : "failed and retried")
  write(byId("n-silent"), whole(delivery.silences))
  write(byId("n-dead"), whole(delivery.deadLetters))
}

const idleText = () => state.isPaused ? "Paused: no new work starts until a person resumes the account."
  : state.phase === "draining" ? "Draining: no new work starts, and no turn is running."
  : !state.isClaiming ? "No turn is running. New turns are blocked for the reasons above."
  : queue && queue.list.length > 0 && queue.list.every(({ reason }) => reason === "budget") ? "No turn is running. A budget holds all waiting work."
  : state.reasons.length > 0 ? "No turn is running. The next one may be blocked or fail for the reasons above."
  : "No turn is running. The next one starts as soon as an agent has work."

/** What limits the agent today: its own budget of a day. */
const budgetOf = (slug) => {
  const budget = usage && usage.account && usage.budgets.find(({ name, period, scope }) => scope === "agent" && name === slug && period === "day")
  return budget ? { percent: budget.percent, level: levelOfBudget(budget), text: budget.share + " of its budget" } : null
}
const spentBy = (slug) => {
  if (!usage || !usage.account) return ""
  const line = usage.agents.find(({ agent }) => agent === slug)
  const budget = budgetOf(slug)
  return (line ? whole(line.weightedTokens) + " tokens today" + (line.cost === "-" ? "" : ", " + line.cost) : "nothing spent today") +
    (budget ? ", " + budget.text : "")
}
const failuresOf = (slug) => {
  const rows = state.activity.failures.filter(({ agent }) => agent === slug)
  return rows.map(({ count, kind }) => plural(count, kind === "heartbeat" ? "heartbeat" : "delivery", kind === "heartbeat" ? "heartbeats" : "deliveries") + " failed in a row").join(", ")
}

const showAgents = ({ activity }) => {
  const working = new Map(activity.running.map((work) => [work.agent, work]))
  section("agents", activity.agents, "No agent has been seen since the start. An agent appears with the roster, or with its first delivery.",
    ({ slug }) => slug,
    (agent) => {
      const work = working.get(agent.slug)
      const isFailing = state.failing.includes(agent.slug)
      const failures = failuresOf(agent.slug)
      return {
        title: agent.name || agent.slug,
        tag: agent.isPaused ? "paused" : isFailing ? "failing" : work ? "working" : "",
        tagLevel: isLost ? "idle" : agent.isPaused ? "warn" : isFailing ? "bad" : "good",
        detail: [failures, work ? taskOf(work) : agent.role || "@" + agent.slug, spentBy(agent.slug)].filter(Boolean).join(" · "),
        budget: budgetOf(agent.slug),
        side: agent.lastHeartbeatAt === null ? "no heartbeat yet" : "heartbeat {age} ago", sideAt: agent.lastHeartbeatAt,
        sideMore: agent.nextHeartbeatAt > state.now
          ? state.isClaiming && !isLost && !agent.isPaused ? "next {until}" : "on hold"
          : agent.lastHeartbeatAt !== null ? ENDS[agent.lastHeartbeatOutcome] || agent.lastHeartbeatOutcome : "",
        sideMoreAt: agent.nextHeartbeatAt
      }
    })
}

const showRunning = () => {
  const { running } = state.activity
  section("running", running, idleText(), ({ run }) => run,
    (work) => ({
      title: nameOf(work), run: work.run,
      tag: work.isStuck ? "seems stuck" : words(work.type), tagLevel: work.isStuck ? "warn" : "idle",
      detail: (work.task || "No task") + (work.attempt > 1 ? ", attempt " + work.attempt : "") + " · " + liveProgressOf(work),
      side: "{age}", sideAt: work.startedAt,
      sideMore: stepOf(work) + " for {age}", sideMoreAt: work.stepSince,
      quote: (liveOf(work) || {}).lastLine || ""
    }))
  byId("texts-choice").hidden = live.off !== null || running.length === 0
  byId("running-stale").hidden = live.off === null || running.length === 0
  write(byId("running-stale"), "Progress within a round is not known: the gateway's events are off, " + live.off + ".")
}

const show = () => {
  if (state === null) return
  const { activity } = state
  showHead()
  showNumbers(state)
  showRate(state.spans, state.spanMillis)
  showLatency(state.spans, state.latencies)
  showRunning()
  showAgents(state)
  section("errors", activity.errors, "None since the start.", ({ agent, firstAt, message }) => firstAt + " " + agent + " " + message,
    (error) => ({
      title: error.agent === null ? "Runtime" : agentName(error.agent), tag: error.count > 1 ? error.count + " times" : "", tagLevel: "warn",
      detail: error.message, side: "{age} ago", sideAt: error.at
    }))
  showEnded()
  showQueue()
  showRun()
}
`
