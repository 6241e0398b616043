import { allVariables } from "../../domain/settings/Variables.ts"

const withhold = (names: ReadonlyArray<string>): Readonly<Record<string, undefined>> =>
  Object.fromEntries(names.map((name) => [name, undefined]))

/** Our secrets, and the paths of the files that hold them: no program that we start finds either in its environment. */
export const withheldSecrets = withhold(
  allVariables.flatMap(([name, { kind }]) => (kind === "secret" ? [name, `${name}_FILE`] : []))
)

/** What programs of others that we start do not find: our secrets, and the way to the service manager. */
export const withheldFromChildren: Readonly<Record<string, undefined>> = {
  ...withheldSecrets,
  ...withhold(["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"])
}
