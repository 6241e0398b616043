/** A run's own view at #run=ID: facts, waterfall, events, effects, the commands for it, and its prompt on request. */
export const runView = String.raw`
/** The run that is shown: its id, and the details once they are read. */
let shown = null

const runOf = () => {
  const found = /^#run=(.+)$/.exec(location.hash)
  return found ? decodeURIComponent(found[1]) : null
}
const get = (path, id) => fetch(path + "?id=" + encodeURIComponent(id)).then((response) => response.json())
  .catch(() => ({ error: "The runtime does not answer." }))

/** Reads the details: when the view opens, and when the run starts, ends or its attempt changes; never regularly. */
const readShown = (id) => get("status/run", id).then((details) => {
  if (shown === null || shown.id !== id) return
  shown.details = details
  showRun()
})

const openRun = () => {
  const id = runOf()
  byId("overview").hidden = id !== null
  byId("run-view").hidden = id === null
  if (id === null) {
    const last = shown && document.querySelector('a[href="#run=' + CSS.escape(encodeURIComponent(shown.id)) + '"]')
    shown = null
    if (last) last.focus()
    return
  }
  shown = { id, details: null, seen: null, facts: null, drawn: null }
  byId("prompt-text").hidden = true
  write(byId("prompt-hint"), "")
  for (const name of ["attempts", "events", "effects", "facts"]) byId("run-" + name).replaceChildren()
  showRun()
  byId("run-title").focus()
  scrollTo(0, 0)
}

/** Drawn again only after a change, so that selected text stays selected. */
const facts = (pairs) => {
  const text = JSON.stringify(pairs)
  if (text === shown.facts) return
  shown.facts = text
  byId("run-facts").replaceChildren(...pairs.filter(([, text]) => text !== null && text !== "").flatMap(([name, text, isCode]) => {
    const value = make("dd")
    value.append(isCode ? make("code", "", text) : text)
    return [make("dt", "", name), value]
  }))
}

const commandFor = (id, { outcome, state: runState }) => runState === "running" ? COMMAND + "runs stop " + id
  : runState === "dead" ? COMMAND + "dead-letters retry " + id
  : outcome === "stopped" ? COMMAND + "runs again " + id : ""

const bars = (attempt) => {
  const list = make("ul", "bars")
  for (const bar of attempt.bars) {
    const item = make("li")
    const text = short(bar.forMs) + (bar.text ? ", " + bar.text : "")
    const line = barNode()
    drawBar(line, "bar " + (bar.isFailed ? "bad" : bar.kind), bar.fromMs / Math.max(1, attempt.totalMs), bar.forMs / Math.max(1, attempt.totalMs))
    item.append(make("span", "bar-name", bar.label), line,
      make("span", bar.isFailed ? "bar-text bad" : "bar-text", (bar.isFailed ? "■ " : "") + text))
    item.append(make("span", "quiet", ", starts after " + short(bar.fromMs)))
    list.append(item)
  }
  return list
}

const traceNode = (id) => {
  const node = make("span", "", "Trace ")
  const template = state && state.traceLink
  const name = make(template ? "a" : "code", "", id)
  if (template) name.setAttribute("href", template.replaceAll("{traceId}", encodeURIComponent(id)))
  node.append(name)
  return node
}

const attemptNode = (attempt, index) => {
  const node = make("li")
  const end = attempt.end === null ? "is running" : words(attempt.end) + " after " + short(attempt.totalMs)
  node.append(make("h3", "", "Attempt " + (index + 1) + ": " + end))
  const claim = attempt.claimedAt === null ? "" : "Claimed at " + clock(attempt.claimedAt) + " by " + attempt.runtime
  const about = [claim, ...attempt.facts, "epoch " + attempt.epoch].filter(Boolean).join(" · ")
  node.append(make("p", "hint", about))
  if (attempt.reason) node.append(make("p", "cause", attempt.reason))
  if (attempt.traceId) node.append(traceNode(attempt.traceId))
  if (attempt.stepsLeftOut > 0) node.append(make("p", "hint", plural(attempt.stepsLeftOut, "earlier step is", "earlier steps are") + " not stored."))
  if (attempt.isEstimated) node.append(make("p", "hint", "The starts of these steps are not stored: they are drawn one after another."))
  if (attempt.bars.length > 0) {
    const axis = make("p", "bars-axis")
    axis.setAttribute("aria-hidden", "true")
    axis.append(make("span", "", "0"), make("span", "", short(attempt.totalMs)))
    node.append(bars(attempt), axis)
  }
  return node
}

const happened = (list, items, textOf) => byId(list).replaceChildren(...items.map((item) => {
  const node = make("li")
  node.append(make("span", "at", clock(item.at)), " " + textOf(item))
  return node
}))

const showNow = () => {
  if (shown === null || state === null) return
  const work = state.activity.running.find(({ run }) => run === shown.id)
  const line = work && (liveOf(work) || {}).lastLine
  byId("run-now").hidden = !work
  grow(byId("run-now"), work ? "Now: " + stepOf(work) + " for {age}. " + capital(liveProgressOf(work)) + "." : "", work ? work.stepSince : null)
  byId("run-quote").hidden = !line
  write(byId("run-quote"), line || "")
}

const showRun = () => {
  if (shown === null || state === null) return
  const { details, id } = shown
  const running = state.activity.running.find(({ run }) => run === id)
  const ended = state.activity.ended.find(({ run }) => run === id)
  const seen = running ? "attempt " + running.attempt : ended ? "ended " + ended.at : "unknown"
  if (seen !== shown.seen) {
    shown.seen = seen
    readShown(id)
  }
  const known = details && !details.error ? details : null
  const memory = running || ended
  const name = known ? agentName(known.agent) : memory ? nameOf(memory) : "Run"
  const about = known ? taskOf(known) : memory ? taskOf(memory) : id
  write(byId("run-title"), name + ", " + about)
  byId("run-error").hidden = !details || !details.error
  if (details && details.error) write(byId("run-error"), "The control plane has no timeline of this run: " + details.error)
  const status = known ? words(known.outcome || known.state) : running ? "running" : ended ? endOf(ended).tag : "not known"
  const command = known ? commandFor(id, known) : ""
  byId("prompt-card").hidden = known === null
  facts([
    ["State", status + (known && known.outcomeReason ? ": " + known.outcomeReason : "")],
    ["Waits", known && known.wait ? known.wait + (known.nextAttemptAt ? ", next try at " + clock(known.nextAttemptAt) : "") : ""],
    ["Last error", known && known.lastError ? known.lastError.text + ", at " + clock(known.lastError.at) : ended && ended.error],
    ["Decision", known && known.decision ? known.decision.text + ", at " + clock(known.decision.at) : ""],
    ["Created", known && clock(known.createdAt)],
    ["Attempts", known ? known.attempts + ", claimed " + plural(known.claims, "time", "times") + ", " + plural(known.failures, "failure", "failures") + " in a row, " + plural(known.silences, "silence", "silences") : ""],
    ["Progress", memory && memory.rounds > 0 ? progressOf(memory) : ""],
    ["Duration", ended && !running ? short(ended.durationMillis) : ""],
    ["Id", id, true],
    ["Command", command, true]
  ])
  showNow()
  if (known === null || known === shown.drawn) return
  shown.drawn = known
  byId("run-attempts").replaceChildren(...known.timeline.map(attemptNode))
  byId("run-attempts-empty").hidden = known.timeline.length > 0
  happened("run-events", known.events, ({ actorName, hasJoined, refusal, type }) => capital(words(type)) + " by " + actorName + (hasJoined ? ", joined the running turn" : "") + (refusal ? ", refused: " + refusal : ""))
  happened("run-effects", known.effects, ({ summary, tool }) => tool + ": " + summary)
  byId("run-effects-empty").hidden = known.effects.length > 0
}

byId("prompt-show").addEventListener("click", () => {
  if (shown === null) return
  const { id } = shown
  write(byId("prompt-hint"), "Reading.")
  get("status/prompt", id).then(({ error, prompt, tools }) => {
    if (shown === null || shown.id !== id) return
    write(byId("prompt-hint"), error || (prompt === null ? "The policy refuses every event: the agent would get no prompt." : "Tools: " + (tools.join(", ") || "none in the request") + "."))
    byId("prompt-text").hidden = !prompt
    write(byId("prompt-text"), prompt ? prompt.instructions + "\n\n----- input -----\n\n" + prompt.input : "")
  })
})
addEventListener("hashchange", openRun)
`
