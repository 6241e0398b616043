import { request } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import axe from "axe-core"
import { Effect } from "effect"
import { chromium } from "playwright-core"
import type { BrowserContextOptions, Page } from "playwright-core"
import { debianProgram } from "./debianProgram.ts"
import { eventually, makeSetup } from "./setup.ts"

const missing = await debianProgram("chromium", "chromium")
if (missing !== null) process.stderr.write(`skipped: ${missing}\n`)

/** One headless browser; its pages record their errors and requests. */
const makeBrowser = Effect.gen(function* () {
  const browser = yield* Effect.acquireRelease(
    Effect.promise(() =>
      chromium.launch({
        executablePath: "/usr/bin/chromium",
        args: [
          "--no-sandbox",
          "--disable-gpu",
          "--disable-background-networking",
          "--disable-component-update",
          "--disable-sync"
        ]
      })
    ),
    (browser) => Effect.promise(() => browser.close())
  )
  return (url: string, options: BrowserContextOptions = {}) =>
    Effect.promise(async () => {
      const page = await (await browser.newContext(options)).newPage()
      const complaints: Array<string> = []
      const asked: Array<string> = []
      page.on("pageerror", (error) => complaints.push(error.message))
      page.on("console", (message) => {
        // The browser also reports a broken connection, which the page itself shows.
        if (message.type() === "error" && !message.text().startsWith("Failed to load")) complaints.push(message.text())
      })
      page.on("request", (sent) => asked.push(sent.url()))
      await page.goto(url)
      await page.locator("#status").filter({ hasNotText: "connecting" }).waitFor()
      return { page, complaints, asked }
    })
})

const textOf = (page: Page, id: string) => Effect.promise(() => page.locator(`#${id}`).innerText())

/** Waits until the element has this text. */
const shows = (page: Page, id: string, words: string, timeout = 30_000) =>
  Effect.promise(() => page.locator(`#${id}`).filter({ hasText: words }).waitFor({ state: "attached", timeout }))

