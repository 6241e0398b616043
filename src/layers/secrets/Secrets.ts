import { Context, Effect, Layer, Option, PubSub, Redacted, Semaphore, Stream } from "effect"
import { RuntimeConfig } from "../Config.ts"
import type { Credentials } from "../Config.ts"
import { Redactor } from "./Redactor.ts"

/** Emits when the secrets should be read again; main sets it to SIGHUP. */
export const ReloadSignal = Context.Reference<Stream.Stream<void>>("runtime-service/layers/secrets/Secrets/ReloadSignal", {
  defaultValue: () => Stream.never
})

const isSame = (left: Redacted.Redacted, right: Redacted.Redacted): boolean =>
  Redacted.value(left) === Redacted.value(right)
const isSameOption = Option.makeEquivalence(isSame)

/** The current credentials. Callers ask for them at each call, so that a new one is used without a restart. */
export class Secrets extends Context.Service<
  Secrets,
  {
    now(): Credentials
    /** Reads the files again; returns whether the service token differs from `used`. Never fails: on error the old secrets stay. */
    hasOtherServiceToken(used: Redacted.Redacted): Effect.Effect<boolean>
    /** The same for the gateway's token. */
    hasOtherGatewayToken(used: Option.Option<Redacted.Redacted>): Effect.Effect<boolean>
    /** Every later change of the service token. */
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
          // The redactor knows a secret before anything can use it. It keeps the old one, which may still be shown.
          const isOtherService = !isSame(before.serviceToken, next.serviceToken)
          const isOtherGateway = !isSameOption(before.gatewayToken, next.gatewayToken)
          if (isOtherService) yield* redactor.addSecret(next.serviceToken)
          if (isOtherGateway && Option.isSome(next.gatewayToken)) yield* redactor.addSecret(next.gatewayToken.value)
          current = next
          if (isOtherService) {
            yield* Effect.logInfo("service token changed")
            yield* PubSub.publish(changes, undefined)
          }
          if (isOtherGateway) yield* Effect.logInfo("gateway token changed")
        }).pipe(
          Effect.catch(({ problems }) =>
            Effect.logWarning(`secrets cannot be read, keeping the previous ones: ${problems.join("; ")}`)
          )
        )
      )

      const signal = yield* ReloadSignal
      yield* Effect.forkScoped(
        Stream.runForEach(signal, () => Effect.andThen(Effect.logInfo("reading secrets again"), reload))
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
