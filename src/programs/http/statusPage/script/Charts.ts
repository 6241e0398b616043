/** The charts of the last twenty minutes, with axes, and the quantiles since the start. */
export const charts = String.raw`
const HEIGHT = 40
const STEP = 4

/** The labels of an axis from 0 to a rounded maximum. */
const showAxis = (name, most, label) => {
  write(byId(name + "-top"), label(most))
  write(byId(name + "-middle"), label(most / 2))
}
const grid = (width) => [0.5, HEIGHT / 2, HEIGHT - 0.5].map((y) => svg("line", { class: "base", x1: 0, x2: width, y1: y, y2: y }))

const showRate = (spans, spanMillis) => {
  const highest = Math.max(...spans.map(({ ended }) => ended))
  const most = Math.max(2, highest + (highest % 2))
  const marks = grid(spans.length * STEP)
  spans.forEach(({ ended, failed }, index) => {
    const height = (count) => (count / most) * HEIGHT
    const bar = (name, count) => count > 0 && marks.push(svg("rect",
      { class: name, x: index * STEP, y: HEIGHT - height(count), width: STEP - 1, height: height(count) }))
    bar("bar", ended)
    bar("bar bad", failed)
  })
  byId("rate").replaceChildren(...marks)
  showAxis("rate", most, (count) => String(count))
  const total = spans.reduce((sum, { ended }) => sum + ended, 0)
  const failed = spans.reduce((sum, { failed }) => sum + failed, 0)
  const minutes = Math.round((spans.length * spanMillis) / 60000)
  const text = plural(total, "delivery", "deliveries") + " in " + minutes + " min, " + failed + " failed"
  write(byId("rate-text"), text)
  byId("rate").setAttribute("aria-label", text + "; at most " + highest + " in " + spanMillis / 1000 + " s")
}

/** The next of 1, 2, 5, 10, ... milliseconds, then of whole seconds and minutes. */
const STEPS = [10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5]
const rounded = (millis) => STEPS.find((step) => step >= millis) || millis

const showLatency = (spans, latencies) => {
  const points = spans.flatMap(({ p50Millis, p95Millis }, index) => p50Millis === null ? [] : [[index, p50Millis, p95Millis]])
  const most = rounded(Math.max(10, ...points.map(([, , p95]) => p95)))
  const x = (index) => index * STEP + STEP / 2
  const y = (millis) => HEIGHT - (millis / most) * HEIGHT
  const marks = grid(spans.length * STEP)
  for (const [name, column] of [["p95", 2], ["p50", 1]]) {
    if (points.length > 1) marks.push(svg("polyline", { class: "curve " + name, points: points.map((point) => x(point[0]) + "," + y(point[column])).join(" ") }))
    for (const point of points) marks.push(svg("rect", { class: "dot " + name, x: x(point[0]) - 1, y: Math.min(HEIGHT - 3, Math.max(0, y(point[column]) - 1.5)), width: 2, height: 3 }))
  }
  byId("latency").replaceChildren(...marks)
  showAxis("latency", most, short)
  const last = points.at(-1)
  const text = last === undefined ? "nothing ended in 20 min" : "lately p50 " + short(last[1]) + ", p95 " + short(last[2])
  write(byId("latency-text"), text)
  byId("latency").setAttribute("aria-label", "Duration of deliveries: " + text)
  for (const [name, { count, p50, p95 }] of Object.entries(latencies)) {
    write(byId("p50-" + name), p50 === null ? "–" : short(p50 * 1000))
    write(byId("p95-" + name), p95 === null ? "–" : short(p95 * 1000))
    write(byId("count-" + name), whole(count))
  }
}
`
