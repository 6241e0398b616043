/** The status page's style: one column on a phone, two on a desk, dark or light as the reader's system is. */
export const pageStyle = `
:root {
  color-scheme: light dark;
  --ground: #f4f6f8; --card: #ffffff; --line: #d5dbe2; --text: #16202c; --soft: #4f5b69; --accent: #1f5fbf;
  --good: #146c36; --warn: #855000; --bad: #b3261e; --tint: #eef2f7; --tool: #7a3fa8; --edge: #7b8794;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0e1319; --card: #171e27; --line: #2c3642; --text: #e8edf3; --soft: #a3b0bf; --accent: #8ab6ff;
    --good: #63d391; --warn: #f2b95f; --bad: #ff8f86; --tint: #212a35; --tool: #cf9bf5; --edge: #75808d;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.25rem; display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; }
h1 { font-size: 1.25rem; margin: 0; letter-spacing: -.01em; }
h2 { font-size: .95rem; margin: 0 0 .6rem; }
h2 .count { color: var(--soft); font-weight: 500; margin-left: .35rem; }
.who { color: var(--soft); flex-basis: 100%; margin: 0; }
.pill { border: 1.5px solid currentColor; border-radius: 99px; padding: .1rem .7rem; font-weight: 650; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); } .idle { color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .7rem; padding: .9rem 1rem; min-width: 0; }
.grid { display: grid; gap: .8rem; margin: .8rem 0; }
.notice { border-left: .3rem solid var(--bad); }
.notice:empty, [hidden] { display: none !important; }
.reasons { border-left: .3rem solid var(--warn); margin: .8rem 0; } .reasons.bad { border-left-color: var(--bad); color: inherit; }
.reasons ul { margin: 0; padding-left: 1.1rem; }
.reasons .help { display: block; color: var(--soft); }
.hint { color: var(--soft); margin: .6rem 0 0; font-size: .9rem; }
code { font: .92em ui-monospace, "SF Mono", Menlo, Consolas, monospace; background: var(--tint); border-radius: .3rem; padding: 0 .25rem; }
.lights { grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); list-style: none; padding: 0; }
.lights .name { color: var(--soft); font-size: .85rem; display: block; }
.lights .state { font-weight: 650; }
.lights .more { color: var(--soft); font-size: .85rem; display: block; }
.glyph { display: inline-block; width: 1.1em; }
.numbers { grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); }
.numbers dt { color: var(--soft); font-size: .85rem; }
.numbers dd { margin: 0; font-size: 1.55rem; font-weight: 650; line-height: 1.2; }
.numbers .more { color: var(--soft); font-size: .8rem; font-weight: 400; display: block; line-height: 1.3; }
.two { grid-template-columns: minmax(0, 1fr); align-items: start; }
@media (max-width: 30rem) {
  .lights, .numbers { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .card { padding: .7rem .8rem; }
}
@media (forced-colors: active) {
  :root {
    --ground: Canvas; --card: Canvas; --line: CanvasText; --text: CanvasText; --soft: CanvasText; --accent: LinkText;
    --good: CanvasText; --warn: CanvasText; --bad: CanvasText; --tint: Canvas; --tool: CanvasText; --edge: ButtonBorder;
  }
  .share { outline: 1px solid CanvasText; }
}
@media (min-width: 56rem) { .two { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
.column { display: grid; gap: .8rem; min-width: 0; align-content: start; }
.plot { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 0 .5rem; }
.plot svg { display: block; width: 100%; height: 5rem; }
.bar, .bar.good { fill: var(--accent); } .bar.bad { fill: var(--bad); } .bar.warn { fill: var(--warn); }
.bar.tool { fill: var(--tool); } .bar.own { fill: var(--soft); }
.base { stroke: var(--line); vector-effect: non-scaling-stroke; }
.curve { fill: none; stroke: var(--accent); stroke-width: 1.5; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
.dot { fill: var(--accent); }
.curve.p95 { stroke: var(--tool); stroke-dasharray: 4 3; } .dot.p95 { fill: var(--tool); }
.axis-x, .axis-y { display: flex; justify-content: space-between; color: var(--soft); font-size: .8rem; margin: 0; }
.axis-x { grid-column: 2; }
.axis-y { flex-direction: column; text-align: right; line-height: 1; }
.legend { color: var(--soft); font-size: .85rem; margin: .3rem 0 0; }
.key { display: inline-block; width: 1.6rem; border-top: 2px solid var(--accent); vertical-align: middle; margin-left: .4rem; }
.key.p95 { border-top: 2px dashed var(--tool); }
table { border-collapse: collapse; width: 100%; margin-top: .5rem; }
th, td { text-align: right; padding: .15rem 0 .15rem .6rem; font-weight: 400; }
td, thead th { white-space: nowrap; }
thead th:first-child { white-space: normal; }
th:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-size: .85rem; }
.rows { list-style: none; margin: 0; padding: 0; }
.rows > li { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 0 .8rem; padding: .5rem 0; border-top: 1px solid var(--line); }
.rows > li:first-child { border-top: 0; padding-top: 0; }
.rows > li:last-child { padding-bottom: 0; }
.rows .title { font-weight: 600; }
.rows .tag { display: inline-block; overflow-wrap: normal; font-weight: 500; font-size: .85rem; background: var(--tint); border-radius: .35rem; padding: 0 .4rem; margin-left: .4rem; }
.rows .detail { color: var(--soft); grid-column: 1; }
.rows .side { text-align: right; white-space: nowrap; }
.rows .side-more { color: var(--soft); text-align: right; white-space: nowrap; grid-column: 2; }
.quote { color: var(--soft); font-style: italic; }
.rows .command, .rows .share, .rows .quote { grid-column: 1 / -1; margin-top: .3rem; }
@media (max-width: 30rem) {
  th, td { padding-left: .35rem; }
  .rows > li { display: flex; flex-wrap: wrap; justify-content: space-between; }
  .rows .detail, .rows .side-more, .rows .command, .rows .share, .rows .quote { flex-basis: 100%; text-align: left; white-space: normal; }
}
.command, .facts code { user-select: all; }
.share { display: block; width: 100%; height: .5rem; background: var(--tint); border-radius: .25rem; }
.empty { color: var(--soft); margin: 0; }
.filters { display: flex; flex-wrap: wrap; gap: .4rem .9rem; margin-bottom: .7rem; color: var(--soft); align-items: center; }
select, button { font: inherit; color: var(--text); background: var(--tint); border: 1px solid var(--edge); border-radius: .4rem; padding: .2rem .5rem; min-height: 1.75rem; }
button { cursor: pointer; } .rows + button { margin-top: .6rem; }
input[type="checkbox"] { width: 1.1rem; height: 1.1rem; vertical-align: -.15rem; accent-color: var(--accent); }
.back { margin: .8rem 0 0; }
#run-title { font-size: 1.15rem; margin: .6rem 0; outline: none; }
h3 { font-size: .95rem; margin: 0 0 .4rem; }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1rem; margin: 0; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; }
.attempts, .happened, .bars { list-style: none; margin: 0; padding: 0; }
.attempts > li + li { margin-top: 1rem; padding-top: 1rem; border-top: 1px solid var(--line); }
.attempts .hint { margin: 0 0 .4rem; }
.now { margin: .8rem 0 0; }
.cause { color: var(--bad); margin: 0 0 .4rem; }
.bars { margin-top: .5rem; }
.bars > li { display: grid; grid-template-columns: 11rem minmax(0, 1fr) 15rem; gap: 0 .8rem; align-items: center; padding: .15rem 0; position: relative; }
.bars .share { height: .8rem; }
.bar-text { color: var(--soft); font-size: .9rem; } .bar-text.bad { color: var(--bad); }
.bars-axis { display: flex; justify-content: space-between; color: var(--soft); font-size: .8rem; margin: .1rem 15.8rem 0 11.8rem; }
.happened .at { color: var(--soft); margin-right: .3rem; }
pre { white-space: pre-wrap; background: var(--tint); border-radius: .4rem; padding: .8rem; margin: 0; max-height: 40rem; overflow: auto; font: .85rem/1.45 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
@media (max-width: 46rem) {
  .bars > li { grid-template-columns: auto minmax(0, 1fr); }
  .bar-text { text-align: right; }
  .bars .share { grid-column: 1 / -1; grid-row: 2; }
  .bars-axis { margin-left: 0; margin-right: 0; }
  .facts { grid-template-columns: minmax(0, 1fr); gap: 0; } .facts dd { margin-bottom: .5rem; }
}
footer { color: var(--soft); padding: .4rem 1rem 2rem; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; }
a { color: var(--accent); } .rows a.title { text-decoration-thickness: 1px; text-underline-offset: .15em; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
.quiet { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.lost .bar, .lost .dot { fill: var(--soft); } .lost .curve { stroke: var(--soft); }
`
