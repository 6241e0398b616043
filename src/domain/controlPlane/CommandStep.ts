import { isOnVersion, isVersion } from "../shared/Versions.ts"
import type { RuntimeCommands, VersionChange } from "./RuntimeCommands.ts"

/** This process's boot and versions; `openclaw` is null until the gateway has reported its version. */
export interface RunningVersions {
  readonly bootId: string
  readonly runtime: string
  readonly openclaw: string | null
}

/** The next step of the process for its commands. Pausing is separate, because it applies at once and in parallel. */
export type CommandStep =
  | { readonly _tag: "Nothing" }
  /** Drain and exit, so that the host starts the process again. */
  | { readonly _tag: "Restart"; readonly id: string }
  /** Hand the target versions to the host, then drain and exit. */
  | { readonly _tag: "ChangeVersion"; readonly change: VersionChange }
  /** The requested versions already run, which only has to be reported. */
  | { readonly _tag: "AlreadyThere"; readonly change: VersionChange }
  /** The request cannot be carried out. */
  | { readonly _tag: "Refuse"; readonly change: VersionChange; readonly reason: string }
  /** The change that an earlier boot started is complete with this one. */
  | { readonly _tag: "Arrived"; readonly change: VersionChange }

/** Whether the running versions are those that the change requests. */
export const isReached = (change: VersionChange, running: RunningVersions): boolean =>
  isOnVersion(change.runtimeVersion, running.runtime) && isOnVersion(change.openclawVersion, running.openclaw)

/**
 * The next step. Each request is tried once: a change that a boot has taken is not started again, however often the
 * host starts the old version; later boots only check whether it is complete. A change precedes a restart, which it
 * includes.
 */
export const nextStep = (commands: RuntimeCommands, running: RunningVersions): CommandStep => {
  const { restart, underway, upgrade } = commands
  if (underway !== null && underway.takenBy !== running.bootId && isReached(underway, running)) {
    return { _tag: "Arrived", change: underway }
  }
  if (upgrade !== null && underway === null) {
    const targets = [upgrade.runtimeVersion, upgrade.openclawVersion].filter((version) => version !== null)
    if (targets.length === 0) return { _tag: "Refuse", change: upgrade, reason: "it names no version" }
    if (!targets.every(isVersion)) {
      return {
        _tag: "Refuse",
        change: upgrade,
        reason: "a version has an invalid form, which is not passed to the host"
      }
    }
    return isReached(upgrade, running)
      ? { _tag: "AlreadyThere", change: upgrade }
      : { _tag: "ChangeVersion", change: upgrade }
  }
  return restart === null ? { _tag: "Nothing" } : { _tag: "Restart", id: restart.id }
}
