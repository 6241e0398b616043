/**
 * Takes a screenshot of the status page of a real runtime, in Chromium. `node local/demo/picture.ts [state] [file]`;
 * the README shows the upper part of the state `busy`, which stays under 200 kB. Needs Debian's chromium, or CHROMIUM
 * with the path of another. With `--phone` in the narrowest supported width, with `--dark` in dark colours, with
 * `--forced` in the system's forced colours, with `--run` the view of a run.
 */
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { Effect, Schedule } from "effect"
import { chromium } from "playwright-core"
import type { Page } from "playwright-core"
import { demoTeam, makeAccount, runtimeEnv } from "../account.ts"
import { launchGateway, launchPlane, launchRuntime } from "../launcher.ts"
import type { Script } from "../model/script.ts"
import { personAt } from "../person.ts"
import { gatewayArgs } from "./demoScript.ts"
import { playScenario } from "./scenario.ts"
import { Story } from "./story.ts"

const states = ["busy", "failing", "held", "paused", "empty", "lost"] as const
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    phone: { type: "boolean", default: false },
    dark: { type: "boolean", default: false },
    forced: { type: "boolean", default: false },
    run: { type: "boolean", default: false }
  }
})
const [state = "busy", file = fileURLToPath(new URL("../../docs/status-page.png", import.meta.url))] = positionals
if (!(states as ReadonlyArray<string>).includes(state)) throw new Error(`no state ${state}: use ${states.join(", ")}`)

/** Turns that last while the picture is taken: one calls a tool first, the others think. */
const busy: Script = {
  replace: true,
  rules: [
    {
      matchSystem: "You are Engineer",
      match: "mentioned you",
      capture: { taskId: "task id: ([A-Za-z0-9]+)" },
      actions: [
        { toolCalls: [{ name: "task_load", args: { taskId: "{{taskId}}" } }], usage: { input: 8_412, output: 96 } },
        { hang: true }
      ]
    },
    { match: "mentioned you", repeat: true, actions: [{ hang: true }] }
  ]
}
const failing: Script = {
  replace: true,
  rules: [{ match: "mentioned you", repeat: true, actions: [{ status: 400, body: { error: "no such model" } }] }]
}

const wait = (isSo: () => Promise<boolean>) =>
  Effect.promise(isSo).pipe(Effect.repeat({ schedule: Schedule.spaced("100 millis"), until: (so) => so }))

const program = Effect.gen(function* () {
  const [plane, gateway] = yield* Effect.all([launchPlane(), launchGateway({ args: gatewayArgs })], {
    concurrency: 2
  })
  const person = personAt(plane.url, plane.adminKey)
  // No heartbeat on the way: its turn would be in the picture or not.
  const account = yield* Effect.promise(() =>
    makeAccount(
      person,
      demoTeam.map((agent) => ({ ...agent, heartbeat: 45 }))
    )
  )
  const { accountId } = account
  const runtime = yield* launchRuntime({
    env: runtimeEnv(account, plane.url, gateway, { RUNTIME_ID: "demo", DELIVERY_MAX_ATTEMPTS: "2" })
  })
  const health = async () => (await fetch(`${runtime.url}/health`)).json() as Promise<any>
  const mutate = (name: string, args: object) => Effect.promise(() => person.mutation(name, { accountId, ...args }))
  const play = (script: Script) =>
    Effect.promise(() => fetch(`${gateway.url}/__local/script`, { method: "POST", body: JSON.stringify(script) }))
  const post = (content: string, title: string) =>
    Effect.gen(function* () {
      const { taskId } = yield* mutate("app/tasks:create", { title })
      yield* mutate("app/messages:post", { taskId, content })
    })
  const posted = Effect.all(
    [
      post("@engineer please look at the export", "Export of invoices times out"),
      post("@qa can you check the new form?", "Sign-up form on tablets"),
      post("@engineer and the invoices of March", "Invoices of March are missing"),
      post("@squad-lead what comes next?", "Plan for next week")
    ],
    { discard: true }
  )

  const browser = yield* Effect.acquireRelease(
    Effect.promise(() =>
      chromium.launch({
        executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
        args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
      })
    ),
    (browser) => Effect.promise(() => browser.close())
  )
  const open = Effect.promise(async () => {
    const page = await browser.newPage({
      viewport: values.phone ? { width: 320, height: 800 } : { width: 1200, height: 1010 },
      colorScheme: values.dark ? "dark" : "light",
      forcedColors: values.forced ? "active" : "none"
    })
    await page.goto(runtime.url)
    return page
  })
  const shows = (page: Page, id: string, text: string | RegExp) =>
    Effect.promise(() => page.locator(`#${id}`).filter({ hasText: text }).first().waitFor())

  // Every attempt fails: an earlier success would show that some work succeeds.
  const hasWorked = state !== "empty" && state !== "failing"
  if (hasWorked) yield* playScenario(person, account, new Story({ isQuiet: true }))
  if (state === "busy") {
    yield* mutate("app/budgets:set", {
      period: "day",
      unit: "tokens",
      limit: 60_000,
      agentId: account.agents["engineer"]
    })
    yield* play(busy)
    yield* posted
    yield* wait(async () => (await health()).delivery.inFlight === 3)
  }
  if (state === "failing") {
    yield* play(failing)
    yield* posted
    yield* wait(async () => (await health()).status === "failing")
  }
  if (state === "held") {
    yield* mutate("app/budgets:set", { period: "day", unit: "tokens", limit: 1 })
    yield* posted
  }
  if (state === "paused") {
    yield* mutate("app/runtimes:pause", {})
    yield* posted
    yield* wait(async () => (await health()).isPaused)
  }
  const page = yield* open
  if (hasWorked) yield* shows(page, "ended", "replied")
  yield* shows(page, "account", "Acme")
  if (state === "held") yield* shows(page, "queue", "held by a budget")
  if (state === "lost") {
    yield* runtime.signal("SIGKILL")
    yield* shows(page, "notice", "is lost")
  }
  if (values.run) {
    yield* Effect.promise(() => page.locator("#ended a.title", { hasText: "Squad Lead" }).last().click())
    yield* shows(page, "run-attempts", "Store the outcome")
    yield* Effect.promise(() => page.locator("#prompt-show").click())
    yield* shows(page, "prompt-hint", /^(Tools|The policy)/)
  }
  yield* Effect.promise(() => page.screenshot({ path: file, fullPage: positionals.length > 1 }))
})

await Effect.runPromise(Effect.scoped(program).pipe(Effect.timeout("90 seconds")))