/** Violations of WCAG 2.2 A and AA and of axe-core's best practices. */
const violations = (page: Page) =>
  Effect.promise(async () => {
    await page.evaluate(axe.source)
    // The rule of WCAG 2.2 is off by default.
    const found = (await page.evaluate(`axe.run(document, { rules: { "target-size": { enabled: true } } })`)) as {
      violations: ReadonlyArray<any>
    }
    return found.violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html }: { html: string }) => html).join(" ")}`
    )
  })

/** By how many pixels the page or the contents of a card are too wide. */
const overflow = (page: Page) =>
  Effect.promise(() =>
    page.evaluate(
      `Math.max(...[document.documentElement, ...document.querySelectorAll(".card")].map((node) => node.scrollWidth - node.clientWidth))`
    )
  )

/** The narrowest width of WCAG's reflow, which a page of 1,280 pixels also has at 400 % zoom. */
const phone = { viewport: { width: 320, height: 740 }, isMobile: true, deviceScaleFactor: 2 }

/** Counts the changes of live regions, which a screen reader announces. */
const countAnnouncements = (page: Page) =>
  Effect.promise(() =>
    page.evaluate(`{
      window.announced = 0
      for (const node of document.querySelectorAll("[role=status], [role=alert], [aria-live]"))
        new MutationObserver(() => announced++).observe(node, { childList: true, characterData: true, subtree: true })
    }`)
  )
const announcements = (page: Page) => Effect.promise(() => page.evaluate("announced"))

// One at a time, because the page must show changes within a second.
describe.skipIf(missing !== null)("the status page", () => {
  it.live("shows an idle runtime, then each run within a second, and its outcome", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({
        rules: [
          { match: "never mind", actions: [{ hang: true }] },
          { match: "keep quiet", repeat: true, actions: [{ text: "No response from agent." }] },
          { match: "mentioned you", repeat: true, actions: [{ text: "Here I am." }] }
        ]
      })
      const runtime = yield* setup.startRuntime({ DELIVERY_MAX_ATTEMPTS: "1", DRAIN_TIMEOUT_MS: "1000" })
      const open = yield* makeBrowser
      const light = yield* open(runtime.url, { viewport: { width: 1200, height: 900 }, colorScheme: "light" })
      const { page } = light
      assert.strictEqual(yield* textOf(page, "status"), "● online")
      assert.include(yield* textOf(page, "running-empty"), "No turn is running.")
      assert.include(yield* textOf(page, "ended-empty"), "No run has ended")
      yield* shows(page, "letters-empty", "None: no notification waits")
      yield* shows(page, "agents", "Engineer")
      yield* shows(page, "agents", "no heartbeat yet")
      yield* shows(page, "account", "Acme")
      yield* shows(page, "n-waiting", "None")
      yield* shows(page, "queue-empty", "None.")
      yield* shows(page, "budgets", "Of the account")
      for (const id of ["n-done", "n-silent", "n-dead"]) assert.strictEqual(yield* textOf(page, id), "0")
      assert.match(yield* Effect.promise(() => page.title()), /^online · Acme$/)
      assert.deepStrictEqual(yield* violations(page), [])

      const tree = yield* Effect.promise(() => page.locator("body").ariaSnapshot())
      for (const line of [
        "- banner:",
        '- heading "Acme" [level=1]',
        "- main:",
        '- list "State of the components"',
        ...[
          "State",
          "Numbers since the start",
          "Running now",
          "Dead letters",
          "Recent errors",
          "Waiting",
          "Agents"
        ].map((title) => `- heading "${title}`),
        '- region "Recent runs',
        '- combobox "Agent"',
        '- combobox "Result"',
        '- checkbox "Show skipped"',
        'img "Duration of deliveries: nothing ended in 20 min"',
        '- table "Durations since the start"',
        '- columnheader "p95"',
        '- rowheader "Ready to first request"',
        "- contentinfo:"
      ])
        assert.include(tree, line)

      // By keyboard, each control and link gets the focus in turn, visibly.
      yield* Effect.promise(() => page.evaluate("getSelection().setPosition(document.body, 0)"))
      const inOrder = (yield* Effect.promise(() =>
        page.evaluate(
          `[...document.querySelectorAll("a, button, select, input")].filter((node) => node.checkVisibility()).map((node) => node.id || node.getAttribute("href"))`
        )
      )) as ReadonlyArray<string>
      assert.includeMembers([...inOrder], ["filter-agent", "filter-result", "filter-skips", "health", "openapi.json"])
      for (const name of inOrder) {
        yield* Effect.promise(() => page.keyboard.press("Tab"))
        const focused = yield* Effect.promise(() =>
          page.evaluate(
            `[document.activeElement.id || document.activeElement.getAttribute("href"), getComputedStyle(document.activeElement).outlineStyle]`
          )
        )
        assert.deepStrictEqual(focused, [name, "solid"])
      }

      const taskId = yield* setup.newTask(`Rotate ${setup.account.serviceToken}`)
      yield* setup.post(taskId, "@engineer never mind")
      yield* eventually(setup.posts, (count) => count === 1)
      yield* shows(page, "running", "Engineer", 1_000)
      assert.strictEqual(yield* textOf(page, "n-running"), "1 of 8")
      yield* shows(page, "running", "model for")
      yield* shows(page, "agents", "working")
      // The agent's session is taken, so this notification waits.
      yield* setup.post(taskId, "@engineer one more thing")
      yield* setup.post(taskId, "@squad-lead are you there?")
      yield* shows(page, "queue", "waits for its agent's running turn")
      assert.strictEqual(yield* textOf(page, "n-waiting"), "1")
      assert.match(yield* textOf(page, "n-waiting-more"), /^the oldest for /)
      // The page shows no secret and no message's text.
      const shown = yield* Effect.promise(() => page.content())
      assert.include(shown, "Rotate")
      assert.notInclude(shown, setup.account.serviceToken)
      assert.notInclude(shown, "never mind")

      yield* shows(page, "ended", "replied")
      yield* setup.fault({ kind: "garbage", agent: "qa" })
      yield* setup.post(taskId, "@qa and you?")
      yield* shows(page, "letters", "TurnUnreadable")
      yield* shows(page, "letters", "mission-control-runtime dead-letters retry ")
      yield* shows(page, "errors", "TurnUnreadable")
      assert.strictEqual(yield* textOf(page, "n-dead"), "1")
      assert.match(yield* textOf(page, "rate-text"), /^[1-9]\d* deliver(y|ies) in 20 min, 1 failed$/)
      yield* setup.post(taskId, "@squad-lead keep quiet")
      yield* shows(page, "n-silent", "1")
      yield* shows(page, "ended", "no answer, ")
      assert.match(
        yield* Effect.promise(async () => (await page.locator("#latency").getAttribute("aria-label")) ?? ""),
        /^Duration of deliveries: lately p50 .*\d.*, p95 .*\d/
      )
      assert.match(yield* textOf(page, "p95-delivery"), /\d m?s$/)
      assert.deepStrictEqual(yield* violations(page), [])

      const dark = yield* open(runtime.url, { ...phone, colorScheme: "dark" })
      yield* shows(dark.page, "letters", "TurnUnreadable")
      assert.deepStrictEqual(yield* violations(dark.page), [])
      assert.strictEqual(yield* overflow(dark.page), 0)

      const forced = yield* open(runtime.url, { forcedColors: "active", reducedMotion: "reduce" })
      yield* shows(forced.page, "letters", "TurnUnreadable")
      assert.deepStrictEqual(yield* violations(forced.page), [])
      // The rectangles of charts keep the page's colours unless the style names the system's.
      const [bar, text] = (yield* Effect.promise(() =>
        forced.page.evaluate(
          `[getComputedStyle(document.querySelector("#rate .bar.bad")).fill, getComputedStyle(document.body).color]`
        )
      )) as ReadonlyArray<string>
      assert.strictEqual(bar, text)

      for (const { asked, complaints } of [light, dark]) {
        assert.deepStrictEqual(complaints, [])
        assert.deepStrictEqual(
          asked.filter((url) => !url.startsWith(`${runtime.url}/`) && !url.startsWith("data:")),
          []
        )
      }
    }).pipe(Effect.scoped)
  )

  it.live("shows a running turn as the gateway reports it, and its text only to a person who asks for it", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({ rules: [{ match: "mentioned you", actions: [{ hang: true }] }] })
      const runtime = yield* setup.startRuntime({ DRAIN_TIMEOUT_MS: "1000" })
      const open = yield* makeBrowser
      const { asked, complaints, page } = yield* open(runtime.url)
      yield* setup.post(yield* setup.newTask(), "@engineer please look")
      yield* shows(page, "running", "first round")
      yield* countAnnouncements(page)
      const agentEvent = (stream: string, data: object) =>
        setup.gatewayEvent("agent", { runId: "resp_1", stream, data })
      const usage = { input: 1_000, output: 234 }
      const message = { role: "assistant", provider: "fake", model: "fake-1", usage, __openclaw: { runId: "resp_1" } }
      yield* setup.gatewayEvent("session.message", { message })
      yield* agentEvent("item", { kind: "tool", phase: "start", toolCallId: "call_1", name: "exec" })
      yield* shows(page, "running", "1 model call, 1,234 tokens")
      yield* shows(page, "running", "exec for")
      yield* agentEvent("assistant", { text: "The secret plan begins. " })
      yield* shows(page, "running", "24 characters of text")
      assert.notInclude(yield* Effect.promise(() => page.content()), "secret plan")
      assert.isTrue(yield* Effect.promise(() => page.locator("#running-stale").isHidden()))

      yield* Effect.promise(() => page.locator("#texts").focus())
      yield* Effect.promise(() => page.keyboard.press("Space"))
      yield* shows(page, "running", "The secret plan begins.")
      yield* agentEvent("assistant", { text: "The secret plan begins. It ends " })
      yield* shows(page, "running", "It ends")
      assert.deepStrictEqual(yield* violations(page), [])
      // A screen reader would never be silent if it announced the progress.
      assert.strictEqual(yield* announcements(page), 0)
      yield* Effect.promise(() => page.setViewportSize(phone.viewport))
      assert.strictEqual(yield* overflow(page), 0)
      yield* Effect.promise(() => page.locator("#running a").click())
      yield* shows(page, "run-now", "Now: exec for")
      yield* shows(page, "run-now", "1 model call, 1,234 tokens")
      yield* shows(page, "run-quote", "It ends")
      yield* Effect.promise(() => page.goBack())
      yield* Effect.promise(() => page.locator("#texts").click())
      yield* Effect.promise(() => page.locator("#running .quote").waitFor({ state: "hidden" }))
      assert.deepStrictEqual(
        asked
          .map((url) => new URL(url))
          .filter(({ pathname }) => pathname === "/status/events")
          .map(({ search }) => search),
        ["", "?texts=true", ""]
      )
      assert.deepStrictEqual(complaints, [])
    }).pipe(Effect.scoped)
  )

  it.live("shows a run's own view by keyboard, with its prompt only on request, and recent runs by filter", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const loads = { toolCalls: [{ name: "task_load", args: { taskId: "{{taskId}}" } }] }
      yield* setup.script({
        rules: [
          {
            match: "look at this",
            capture: { taskId: "task id: ([A-Za-z0-9]+)" },
            actions: [loads, { text: "Here I am." }]
          },
          { match: "keep quiet", repeat: true, actions: [{ text: "No response from agent." }] }
        ]
      })
      const runtime = yield* setup.startRuntime()
      const open = yield* makeBrowser
      const { asked, complaints, page } = yield* open(runtime.url)
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer look at this secret plan")
      yield* shows(page, "ended", "replied")
      yield* setup.post(taskId, "@qa keep quiet")
      yield* shows(page, "ended", "no answer")

      const choose = (id: string, value: string) => Effect.promise(() => page.locator(`#${id}`).selectOption(value))
      yield* choose("filter-result", "unanswered")
      assert.notInclude(yield* textOf(page, "ended"), "Engineer")
      yield* choose("filter-result", "succeeded")
      assert.notInclude(yield* textOf(page, "ended"), "QA")
      yield* choose("filter-agent", "qa")
      yield* shows(page, "ended-empty", "No run matches.")
      yield* choose("filter-agent", "engineer")

      yield* Effect.promise(() => page.locator("#ended a", { hasText: "Engineer" }).first().focus())
      yield* Effect.promise(() => page.keyboard.press("Enter"))
      yield* shows(page, "run-attempts", "Store the outcome")
      for (const name of ["Claim and prompt", "Round 1", "task_load", "Round 2"])
        yield* shows(page, "run-attempts", name)
      yield* shows(page, "run-events", "Mention by Pat")
      assert.strictEqual(yield* Effect.promise(() => page.evaluate("document.activeElement.id")), "run-title")
      assert.isFalse(yield* Effect.promise(() => page.locator("#overview").isVisible()))
      assert.notInclude(yield* Effect.promise(() => page.content()), "secret plan")
      assert.deepStrictEqual(yield* violations(page), [])
      yield* Effect.promise(() => page.locator("#prompt-show").press("Enter"))
      yield* shows(page, "prompt-text", "secret plan")
      assert.deepStrictEqual(yield* violations(page), [])
      yield* Effect.promise(() => page.setViewportSize(phone.viewport))
      assert.strictEqual(yield* overflow(page), 0)
      yield* Effect.promise(() => page.goBack())
      yield* shows(page, "ended", "Engineer")
      assert.isFalse(yield* Effect.promise(() => page.locator("#run-view").isVisible()))
      // One read of the run for its view, and one for the prompt: none regularly.
      const reads = asked.map((url) => new URL(url).pathname).filter((path) => /^.status.(run|prompt)$/.test(path))
      assert.deepStrictEqual(reads, ["/status/run", "/status/prompt"])
      assert.deepStrictEqual(complaints, [])
    }).pipe(Effect.scoped)
  )

  it.live("shows what is wrong and how to fix it: gateway and control plane down, then the runtime itself", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const runtime = yield* setup.startRuntime()
      const open = yield* makeBrowser
      const { complaints, page } = yield* open(runtime.url, phone)
      yield* setup.gateway.signal("SIGKILL")
      yield* setup.post(yield* setup.newTask(), "@engineer are you there?")
      yield* shows(page, "lights", "Unreachable")
      yield* shows(page, "errors", "GatewayUnreachable")
      yield* setup.plane.signal("SIGKILL")
      yield* shows(page, "lights", "Down, polling")
      yield* shows(page, "reasons", "Check CONVEX_URL and the network.")
      yield* shows(page, "status", "degraded")
      assert.deepStrictEqual(yield* violations(page), [])
      assert.strictEqual(yield* overflow(page), 0)

      yield* runtime.signal("SIGKILL")
      yield* shows(page, "notice", "The connection to the runtime is lost")
      assert.isTrue(yield* Effect.promise(() => page.locator("#notice").isVisible()))
      assert.strictEqual(yield* textOf(page, "status"), "○ degraded, last known")
      assert.strictEqual(yield* Effect.promise(() => page.locator("#lights .state:not(.idle)").count()), 0)
      assert.deepStrictEqual(yield* violations(page), [])
      assert.deepStrictEqual(complaints, [])
    }).pipe(Effect.scoped)
  )

  it.live("shows the drain, reconnects after a restart, and never delays the process", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      yield* setup.script({ rules: [{ match: "mentioned you", actions: [{ hang: true }] }] })
      const runtime = yield* setup.startRuntime({ DRAIN_TIMEOUT_MS: "3000" })
      const open = yield* makeBrowser
      const { page } = yield* open(runtime.url)
      yield* setup.post(yield* setup.newTask(), "@engineer are you there?")
      yield* shows(page, "running", "Engineer")
      yield* runtime.signal("SIGTERM")
      yield* shows(page, "status", "draining")
      assert.deepStrictEqual(yield* runtime.exit, { code: 0, signal: null })
      yield* shows(page, "notice", "The connection to the runtime is lost")
      yield* setup.startRuntime({ HEALTH_PORT: new URL(runtime.url).port })
      yield* shows(page, "status", "online")
      assert.isFalse(yield* Effect.promise(() => page.locator("#notice").isVisible()))
    }).pipe(Effect.scoped)
  )
})

describe("the status page's address", () => {
  it.live("answers this machine only under its own names", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup()
      const runtime = yield* setup.startRuntime()
      const { port } = new URL(runtime.url)
      const statusOf = (path: string, headers: Record<string, string>) =>
        Effect.promise(
          () =>
            new Promise<number>((resolve, reject) => {
              const sent = request({ host: "127.0.0.1", port, path, headers }, (response) => {
                resolve(response.statusCode ?? 0)
                response.destroy()
              })
              sent.once("error", reject)
              sent.end()
            })
        )
      for (const path of ["/", "/status/events"]) {
        assert.strictEqual(yield* statusOf(path, { host: `localhost:${port}` }), 200)
        assert.strictEqual(yield* statusOf(path, { host: "rebound.example" }), 403)
        assert.strictEqual(yield* statusOf(path, { host: "localhost", origin: "https://evil.example" }), 403)
      }
    }).pipe(Effect.scoped)
  )
})
