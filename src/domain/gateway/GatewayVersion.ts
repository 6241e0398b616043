/** A release of OpenClaw: the year, month and number of its version. */
export interface GatewayVersion {
  readonly year: number
  readonly month: number
  readonly release: number
}

/** What a version means for the runtime. `message` says what differs and what to do; null if nothing differs. */
export type VersionVerdict =
  | { readonly _tag: "Supported"; readonly message: null }
  | { readonly _tag: "Newer" | "Older" | "Unknown"; readonly message: string }
  | { readonly _tag: "Refused"; readonly message: string }

const OLDEST_USABLE: GatewayVersion = { year: 2026, month: 5, release: 28 }
const OLDEST_TESTED: GatewayVersion = { year: 2026, month: 8, release: 2 }
const NEWEST_TESTED: GatewayVersion = { year: 2026, month: 9, release: 6 }
/** Releases before this one have security advisories. */
const ADVISORIES_BELOW: GatewayVersion = { year: 2026, month: 4, release: 20 }

const form = /(?:^|[^\d.])(\d{4})\.(\d{1,2})\.(\d{1,4})(?![\d.])/

/** The version in the output of `openclaw --version` or the answer of `/startupz`; null if there is none. */
export const parseGatewayVersion = (text: string): GatewayVersion | null => {
  const [, year, month, release] = form.exec(text) ?? []
  return year === undefined ? null : { year: Number(year), month: Number(month), release: Number(release) }
}

/** The version as OpenClaw writes it. */
export const showGatewayVersion = ({ month, release, year }: GatewayVersion): string => `${year}.${month}.${release}`

/** Negative, zero or positive if the first is older than, equal to or newer than the second. */
export const compareGatewayVersions = (a: GatewayVersion, b: GatewayVersion): number =>
  a.year - b.year || a.month - b.month || a.release - b.release

const isBelow = (a: GatewayVersion, b: GatewayVersion): boolean => compareGatewayVersions(a, b) < 0

/** The oldest and the newest version that the runtime supports. */
export const testedGatewayVersions = { oldest: OLDEST_TESTED, newest: NEWEST_TESTED } as const

const tested = `${showGatewayVersion(OLDEST_TESTED)} to ${showGatewayVersion(NEWEST_TESTED)}`

/** Whether the runtime works with this version of the gateway; null is a version that the gateway does not report. */
export const judgeGatewayVersion = (version: GatewayVersion | null): VersionVerdict => {
  if (version === null) {
    return {
      _tag: "Unknown",
      message: `the gateway does not report its version, so it is older than ${showGatewayVersion(OLDEST_TESTED)} or not OpenClaw; tested versions are ${tested}`
    }
  }
  const shown = showGatewayVersion(version)
  if (isBelow(version, ADVISORIES_BELOW)) {
    return {
      _tag: "Refused",
      message: `OpenClaw ${shown} is refused: it has security advisories and returns no tool calls; install ${tested}`
    }
  }
  if (isBelow(version, OLDEST_USABLE)) {
    return {
      _tag: "Refused",
      message: `OpenClaw ${shown} is refused: tool calls of its agents get lost; install ${tested}`
    }
  }
  if (isBelow(version, OLDEST_TESTED)) {
    return {
      _tag: "Older",
      message: `OpenClaw ${shown} is older than the tested versions (${tested}): it reads agents only from agents.list, which profile sync does not write, and runs unknown agents instead of refusing them`
    }
  }
  if (isBelow(NEWEST_TESTED, version)) {
    return {
      _tag: "Newer",
      message: `OpenClaw ${shown} is newer than the tested versions (${tested}): the runtime tries one tool call first`
    }
  }
  return { _tag: "Supported", message: null }
}
