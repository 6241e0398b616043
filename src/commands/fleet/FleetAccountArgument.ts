import { Argument } from "effect/cli"

/** An account, for Fleet.account. */
export const account = Argument.String("account").pipe(
  Argument.withDescription("The account's key or name, or the beginning of its id or name")
)
