/** Texts, ages and lists in the page's document. Writes text only, never markup, and keeps the nodes of what stays. */
export const nodes = String.raw`"use strict"
const byId = (id) => document.getElementById(id)
const make = (tag, className, text) => {
  const node = document.createElement(tag)
  if (className) node.className = className
  if (text) node.textContent = text
  return node
}
const write = (node, text) => {
  if (node.textContent !== text) node.textContent = text
}
const span = (millis) => {
  const seconds = Math.max(0, Math.round(millis / 1000))
  if (seconds < 60) return seconds + " s"
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return minutes + " min" + (minutes < 10 && seconds % 60 > 0 ? " " + (seconds % 60) + " s" : "")
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? hours + " h " + (minutes % 60) + " min" : Math.floor(hours / 24) + " days"
}
const short = (millis) => millis < 995 ? Math.round(millis) + " ms" : (millis < 9950 ? (millis / 1000).toFixed(1) + " s" : span(millis))
const whole = (count) => Math.round(count).toLocaleString("en-US")
const now = () => Date.now() + skew
const plural = (count, one, many) => whole(count) + " " + (count === 1 ? one : many)
const words = (text) => text.replaceAll("_", " ")
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1)
const clock = (millis) => new Date(millis - skew).toLocaleTimeString()

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

const part = (node, name, tag) => {
  const found = node.querySelector("." + name)
  if (found) return found
  const fresh = make(tag || "span", name)
  node.append(fresh)
  return fresh
}

const svg = (tag, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag)
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value))
  return node
}

/** A bar for a share of 0 to 1 from a start; decoration, because the text next to it says the same. */
const drawBar = (node, className, from, length) => {
  const width = Math.max(0.004, Math.min(1, length))
  const x = Math.min(Math.max(0, from), 1 - width)
  node.replaceChildren(svg("rect", { class: className, x: x * 1000, width: width * 1000, y: 0, height: 10, rx: 2 }))
}
const barNode = () => svg("svg", { class: "share", viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true" })

/** A row: a title (a link with run) and a tag, a detail below, and on the right a fact with one below. */
const row = (node, { budget, command, detail, quote, run, side, sideAt, sideMore, sideMoreAt, tag, tagLevel, title }) => {
  const head = part(node, "head")
  const titleNode = part(head, "title", run ? "a" : "span")
  if (run) titleNode.setAttribute("href", "#run=" + encodeURIComponent(run))
  write(titleNode, title)
  const tagNode = part(head, "tag")
  tagNode.hidden = !tag
  tagNode.className = "tag " + (tagLevel || "idle")
  write(tagNode, tag || "")
  grow(part(node, "side"), side || "", sideAt)
  write(part(node, "detail"), detail || "")
  grow(part(node, "side-more"), sideMore || "", sideMoreAt)
  if (command) write(part(node, "command", "code"), command)
  if (quote !== undefined) {
    const quoteNode = part(node, "quote", "q")
    quoteNode.hidden = quote === ""
    write(quoteNode, quote)
  }
  const old = node.querySelector(".share")
  if (!budget) return old && old.remove()
  const bar = old || barNode()
  if (!old) node.append(bar)
  drawBar(bar, "bar " + budget.level, 0, budget.percent / 100)
}

const section = (name, items, empty, keyOf, toRow, count) => {
  write(byId(name + "-count"), items.length > 0 ? count || String(items.length) : "")
  const emptyNode = byId(name + "-empty")
  emptyNode.hidden = items.length > 0
  write(emptyNode, empty)
  const list = byId(name)
  list.hidden = items.length === 0
  keep(list, items, keyOf, (node, item) => row(node, toRow(item)))
}
`
