import { createHash } from "node:crypto"
import { pageScript } from "./PageScript.ts"
import { pageStyle } from "./PageStyle.ts"

const stale = (name: string) => `<p class="hint" id="${name}-stale" hidden></p>`

const list = (name: string, title: string, hint = "", above = "") => `
<section class="card" id="${name}-card" aria-labelledby="${name}-title">
<h2 id="${name}-title">${title} <span class="count" id="${name}-count"></span></h2>
${above}<p class="empty" id="${name}-empty">Not known yet.</p>
<ul class="rows" id="${name}" hidden></ul>
${hint}</section>`

const number = (name: string, title: string, more = "") =>
  `<div class="card"><dt>${title}</dt><dd><span id="n-${name}">&ndash;</span> <span class="more" id="n-${name}-more">${more}</span></dd></div>`

const chart = (name: string, title: string, more = "") => `
<section class="card" aria-labelledby="${name}-title">
<h2 id="${name}-title">${title} <span class="count" id="${name}-text"></span></h2>
<div class="plot">
<p class="axis-y" aria-hidden="true"><span id="${name}-top"></span><span id="${name}-middle"></span><span>0</span></p>
<svg id="${name}" role="img" aria-label="No data yet" viewBox="0 0 160 40" preserveAspectRatio="none"></svg>
<p class="axis-x" aria-hidden="true"><span>20 min ago</span><span>10 min ago</span><span>now</span></p>
</div>
${more}</section>`

const latency = (name: string, title: string) =>
  `<tr><th scope="row">${title}</th><td id="p50-${name}">&ndash;</td><td id="p95-${name}">&ndash;</td><td id="count-${name}">&ndash;</td></tr>`

const latencies = `<p class="legend" aria-hidden="true"><span class="key p50"></span>p50 <span class="key p95"></span>p95</p>
<table>
<caption class="quiet">Durations since the start</caption>
<thead><tr><th scope="col">Since the start</th><th scope="col">p50</th><th scope="col">p95</th><th scope="col">count</th></tr></thead>
<tbody>
${latency("start", "Ready to first request")}
${latency("turn", "Turn")}
${latency("delivery", "Delivery")}
${latency("heartbeat", "Heartbeat, late by")}
</tbody>
</table>
`

const filters = `<div class="filters">
<label>Agent <select id="filter-agent"><option value="">All agents</option></select></label>
<label>Result <select id="filter-result"><option value="">All results</option><option value="succeeded">Succeeded</option><option value="failed">Failed</option><option value="unanswered">Unanswered</option></select></label>
<label><input type="checkbox" id="filter-skips"> <span id="skips-text">Show skipped</span></label>
</div>
`

const texts = `<div class="filters" id="texts-choice" hidden>
<label><input type="checkbox" id="texts"> Show the text that agents are writing</label>
</div>
`

const lettersHint = `${stale("letters")}
<p class="hint" id="letters-hint" hidden>Retry when the cause is fixed. To give one up: <code>dead-letters discard ID</code>.</p>`

const budgetsHint = `${stale("budgets")}
<p class="hint">Price-weighted tokens: uncached input 1, cache read 0.1, cache write 1.25, output 5. More: <code>mission-control-runtime usage --days 7</code>.</p>`

const overview = `<div id="overview">
<section class="card reasons" id="reasons-card" aria-labelledby="reasons-title" hidden>
<h2 id="reasons-title">What needs attention</h2>
<ul id="reasons"></ul>
</section>
<h2 class="quiet">State</h2>
<ul class="grid lights" id="lights" aria-label="State of the components"></ul>
<h2 class="quiet">Numbers since the start</h2>
<dl class="grid numbers">
${number("running", "Running", "turns at once")}
${number("waiting", "Waiting")}
${number("done", "Done", "since the start")}
${number("retry", "Retries", "failed and retried")}
${number("silent", "Unanswered", "an answer was owed")}
${number("dead", "Dead", "since the start")}
</dl>
<div class="grid two">
<div class="column">
${list("running", "Running now", stale("running"), texts)}
${list("letters", "Dead letters", lettersHint)}
${list("errors", "Recent errors")}
${list("queue", "Waiting", stale("queue"))}
${chart("latency", "Durations", latencies)}
</div>
<div class="column">
${list("agents", "Agents")}
${list("ended", "Recent runs", '<button type="button" id="ended-more" hidden></button>', filters)}
${list("budgets", "Budgets", budgetsHint, '<p id="spent"></p>\n')}
${chart("rate", "Deliveries")}
</div>
</div>
</div>`

const runView = `<div id="run-view" hidden>
<p class="back"><a href="#">Back to the overview</a></p>
<h2 id="run-title" tabindex="-1"></h2>
<p class="card notice" id="run-error" hidden></p>
<div class="grid">
<section class="card" aria-labelledby="run-facts-title">
<h3 id="run-facts-title">Facts</h3>
<dl class="facts" id="run-facts"></dl>
</section>
<section class="card" aria-labelledby="run-attempts-title">
<h3 class="quiet" id="run-attempts-title">Attempts</h3>
<p class="empty" id="run-attempts-empty" hidden>No attempt is stored.</p>
<ol class="attempts" id="run-attempts"></ol>
<p class="now" id="run-now" hidden></p>
<q class="quote" id="run-quote" hidden></q>
</section>
<div class="grid two">
<section class="card" aria-labelledby="run-events-title">
<h3 id="run-events-title">Why it exists</h3>
<ul class="happened" id="run-events"></ul>
</section>
<section class="card" aria-labelledby="run-effects-title">
<h3 id="run-effects-title">What its tools changed</h3>
<p class="empty" id="run-effects-empty" hidden>Nothing.</p>
<ul class="happened" id="run-effects"></ul>
</section>
</div>
<section class="card" id="prompt-card" aria-labelledby="prompt-title" hidden>
<h3 id="prompt-title">Prompt</h3>
<p class="hint">What an attempt would send now, with the texts of the thread.</p>
<p><button type="button" id="prompt-show">Show the prompt</button></p>
<p class="hint" id="prompt-hint" role="status"></p>
<pre id="prompt-text" tabindex="0" role="region" aria-label="Text of the prompt" hidden></pre>
</section>
</div>
</div>`

/** The whole status page. It does not depend on the process, so that its hashes are constant. */
export const pageHtml = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Mission Control runtime</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='6' fill='%231f5fbf'/%3E%3C/svg%3E">
<style>${pageStyle}</style>
</head>
<body>
<header>
<h1 id="account">Mission Control</h1>
<span class="pill idle" id="status">connecting</span>
<p class="who" id="who">Waiting for the first event.</p>
</header>
<main>
<p class="quiet" id="spoken" role="status"></p>
<noscript><p class="card notice">This page shows live events and needs JavaScript. The same as JSON: <a href="health">/health</a>.</p></noscript>
<p class="card notice" id="notice" role="alert" hidden></p>
${overview}
${runView}
</main>
<footer>
<a href="health">Health as JSON</a>
<a href="metrics">Metrics for Prometheus</a>
<a href="readyz">Readiness</a>
<a href="openapi.json">The agents' tools as OpenAPI</a>
</footer>
<script>${pageScript}</script>
</body>
</html>
`

const hashOf = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

/** Allows only this page's script and style by their hashes, and its events. */
export const pagePolicy = [
  "default-src 'none'",
  `script-src ${hashOf(pageScript)}`,
  `style-src ${hashOf(pageStyle)}`,
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'"
].join("; ")
