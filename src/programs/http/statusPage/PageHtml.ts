import { createHash } from "node:crypto"
import { pageScript } from "./PageScript.ts"
import { pageStyle } from "./PageStyle.ts"

const lettersHint = `<p class="hint" id="letters-stale" hidden></p>
<p class="hint" id="letters-hint" hidden>After the cause is fixed: <code>mission-control-runtime dead-letters retry ID</code>, or <code>discard ID</code>.</p>`

const usageHint = `<p class="hint" id="usage-stale" hidden></p>
<p class="hint">Price-weighted tokens: uncached input 1, cache read 0.1, cache write 1.25, output 5. By task, day or model: <code>mission-control-runtime usage --by task</code>.</p>`

const list = (name: string, title: string, hint = "") => `
<section class="card" aria-labelledby="${name}-title">
<h2 id="${name}-title">${title} <span class="count" id="${name}-count"></span></h2>
<p class="empty" id="${name}-empty">Not known yet.</p>
<ul class="rows" id="${name}" hidden></ul>
${hint}</section>`

const number = (name: string, title: string, more = "") =>
  `<div class="card"><dt>${title}</dt><dd><span id="n-${name}">&ndash;</span> <span class="more" id="n-${name}-more">${more}</span></dd></div>`

const chart = (name: string, title: string) => `
<section class="card" aria-labelledby="${name}-title">
<h2 id="${name}-title">${title} <span class="count" id="${name}-text"></span></h2>
<svg id="${name}" role="img" aria-label="No data yet" viewBox="0 0 160 40" preserveAspectRatio="none"></svg>
<p class="axis" aria-hidden="true"><span class="axis-from">20 min ago</span><span>now</span></p>
</section>`

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
<h1>Mission Control runtime</h1>
<span class="pill idle" id="status">connecting</span>
<p class="who" id="who">Waiting for the first event.</p>
</header>
<main>
<p class="quiet" id="spoken" role="status"></p>
<noscript><p class="card notice">This page shows live events and needs JavaScript. The same as JSON: <a href="health">/health</a>.</p></noscript>
<div class="grid">
<p class="card notice" id="notice" role="alert" hidden></p>
<section class="card reasons" id="reasons-card" aria-labelledby="reasons-title" hidden>
<h2 id="reasons-title">What is wrong</h2>
<ul id="reasons"></ul>
</section>
</div>
<h2 class="quiet">State</h2>
<ul class="grid lights" id="lights" aria-label="State of the components"></ul>
<h2 class="quiet">Numbers since the start</h2>
<dl class="grid numbers">
${number("running", "Running", "turns at once")}
${number("waiting", "Waiting")}
${number("done", "Done", "since the start")}
${number("retry", "Retries", "failed and retried")}
${number("silent", "Unanswered", "no answer where one was owed")}
${number("dead", "Dead", "given up since the start")}
</dl>
<div class="grid two">
${chart("rate", "Deliveries")}
${chart("latency", "Duration")}
</div>
<div class="grid two">
<div class="column">
${list("running", "Running now")}
${list("agents", "Agents")}
${list("usage", "Spent in 7 days", usageHint)}
${list("budgets", "Budgets")}
${list("held", "Held by a budget")}
</div>
<div class="column">
${list("letters", "Dead letters", lettersHint)}
${list("errors", "Recent errors")}
${list("ended", "Ended recently")}
</div>
</div>
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
