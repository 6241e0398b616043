import { allVariables } from "../../domain/settings/Variables.ts"

const withhold = (names: ReadonlyArray<string>): Readonly<Record<string, undefined>> =>
  Object.fromEntries(names.map((name) => [name, undefined]))

/** Our secrets and the paths of their files; no program that we start has them in its environment. */
export const withheldSecrets = withhold(
  allVariables.flatMap(([name, { kind }]) => (kind === "secret" ? [name, `${name}_FILE`] : []))
)

/** Variables that other people's programs do not get: our secrets, and the address of the service manager. */
export const withheldFromChildren: Readonly<Record<string, undefined>> = {
  ...withheldSecrets,
  ...withhold(["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"])
}
