import { Effect } from "effect"
import { EventClient } from "../gateway-contract/eventClient.ts"
import { eventually } from "./setup.ts"

/** Stops a session's run as OpenClaw's Stop button does. Retries until a run was stopped. */
export const stopInOpenClaw = (gateway: { readonly url: string; readonly token: string }, key: string) =>
  Effect.gen(function* () {
    const { client } = yield* Effect.acquireRelease(
      Effect.promise(() => EventClient.open(gateway, ["operator.read", "operator.write"])),
      ({ client }) => Effect.promise(() => client[Symbol.asyncDispose]())
    )
    yield* eventually(
      Effect.promise(() => client.request("sessions.abort", { key })),
      ({ payload }) => (payload as { readonly status: string }).status === "aborted"
    )
  }).pipe(Effect.scoped)
