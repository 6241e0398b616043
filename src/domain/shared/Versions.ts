/** Whether a text has the form of a version: letters, digits, dots, `+` and `-`, at most 64 characters. */
export const isVersion = (text: string): boolean => /^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$/.test(text)

/** "v1.2.0" and "1.2.0" are the same version. */
const bare = (version: string): string => version.replace(/^v(?=\d)/, "")

/** Whether the running version is the target. Every version is if the target is null; an unknown one is not. */
export const isOnVersion = (target: string | null, running: string | null): boolean =>
  target === null || (running !== null && bare(target) === bare(running))

/** The versions of a request; null for one that does not change, or is not known. */
interface VersionPair {
  readonly runtimeVersion: string | null
  readonly openclawVersion: string | null
}

/** "runtime 1.1.0, OpenClaw 2026.9.6". */
export const describeVersions = ({ openclawVersion, runtimeVersion }: VersionPair): string =>
  [
    ...(runtimeVersion === null ? [] : [`runtime ${runtimeVersion}`]),
    ...(openclawVersion === null ? [] : [`OpenClaw ${openclawVersion}`])
  ].join(", ")

/** "upgrade to runtime 1.1.0, OpenClaw 2026.9.6", or "restart". */
export const describeRollout = ({
  kind,
  ...versions
}: VersionPair & { readonly kind: "upgrade" | "restart" }): string =>
  kind === "restart" ? kind : `${kind} to ${describeVersions(versions)}`
