/** Recent runs with their filters, and the lists from the control plane: waiting runs, dead letters, budgets. */
export const lists = String.raw`
const COMMAND = "mission-control-runtime "
let queue = null
let queueAt = 0
let letters = null
let usage = null

const SHOWN = 12
const filters = { agent: "", result: "", hasSkipped: false, isAll: false }
/** A policy's skip without a turn. */
const isSkip = (work) => work.outcome === "skipped" && !work.isError
const RESULTS = {
  succeeded: ({ isError, outcome }) => !isError && OUTCOMES[outcome] === "good",
  failed: (work) => work.isError || ["retrying", "dead", "given_up", "abandoned", "fallback"].includes(work.outcome),
  unanswered: ({ isSilence }) => isSilence
}

const showEnded = () => {
  const { agents, ended } = state.activity
  const select = byId("filter-agent")
  const slugs = [...new Set([...agents.map(({ slug }) => slug), ...ended.map(({ agent }) => agent).filter(Boolean)])]
  if (slugs.join() !== select.dataset.slugs) {
    select.dataset.slugs = slugs.join()
    select.replaceChildren(make("option", "", "All agents"), ...slugs.map((slug) => {
      const option = make("option", "", agentName(slug))
      option.value = slug
      return option
    }))
    select.firstChild.value = ""
    select.value = filters.agent
  }
  const wanted = ended.filter((work) => (filters.agent === "" || work.agent === filters.agent) &&
    (filters.result === "" || RESULTS[filters.result](work)))
  const skips = wanted.filter(isSkip).length
  const listed = filters.hasSkipped ? wanted : wanted.filter((work) => !isSkip(work))
  write(byId("skips-text"), "Show skipped" + (skips > 0 ? " (" + skips + ")" : ""))
  section("ended", filters.isAll ? listed : listed.slice(0, SHOWN),
    ended.length === 0 ? "No run has ended since the start." : "No run matches. " + (skips > 0 ? "The policy skipped " + skips + "." : ""),
    ({ at, run }) => run + " " + at,
    (work) => ({
      title: nameOf(work), run: work.run, ...endOf(work), detail: taskOf(work) + (work.rounds > 0 ? " · " + progressOf(work) : ""),
      side: "{age} ago", sideAt: work.at, sideMore: "took " + short(work.durationMillis)
    }), String(listed.length))
  const more = byId("ended-more")
  more.hidden = listed.length <= SHOWN
  write(more, filters.isAll ? "Show the latest " + SHOWN : "Show all " + listed.length)
}

const onFilter = (id, event, change) => byId(id).addEventListener(event, ({ target }) => {
  change(target)
  if (state !== null) showEnded()
})
onFilter("filter-agent", "change", ({ value }) => { filters.agent = value })
onFilter("filter-result", "change", ({ value }) => { filters.result = value })
onFilter("filter-skips", "change", ({ checked }) => { filters.hasSkipped = checked })
onFilter("ended-more", "click", () => { filters.isAll = !filters.isAll })

const stale = (name, { error, list }) => {
  byId(name + "-stale").hidden = error === null || list.length === 0
  write(byId(name + "-stale"), "The list may be old, it cannot be read now: " + error)
}

const showQueue = () => {
  if (queue === null || state === null) return
  const { error, isCut } = queue
  const { ended, running } = state.activity
  // The list is read every 15 s: runs that have started or ended since then no longer wait.
  const gone = new Set([...running, ...ended.filter(({ at }) => at >= queueAt)].map(({ run }) => run))
  const list = queue.list.filter(({ id }) => !gone.has(id))
  const depth = (isCut ? "at least " : "") + list.length
  write(byId("n-waiting"), list.length === 0 && !isCut ? "None" : capital(depth))
  const since = list.filter(({ reason }) => reason === null || reason === "session").map((run) => run.since)
  const oldest = since.length > 0 ? Math.min(...since) : state.oldestWaitingSince
  grow(byId("n-waiting-more"), list.length === 0 ? "nothing is waiting" : oldest === null || since.length === 0 ? "held, or due later" : "the oldest for {age}", since.length === 0 ? null : oldest)
  stale("queue", queue)
  const holder = state.isPaused ? "the account is paused" : state.isClaiming ? "ready, waits for a free permit" : "nothing is claimed for the reasons above"
  section("queue", list, error ? "The list cannot be read now: " + error : "None.",
    ({ id }) => id,
    (run) => ({
      title: agentName(run.agent), run: run.id, tag: run.reason === null ? "" : run.reason,
      tagLevel: run.reason === "budget" || run.reason === "paused" ? "warn" : "idle",
      detail: words(run.type || "heartbeat") + (run.task ? ": " + run.task : "") + " · " + (run.wait || holder),
      side: run.until !== null ? "next try {until}" : run.reason === "budget" ? "until it is raised" : run.reason === "paused" ? "until resumed" : "for {age}",
      sideAt: run.until !== null ? run.until : run.reason === "budget" || run.reason === "paused" ? null : run.since,
      sideMore: run.attempts > 0 ? plural(run.attempts, "attempt", "attempts") : ""
    }), depth)
}

const eventsOf = ({ events }) => {
  const first = events.slice(0, 3).map(({ by, type }) => words(type) + " by " + by).join(", ")
  return first + (events.length > 3 ? " and " + (events.length - 3) + " more" : "")
}

const showLetters = () => {
  if (letters === null) return
  byId("letters-hint").hidden = letters.list.length === 0
  stale("letters", letters)
  section("letters", letters.list,
    letters.error ? "The list cannot be read now: " + letters.error : "None: no notification waits for a decision.",
    ({ id }) => id,
    (letter) => ({
      title: agentName(letter.agent), run: letter.id, tag: words(letter.type),
      detail: (letter.task ? letter.task + ". " : "") + capital(eventsOf(letter)) + ". " + (letter.error || "No error was stored."),
      command: COMMAND + "dead-letters retry " + letter.id,
      side: "{age} ago", sideAt: letter.diedAt, sideMore: plural(letter.attempts, "attempt", "attempts")
    }))
}

const levelOfBudget = ({ percent }) => percent >= 90 ? "bad" : percent >= 80 ? "warn" : "good"

const showUsage = () => {
  if (usage === null) return
  const isKnown = usage.account !== null
  byId("budgets-stale").hidden = usage.error === null || !isKnown
  write(byId("budgets-stale"), "The figures may be old, they cannot be read now: " + usage.error)
  write(byId("spent"), isKnown ? whole(usage.total.weightedTokens) + " price-weighted tokens today" +
    (usage.total.cost === "-" || usage.total.attempts === 0 ? "" : ", " + usage.total.cost) + ", in " + plural(usage.total.attempts, "attempt", "attempts") + "." : "")
  section("budgets", isKnown ? usage.budgets : [], usage.error ? "The figures cannot be read now: " + usage.error : "There is no budget.",
    ({ of, period }) => of + " " + period,
    (budget) => ({
      title: "Of the " + budget.of, tag: budget.period, detail: budget.used + (budget.waits === "" ? "" : ": " + budget.waits),
      budget: { percent: budget.percent, level: levelOfBudget(budget) },
      side: budget.share, sideMore: budget.ends === "never" ? "" : "until " + new Date(budget.ends).toLocaleString([], { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" })
    }))
  show()
}
`
