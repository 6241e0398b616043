/** Checks of single variables beyond their form. A problem is one line without a secret. */
import { Effect, Option, Redacted, Result, Schema } from "effect"
import { readPairs } from "../../domain/observability/TelemetryTarget.ts"
import { isLoopbackUrl, loopback, parseAddressList } from "../../domain/settings/AddressList.ts"
import type { AddressList } from "../../domain/settings/AddressList.ts"
import { readUrl } from "../../domain/settings/EnvironmentValue.ts"
import { parseServiceToken, serviceTokenProblem } from "../../domain/shared/ServiceToken.ts"
import { shown } from "./ConfigReader.ts"
import type { Problem, Read } from "./ConfigReader.ts"

/** The configuration cannot be used. It lists every problem, one line each, without a secret. */
export class ConfigInvalid extends Schema.TaggedError<ConfigInvalid>()("ConfigInvalid", {
  problems: Schema.Array(Schema.String),
  /** Names that look like misspelt variables, one line each. */
  hints: Schema.optionalKey(Schema.Array(Schema.String))
}) {}

export const addressListOf = (value: Option.Option<string>): Read<AddressList> =>
  Option.match(value, {
    onNone: () => Effect.succeed(loopback),
    onSome: (text) =>
      Effect.mapError(
        Effect.fromResult(parseAddressList(text)),
        (entry) =>
          `AGENT_HTTP_ALLOW has ${shown(entry)}, which is not a network: list CIDRs without host bits, e.g. 10.20.0.0/16, fd00::/8`
      )
  })

export const readAccountId = (value: string): Result.Result<string, string> =>
  /^[A-Za-z0-9]{8,64}$/.test(value)
    ? Result.succeed(value)
    : Result.fail("is not an account's id (8 to 64 letters and digits)")

export const tokenOf = (
  token: Option.Option<Redacted.Redacted>,
  accountId: Result.Result<string, Problem>
): Read<Redacted.Redacted> => {
  const form =
    "mc_service_{accountId}_{64 hex digits}, as issued by the control plane, or set SERVICE_TOKEN_FILE to its file"
  if (Option.isNone(token)) return Effect.fail(`SERVICE_TOKEN is missing: set it to ${form}`)
  const { label } = token.value
  const problem = serviceTokenProblem(Redacted.value(token.value))
  if (problem !== null) return Effect.fail(`${label} ${problem}: it must have the form ${form}`)
  if (Result.isSuccess(accountId) && parseServiceToken(Redacted.value(token.value))?.accountId !== accountId.success) {
    return Effect.fail(
      `${label} belongs to another account than ACCOUNT_ID ${shown(accountId.success)}: set both from the same account`
    )
  }
  return Effect.succeed(token.value)
}

/** An HTTP header can have visible ASCII only. */
export const inHeader =
  (meaning: string) =>
  (secret: Option.Option<Redacted.Redacted>): Read<Option.Option<Redacted.Redacted>> =>
    Option.isSome(secret) && !/^[\x21-\x7e]+$/.test(Redacted.value(secret.value))
      ? Effect.fail(
          `${secret.value.label} has white space or characters that an HTTP header cannot have: set it to ${meaning}`
        )
      : Effect.succeed(secret)
export const asGatewayToken = inHeader("the gateway's gateway.auth.token")

/** Names and values of HTTP headers; messages show nothing of them. */
export const asHeaders = (text: Option.Option<Redacted.Redacted>): Read<Option.Option<Redacted.Redacted>> => {
  if (Option.isNone(text)) return Effect.succeed(text)
  const isHeader = ([name, value]: readonly [string, string]) =>
    /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) && /^[\x20-\x7e]*$/.test(value)
  const pairs = Object.entries(readPairs(Redacted.value(text.value)))
  return pairs.length > 0 && pairs.every(isHeader)
    ? Effect.succeed(text)
    : Effect.fail(`${text.value.label} has no headers: write name=value, separated by commas`)
}

/** The whole address of a collector, for one signal. */
export const asAddress = (text: string): Result.Result<string, string> => Result.map(readUrl(text), ({ href }) => href)

export const asRatio = (text: string): Result.Result<string, string> =>
  /^(0(\.\d+)?|1(\.0+)?)$/.test(text) ? Result.succeed(text) : Result.fail("is not a ratio")

export const gatewayOf = (
  url: Option.Option<string>,
  token: Option.Option<Redacted.Redacted>
): Read<Option.Option<string>> =>
  Option.isSome(url) && Option.isNone(token) && !isLoopbackUrl(url.value)
    ? Effect.fail(
        `OPENCLAW_GATEWAY_TOKEN is missing: ${shown(url.value)} is not on this machine, so its token is required`
      )
    : Effect.succeed(url)

export const argumentsOf = (words: Option.Option<ReadonlyArray<string>>): Read<ReadonlyArray<string>> => {
  const args = Option.getOrElse(words, () => ["gateway", "run"])
  const fault = ["--port", "--token"].find((name) => args.some((arg) => arg === name || arg.startsWith(`${name}=`)))
  return fault === undefined
    ? Effect.succeed(args)
    : Effect.fail(
        `OPENCLAW_GATEWAY_ARGS has ${fault}: set OPENCLAW_GATEWAY_${fault.slice(2).toUpperCase()} instead, which the gateway receives in its environment`
      )
}
