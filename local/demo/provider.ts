/** The model provider of the live demonstration: whose model, with which key, and whether it answers. */
import { Effect } from "effect"
import { EnvHttpProxyAgent, fetch } from "undici"
import { oneLine } from "../../src/domain/text/Text.ts"
import { DemoFailed } from "./demoFailed.ts"

/** The provider's protocol, by OpenClaw's name for it. */
type Api = "anthropic-messages" | "openai-responses" | "openai-completions"

/** A provider and one of its models. */
export interface Provider {
  readonly id: string
  /** The model's id without the provider. */
  readonly model: string
  readonly api: Api
  readonly baseUrl: string
  /** Whether `--base-url` names its address. Otherwise OpenClaw knows the provider. */
  readonly isCustom: boolean
  /** The variable with the key, and its value. */
  readonly keyName: string
  readonly key: string | undefined
}

/** The providers that need no `--base-url`, in the order in which their keys are looked for. */
const known = {
  anthropic: { api: "anthropic-messages", baseUrl: "https://api.anthropic.com", model: "claude-sonnet-5" },
  openai: { api: "openai-responses", baseUrl: "https://api.openai.com/v1", model: "gpt-5.6-luna" }
} as const

const isKnown = (id: string): id is keyof typeof known => Object.hasOwn(known, id)

type Environment = Readonly<Record<string, string | undefined>>

const keyNameOf = (id: string): string => `${id.toUpperCase().replaceAll("-", "_")}_API_KEY`

const keyOf = (id: string, env: Environment): string | undefined => {
  const key = env[keyNameOf(id)]?.trim()
  return key === "" ? undefined : key
}

const failed = (reason: string) => new DemoFailed({ reason })

/** The provider that the options name, otherwise the first known one whose key is set. */
export const chooseProvider = (
  options: { readonly model: string | undefined; readonly baseUrl: string | undefined },
  env: Environment
): Effect.Effect<Provider, DemoFailed> =>
  Effect.gen(function* () {
    const { baseUrl } = options
    if (options.model === undefined) {
      const id = Object.keys(known)
        .filter(isKnown)
        .find((each) => keyOf(each, env) !== undefined)
      if (id === undefined) {
        return yield* failed(
          "No key of a model provider is set. Set ANTHROPIC_API_KEY or OPENAI_API_KEY, or add --model provider/model --base-url URL, for example of a model on this machine."
        )
      }
      return { id, ...known[id], isCustom: false, keyName: keyNameOf(id), key: keyOf(id, env) }
    }
    const slash = options.model.indexOf("/")
    const id = options.model.slice(0, slash)
    const model = options.model.slice(slash + 1)
    const [keyName, key] = [keyNameOf(id), keyOf(id, env)]
    if (baseUrl !== undefined) {
      const api = id === "anthropic" ? "anthropic-messages" : "openai-completions"
      return { id, model, api, baseUrl: baseUrl.replace(/\/+$/, ""), isCustom: true, keyName, key }
    }
    if (!isKnown(id)) {
      return yield* failed(`The address of the provider "${id}" is not known. Add --base-url with its address.`)
    }
    if (key === undefined) return yield* failed(`${keyName} is not set. Set it to your key of ${id}.`)
    return { id, ...known[id], model, isCustom: false, keyName, key }
  })

/** The smallest request of the protocol. It streams, so that the answer's status arrives before the text. */
const requestOf = ({ api, key, model }: Provider) => {
  const text = "Reply with OK."
  const bearer = key === undefined ? {} : { authorization: `Bearer ${key}` }
  const messages = [{ role: "user", content: text }]
  switch (api) {
    case "anthropic-messages":
      return {
        path: "/v1/messages",
        headers: { "anthropic-version": "2023-06-01", ...(key === undefined ? {} : { "x-api-key": key }) },
        body: { model, messages, max_tokens: 16, stream: true }
      }
    case "openai-responses":
      return { path: "/responses", headers: bearer, body: { model, input: text, max_output_tokens: 16, stream: true } }
    case "openai-completions":
      return { path: "/chat/completions", headers: bearer, body: { model, messages, stream: true } }
  }
}

/** The text in one line, without the key. */
const withoutKey = (text: string, key: string | undefined, limit: number): string =>
  oneLine(key === undefined ? text : text.replaceAll(key, "[key]"), limit)

/** The provider's own words in the body of an error, without the key. */
const messageIn = (body: string, key: string | undefined): string => {
  let message = body.startsWith("<") ? "" : body
  try {
    const { error, message: outer } = JSON.parse(body)
    message = String(error?.message ?? outer ?? error ?? "")
  } catch {
    // Plain text.
  }
  return withoutKey(message, key, 300)
}

/** One line for an HTTP status that is not a success: what it means, and what to do. */
export const refusalOf = (provider: Provider, status: number, detail: string): string => {
  const { id, isCustom, key, keyName, model } = provider
  const answer = `HTTP ${status}${detail === "" ? "" : `: ${detail}`}`
  switch (status) {
    case 401:
    case 403:
      return key === undefined
        ? `${id} wants a key (${answer}). Set ${keyName} to your key.`
        : `${id} refuses the key in ${keyName} (${answer}). Set the variable to a valid key.`
    case 404:
      return `${id} does not offer the model ${model} (${answer}). ${isCustom ? "Check --model and --base-url" : "Choose another one with --model"}.`
    case 402:
    case 429:
      return `${id} takes no requests with this key now (${answer}). Check the credit and the limits of your account there.`
    default:
      return status >= 500
        ? `${id} has a problem (${answer}). Try again later.`
        : `${id} refuses the request (${answer}). Check your account there, and --model.`
  }
}

/** The code of the error or of its cause, for example ENOTFOUND; otherwise the message, without the key. */
const codeOf = (error: unknown, key: string | undefined): string => {
  const { cause, code, message } = error as { cause?: unknown; code?: unknown; message?: string }
  if (typeof code === "string") return code
  // For a header that cannot be sent the message contains the header.
  return cause === undefined ? withoutKey(message ?? "unknown", key, 200) : codeOf(cause, key)
}

/** A local model may have to be loaded first. */
const patience = 120_000

/**
 * Sends one small request, so that a wrong key, an unknown model or a missing network is reported before anything is
 * installed or started.
 */
export const checkProvider = (provider: Provider): Effect.Effect<void, DemoFailed> =>
  Effect.gen(function* () {
    const { baseUrl, id, isCustom, key } = provider
    const { body, headers, path } = requestOf(provider)
    const answer = yield* Effect.tryPromise({
      try: async (signal) => {
        const response = await fetch(`${baseUrl}${path}`, {
          method: "POST",
          headers: { "content-type": "application/json", ...headers },
          body: JSON.stringify(body),
          dispatcher: new EnvHttpProxyAgent(),
          signal: AbortSignal.any([signal, AbortSignal.timeout(patience)])
        })
        const type = response.headers.get("content-type") ?? ""
        const text = response.ok ? "" : await response.text()
        if (response.ok) await response.body?.cancel()
        return { status: response.status, isModel: response.ok && /event-stream|json/.test(type), text }
      },
      catch: (error) =>
        failed(
          `${id} cannot be reached at ${baseUrl} (${codeOf(error, key)}). Check the network${isCustom ? " and --base-url" : ""}.`
        )
    })
    if (answer.isModel) return
    if (answer.status < 300) {
      return yield* failed(`${baseUrl} is not the address of a model provider. Check --base-url.`)
    }
    return yield* failed(refusalOf(provider, answer.status, messageIn(answer.text, key)))
  })
