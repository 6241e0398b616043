/** The page's events, and what it shows while none arrive. */
export const connection = String.raw`
const SILENCE_MILLIS = 20000
const RETRY_MILLIS = 3000
let skew = 0
let lastEventAt = 0

/** If the runtime does not answer, the page shows its last known state without colours and with stopped clocks. */
const notice = (text) => {
  byId("notice").hidden = text === ""
  write(byId("notice"), text)
  if (isLost === (text !== "")) return
  isLost = text !== ""
  document.body.classList.toggle("lost", isLost)
  show()
}

let source = null
let retry = null
const connect = () => {
  clearTimeout(retry)
  if (source !== null) source.close()
  // The texts that the models are writing are sent only if a person asks for them.
  source = new EventSource("status/events" + (byId("texts").checked ? "?texts=true" : ""))
  const on = (name, change) => source.addEventListener(name, (event) => {
    lastEventAt = Date.now()
    notice("")
    change(JSON.parse(event.data))
  })
  on("state", (body) => {
    state = body
    skew = state.now - Date.now()
    show()
  })
  on("live", (body) => {
    live = body
    if (state === null) return
    showRunning()
    showNow()
  })
  on("queue", (body) => {
    queue = body
    queueAt = now()
    showQueue()
  })
  on("letters", (body) => {
    letters = body
    showLetters()
  })
  on("usage", (body) => {
    usage = body
    showUsage()
  })
  source.addEventListener("error", () => {
    notice(lastEventAt === 0
      ? "The runtime gives no events. It may have ended, too many pages may show it already, or this address may not be allowed to (AGENT_HTTP_ALLOW). Trying again."
      : "The connection to the runtime is lost: this is its state of " + clock(lastEventAt + skew) + ". It may be restarting. Trying again.")
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(connect, RETRY_MILLIS)
  })
}

byId("texts").addEventListener("change", connect)
setInterval(() => {
  if (!isLost) for (const node of aging.keys()) showAge(node)
  if (lastEventAt !== 0 && Date.now() - lastEventAt > SILENCE_MILLIS) {
    notice("The runtime has been silent since " + clock(lastEventAt + skew) + ": this is its last known state.")
  }
}, 1000)
openRun()
connect()
`
