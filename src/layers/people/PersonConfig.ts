import type { Redacted } from "effect"
import { Context, ConfigProvider, Effect, FileSystem, Layer, Option, Schema } from "effect"
import { readDeploymentUrl } from "../../domain/settings/EnvironmentValue.ts"
import { ConfigInvalid } from "../Config.ts"
import { readAccountId } from "../config/ConfigChecks.ts"
import { makeReader, raw } from "../config/ConfigReader.ts"
import type { Problem, Read } from "../config/ConfigReader.ts"

/** A person as an identity provider names them. */
const Identity = Schema.Struct({
  issuer: Schema.NonEmptyString,
  subject: Schema.NonEmptyString,
  name: Schema.NonEmptyString
})
const readIdentity = Schema.decodeUnknownOption(Schema.fromJsonString(Identity))

/** How a person signs in: a deploy key acts as anyone, a token as its owner. */
export type SignIn =
  | { readonly _tag: "DeployKey"; readonly key: Redacted.Redacted; readonly identity: typeof Identity.Type }
  | { readonly _tag: "Token"; readonly token: Redacted.Redacted }

const IDENTITY = `JSON with issuer, subject and name, e.g. '{"issuer":"https://login.example.com","subject":"pat","name":"Pat"}'`

/** What the commands for people need of the environment. */
export class PersonConfig extends Context.Service<
  PersonConfig,
  {
    readonly convexUrl: string
    /** Not needed by a person who is a member of one account. */
    readonly accountId: Option.Option<string>
    readonly signIn: SignIn
  }
>()("runtime-service/layers/people/PersonConfig") {
  /** Reads the environment; fails with every problem. */
  static readonly layer = Layer.effect(
    PersonConfig,
    Effect.suspend(() => make)
  )
}

/** Whether the environment says which person runs a command, or has only a deploy key, for which it must say so. */
export const namesPerson: Effect.Effect<boolean> = Effect.gen(function* () {
  const provider = yield* ConfigProvider.ConfigProvider
  const has = (name: string) => Effect.orElseSucceed(Effect.map(raw(provider, name), Option.isSome), () => true)
  const hasSecret = (name: string) => Effect.zipWith(has(name), has(`${name}_FILE`), (direct, file) => direct || file)
  if ((yield* hasSecret("MISSION_CONTROL_TOKEN")) || (yield* has("MISSION_CONTROL_IDENTITY"))) return true
  return (yield* hasSecret("CONVEX_DEPLOY_KEY")) && !(yield* hasSecret("SERVICE_TOKEN"))
})

const make = Effect.gen(function* () {
  const provider = yield* ConfigProvider.ConfigProvider
  const read = makeReader(provider, yield* FileSystem.FileSystem)
  const problems: Array<Problem> = []
  const collect = <A>(value: Read<A>): Effect.Effect<Option.Option<A>> =>
    Effect.match(value, {
      onSuccess: Option.some,
      onFailure: (problem) => {
        problems.push(problem)
        return Option.none()
      }
    })
  const convexUrl = yield* collect(
    read.required("CONVEX_URL", readDeploymentUrl, "the deployment's address, e.g. https://name-123.convex.cloud")
  )
  const accountId = yield* collect(read.parsed("ACCOUNT_ID", readAccountId, "the account's id in Convex"))
  const key = Option.flatten(yield* collect(read.secret("CONVEX_DEPLOY_KEY")))
  const token = Option.flatten(yield* collect(read.secret("MISSION_CONTROL_TOKEN")))
  const given = Option.flatten(yield* collect(raw(provider, "MISSION_CONTROL_IDENTITY")))
  const identity = Option.flatMap(given, readIdentity)
  if (Option.isSome(given) && Option.isNone(identity)) {
    problems.push(`MISSION_CONTROL_IDENTITY is not an identity: set it to ${IDENTITY}`)
  }
  if (Option.isSome(key) && Option.isNone(given) && Option.isNone(token)) {
    problems.push(`MISSION_CONTROL_IDENTITY is missing: set it to ${IDENTITY}`)
  }
  if (Option.isNone(key) && Option.isNone(token)) {
    problems.push(
      "It does not say who you are: set CONVEX_DEPLOY_KEY and MISSION_CONTROL_IDENTITY, or MISSION_CONTROL_TOKEN"
    )
  }
  const signIn: Option.Option<SignIn> = Option.match(token, {
    onSome: (token) => Option.some({ _tag: "Token", token }),
    onNone: () => Option.zipWith(key, identity, (key, identity) => ({ _tag: "DeployKey", key, identity }))
  })
  if (problems.length > 0 || Option.isNone(convexUrl) || Option.isNone(signIn)) {
    return yield* new ConfigInvalid({ problems })
  }
  return PersonConfig.of({ convexUrl: convexUrl.value, accountId: Option.flatten(accountId), signIn: signIn.value })
})
