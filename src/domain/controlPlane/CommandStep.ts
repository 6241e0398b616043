import type { RuntimeCommands, VersionChange } from "./RuntimeCommands.ts"

/** What this process is: which boot, and which versions run; `openclaw` is null until the gateway has told. */
export interface RunningVersions {
  readonly bootId: string
  readonly runtime: string
  readonly openclaw: string | null
}

/** What the process does about the commands next; the pause is apart, since it holds at once and beside everything. */
export type CommandStep =
  | { readonly _tag: "Nothing" }
  /** Drain and end, to be started again. */
  | { readonly _tag: "Restart"; readonly id: string }
  /** Hand the target versions over, then drain and end. */
  | { readonly _tag: "ChangeVersion"; readonly change: VersionChange }
  /** The versions asked for run already: nothing is done but to say so. */
  | { readonly _tag: "AlreadyThere"; readonly change: VersionChange }
  /** What was asked for cannot be carried out. */
  | { readonly _tag: "Refuse"; readonly change: VersionChange; readonly reason: string }
  /** A change that an earlier boot began has arrived with this one. */
  | { readonly _tag: "Arrived"; readonly change: VersionChange }

const versionForm = /^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$/

/** "v1.2.0" and "1.2.0" are the same version. */
const bare = (version: string): string => version.replace(/^v(?=\d)/, "")

const isSame = (target: string | null, running: string | null): boolean =>
  target === null || (running !== null && bare(target) === bare(running))

/** Whether what runs is what the change asks for. */
export const isReached = (change: VersionChange, running: RunningVersions): boolean =>
  isSame(change.runtimeVersion, running.runtime) && isSame(change.openclawVersion, running.openclaw)

/** "runtime 1.1.0, OpenClaw 2026.9.6": the target of a change in words. */
export const describeTarget = ({ openclawVersion, runtimeVersion }: VersionChange): string =>
  [
    ...(runtimeVersion === null ? [] : [`runtime ${runtimeVersion}`]),
    ...(openclawVersion === null ? [] : [`OpenClaw ${openclawVersion}`])
  ].join(", ")

/**
 * The next step. One try for each request: a change that a boot has taken is never begun again, however often the host
 * starts the old version; it is only watched for its arrival. A change goes before a restart, which it includes.
 */
export const nextStep = (commands: RuntimeCommands, running: RunningVersions): CommandStep => {
  const { restart, underway, upgrade } = commands
  if (underway !== null && underway.takenBy !== running.bootId && isReached(underway, running)) {
    return { _tag: "Arrived", change: underway }
  }
  if (upgrade !== null && underway === null) {
    const targets = [upgrade.runtimeVersion, upgrade.openclawVersion].filter((version) => version !== null)
    if (targets.length === 0) return { _tag: "Refuse", change: upgrade, reason: "it names no version" }
    if (!targets.every((version) => versionForm.test(version))) {
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
