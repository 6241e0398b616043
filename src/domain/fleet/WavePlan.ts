/** Which accounts an upgrade or restart asks, and in which waves. */
import { Result } from "effect"
import { describeRollout, isOnVersion } from "../shared/Versions.ts"
import { counted } from "../text/Count.ts"
import { truncate } from "../text/Text.ts"
import { textTable } from "../text/TextTable.ts"
import type { FleetAccount } from "./FleetAccount.ts"

/** The request to the runtimes; null for a version that does not change. */
export interface RolloutTarget {
  readonly kind: "upgrade" | "restart"
  readonly runtimeVersion: string | null
  readonly openclawVersion: string | null
}

/** The size of a wave: a number of accounts, or a percentage of all that are asked. */
export type WaveSize = { readonly accounts: number } | { readonly percent: number }

/** Reads sizes such as `1,5%,25%,100%`. */
export const parseWaves = (text: string): Result.Result<ReadonlyArray<WaveSize>, string> => {
  const sizes: Array<WaveSize> = []
  for (const part of text.split(",").map((each) => each.trim())) {
    const [, digits = "", percent = ""] = /^(\d{1,6})(%?)$/.exec(part) ?? []
    const count = Number(digits)
    if (count === 0 || (percent === "%" && count > 100)) {
      return Result.fail(`${JSON.stringify(part)} is not the size of a wave. Write e.g. 1,5%,25%,100%.`)
    }
    sizes.push(percent === "%" ? { percent: count } : { accounts: count })
  }
  return Result.succeed(sizes)
}

type Named = Pick<FleetAccount, "id" | "name">

/** The accounts of a rollout. */
export interface WavePlan {
  readonly waves: ReadonlyArray<ReadonlyArray<Named>>
  readonly leftOut: ReadonlyArray<Named & { readonly reason: string }>
  /** Accounts that the waves are too small for. */
  readonly inNoWave: ReadonlyArray<Named>
}

const reasonToLeaveOut = ({ isBeingDeleted, runtimes }: FleetAccount, target: RolloutTarget): string | null => {
  if (isBeingDeleted) return "being deleted"
  const running = runtimes.filter(({ status }) => status !== "offline")
  if (running.length === 0) return "offline"
  const isThere = running.every(
    ({ versions }) =>
      isOnVersion(target.runtimeVersion, versions.runtime) && isOnVersion(target.openclawVersion, versions.openclaw)
  )
  return target.kind === "upgrade" && isThere ? "on the target already" : null
}

/** Divides accounts into waves, in their order. Leaves out those of which nothing can be asked. */
export const planWaves = (
  accounts: ReadonlyArray<FleetAccount>,
  target: RolloutTarget,
  sizes: ReadonlyArray<WaveSize>
): WavePlan => {
  const asked: Array<Named> = []
  const leftOut: Array<WavePlan["leftOut"][number]> = []
  for (const account of accounts) {
    const { id, name } = account
    const reason = reasonToLeaveOut(account, target)
    if (reason === null) asked.push({ id, name })
    else leftOut.push({ id, name, reason })
  }
  const left = [...asked]
  const waves = sizes
    .map((size) => ("accounts" in size ? size.accounts : Math.ceil((asked.length * size.percent) / 100)))
    .map((size) => left.splice(0, size))
    .filter((wave) => wave.length > 0)
  return { waves, leftOut, inNoWave: left }
}

/** The accounts with these ids, or all if none is named. Those named as first come before the others. */
export const selectAccounts = (
  accounts: ReadonlyArray<FleetAccount>,
  named: ReadonlyArray<string>,
  first: ReadonlyArray<string>
): ReadonlyArray<FleetAccount> => {
  const byId = new Map(accounts.map((account) => [account.id, account]))
  const others = named.length === 0 ? byId.keys() : named
  return [...new Set([...first, ...others])].flatMap((id) => byId.get(id) ?? [])
}

const NAMES = 5

const namesOf = (accounts: ReadonlyArray<Named>): string => {
  const more = accounts.length > NAMES ? ` and ${accounts.length - NAMES} more` : ""
  return `${accounts
    .slice(0, NAMES)
    .map(({ name }) => truncate(name, 20))
    .join(", ")}${more}`
}

/** The plan in words and a table. */
export const describePlan = (target: RolloutTarget, { inNoWave, leftOut, waves }: WavePlan): string => {
  const total = waves.reduce((sum, wave) => sum + wave.length, 0)
  const table = textTable(
    ["WAVE", "ACCOUNTS", ""],
    waves.map((wave, index) => [String(index + 1), String(wave.length), namesOf(wave)])
  )
  const reasons = new Set(leftOut.map(({ reason }) => reason))
  return [
    `${describeRollout(target)}: ${counted(total, "account")} in ${counted(waves.length, "wave")}`,
    ...(table === "" ? [] : [table]),
    ...[...reasons].map((reason) => {
      const those = leftOut.filter((each) => each.reason === reason)
      return `left out, ${reason}: ${those.length} (${namesOf(those)})`
    }),
    ...(inNoWave.length === 0
      ? []
      : [`in no wave: ${inNoWave.length} (${namesOf(inNoWave)}). End --waves with 100% to include them`])
  ].join("\n")
}
