import { Context, Effect, Layer, Option, PubSub, Redacted, Semaphore, Stream } from "effect"
import { RuntimeConfig } from "../Config.ts"
import type { Credentials } from "../Config.ts"
import { Redactor } from "./Redactor.ts"

/** Emits when somebody asks that secrets be read again; main sets it to SIGHUP. */
export const ReloadSignal = Context.Reference<Stream.Stream<void>>("runtime-service/layers/secrets/Secrets/ReloadSignal", {
  defaultValue: () => Stream.never
})

const isSame = (left: Redacted.Redacted, right: Redacted.Redacted): boolean =>
  Redacted.value(left) === Redacted.value(right)
const isSameOption = Option.makeEquivalence(isSame)

/** The credentials as they are now: asked for at each call, so that a new one holds without a restart. */
export class Secrets extends Context.Service<
  Secrets,
  {
    now(): Credentials
    /** Reads files again; says whether the service token is another one than `used`. Never fails: the old ones stay. */
    hasOtherServiceToken(used: Redacted.Redacted): Effect.Effect<boolean>
    /** The same for the gateway's token. */
    hasOtherGatewayToken(used: Option.Option<Redacted.Redacted>): Effect.Effect<boolean>
    /** Each change of the service token, from now on. */
    readonly serviceTokenChanges: Stream.Stream<void>
  }
>()("runtime-service/layers/secrets/Secrets") {
  static readonly layer = Layer.effect(
    Secrets,
    Effect.gen(function* () {
      const { gatewayToken, readCredentials, serviceToken } = yield* RuntimeConfig
      const redactor = yield* Redactor
      const changes = yield* PubSub.unbounded<void>()
      const onlyOne = yield* Semaphore.make(1)
      let current: Credentials = { serviceToken, gatewayToken }

      const reload = onlyOne.withPermit(
        Effect.gen(function* () {
          const before = current
          const next = yield* readCredentials
          // Known to the redactor before anything can use it; the old one stays known, since it may still be shown.
          const isOtherService = !isSame(before.serviceToken, next.serviceToken)
          const isOtherGateway = !isSameOption(before.gatewayToken, next.gatewayToken)
          if (isOtherService) yield* redactor.addSecret(next.serviceToken)
          if (isOtherGateway && Option.isSome(next.gatewayToken)) yield* redactor.addSecret(next.gatewayToken.value)
          current = next
          if (isOtherService) {
            yield* Effect.logInfo("the service token is a new one")
            yield* PubSub.publish(changes, undefined)
          }
          if (isOtherGateway) yield* Effect.logInfo("the gateway's token is a new one")
        }).pipe(
          Effect.catch(({ problems }) =>
            Effect.logWarning(`the secrets read before stay in use: ${problems.join("; ")}`)
          )
        )
      )

      const signal = yield* ReloadSignal
      yield* Effect.forkScoped(
        Stream.runForEach(signal, () => Effect.andThen(Effect.logInfo("reading the secrets again"), reload))
      )

      return Secrets.of({
        now: () => current,
        hasOtherServiceToken: (used) =>
          isSame(used, current.serviceToken)
            ? Effect.map(reload, () => !isSame(used, current.serviceToken))
            : Effect.succeed(true),
        hasOtherGatewayToken: (used) => {
          const isOther = () => !isSameOption(used, current.gatewayToken)
          return isOther() ? Effect.succeed(true) : Effect.map(reload, isOther)
        },
        serviceTokenChanges: Stream.fromPubSub(changes)
      })
    })
  )
}
