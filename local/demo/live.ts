/** The live demonstration: real agents in a temporary folder, with the newcomer's model provider and a budget. */
import { join } from "node:path"
import { Deferred, Effect, Exit } from "effect"
import type { TokenPrice } from "../../src/domain/shared/TokenPrice.ts"
import { type Account, demoTeam, makeAccount, runtimeEnv } from "../account.ts"
import { launchPlane } from "../launcher.ts"
import { catalogPrice } from "../openclaw/catalogPrice.ts"
import { type Person, personAt } from "../person.ts"
import { addressed, openConversation } from "./conversation.ts"
import { DemoFailed } from "./demoFailed.ts"
import { showAccount } from "./liveThread.ts"
import type { DemoOptions } from "./options.ts"
import { checkProvider, chooseProvider, refusalOf } from "./provider.ts"
import { prepareRealGateway } from "./realGateway.ts"
import { portOf, startRuntime } from "./runtime.ts"
import type { Story } from "./story.ts"
import { talk } from "./thread.ts"
import { commandLine, writeVariables } from "./variables.ts"

const dollars = (amount: number): string => `$${amount.toFixed(2)}`

const priceLine = (name: string, price: TokenPrice | undefined): string =>
  price === undefined
    ? `The price of ${name} is not known: the budget counts $3 per million input tokens and $15 per million output tokens. If the model costs less, raise the budget with --budget.`
    : `${name} costs ${dollars(price.input)} per million input tokens and ${dollars(price.output)} per million output tokens.`

/** Sets the budget, and the model's price, which the gateway's settings do not contain. */
const limitSpending = (
  person: Person,
  { accountId }: Account,
  model: string,
  price: TokenPrice | undefined,
  limit: number
) =>
  Effect.promise(async () => {
    if (price !== undefined)
      await person.mutation("app/accounts:configure", { accountId, prices: [{ model, price: { ...price } }] })
    await person.mutation("app/budgets:set", { accountId, period: "lifetime", unit: "usd", limit })
  })

/** One line with the turns, the tokens and the used part of the budget. */
const spending = (person: Person, { accountId }: Account) =>
  Effect.promise(async () => {
    const { budgets, total } = await person.query("app/usage:report", { accountId, by: "agent", days: 2 })
    const budget = budgets.find((each: { period: string }) => each.period === "lifetime")
    const count = (tokens: number) => tokens.toLocaleString("en-US")
    return `Spent: ${total.attempts} turns, ${count(total.inputTokens)} input and ${count(total.outputTokens)} output tokens, ${dollars(budget.spent)} of the budget of ${dollars(budget.limit)}.`
  })

/** The failure of a turn because the provider accepts no request with this key, by the runtime's text. */
const refusedTurn = /^(?:delivery|heartbeat) \w+: ProviderFailed: (.*) \(HTTP (40[123])\)$/

/** Runs the team until `ending`; every mistake of the newcomer ends it with one line. */
export const live = (options: DemoOptions, story: Story, ending: Effect.Effect<void>) =>
  Effect.gen(function* () {
    const provider = yield* chooseProvider(options, process.env)
    const model = `${provider.id}/${provider.model}`
    story.say(`Checking ${model} with one small request ...`)
    yield* checkProvider(provider)
    const gateway = yield* prepareRealGateway(story, provider)
    story.say("Starting the control plane, the OpenClaw gateway and the runtime; this takes up to a minute ...")
    const { folder } = gateway
    const plane = yield* launchPlane({ logFile: join(folder, "plane.log") })
    const person = personAt(plane.url, plane.adminKey)
    const account = yield* Effect.promise(() => makeAccount(person))
    const price = catalogPrice(gateway.packageFolder, provider.id, provider.model)
    yield* limitSpending(person, account, model, price, options.budget)
    const refused = yield* Deferred.make<never, DemoFailed>()
    const env = {
      ...gateway.env,
      RUNTIME_ID: "demo",
      // Combines messages that agents write shortly after each other, which saves turns.
      QUIET_TIME: "5000",
      DRAIN_TIMEOUT_MS: "1000",
      ...portOf(options)
    }
    const runtime = yield* startRuntime(
      story,
      { env: runtimeEnv(account, plane.url, { url: "" }, env), logFile: join(folder, "runtime.log") },
      ({ message }) => {
        const [, detail, status] = refusedTurn.exec(String(message)) ?? []
        if (detail === undefined) return
        const reason = refusalOf(provider, Number(status), detail)
        Deferred.doneUnsafe(refused, Exit.fail(new DemoFailed({ reason })))
      }
    )
    const task = yield* openConversation(person, account)
    const variables = yield* writeVariables(folder, account, plane, runtime)
    const { budget } = options
    welcome(story, { budget, price: priceLine(model, price), page: `${runtime.url}/`, folder }, variables)
    const show = showAccount(person, account, task.taskId, story)
    const talking = talk(person, task, story, (line) => Promise.resolve(addressed(line)), show)
    const isOver = Effect.raceFirst(runtime.exit, ending)
    yield* Effect.scoped(Effect.raceAllFirst([isOver, talking, Deferred.await(refused)]))
    story.say("\nEnding ...")
    yield* runtime.signal("SIGTERM")
    const { code } = yield* runtime.exit
    story.say(yield* spending(person, account))
    if (code !== 0) return yield* new DemoFailed({ reason: `the runtime ended with exit code ${code}` })
  })

const welcome = (
  story: Story,
  options: { readonly budget: number; readonly price: string; readonly page: string; readonly folder: string },
  variables: string
): void => {
  const { budget, folder, page, price } = options
  story.say(`
The team: ${demoTeam.map(({ name, role, slug }) => `@${slug} (${name}, ${role})`).join(", ")}.
They have the tools for tasks, messages and documents, but no shell and no files.
Budget: ${dollars(budget)}. ${price}

Status page: ${page}
To see more, copy this command into another terminal:`)
  story.command(commandLine(variables))
  story.say(`
You are Pat. Type a message and press Enter, for example:
  what can the three of you do for me?
  @engineer write a short FAQ about lost passwords as a document, and have QA review it
Without a mention it goes to the squad lead. Ctrl-C ends everything, shows what was spent and deletes ${folder}.
`)
}
