import { internal } from "../../convex/_generated/api.js"
import { type Fate, FleetPlane, type SimulatedRuntime, type Tenant } from "./fleetPlane.ts"

export const minute = 60_000
/** The version that the upgrades install. The runtimes start with 1.0.0. */
export const target = "1.1.0"
export const { waves } = internal.operator

/** A deployment with one account for each of these lists of runtimes, named A0, A1 and so on. */
export const fleetOf = async (...fates: ReadonlyArray<ReadonlyArray<Fate>>) => {
  const plane = await FleetPlane.start()
  const tenants: Array<Tenant> = []
  const runtimes: Array<Array<SimulatedRuntime>> = []
  for (const [index, each] of fates.entries()) {
    const tenant = await plane.addTenant(`A${index}`)
    tenants.push(tenant)
    const own: Array<SimulatedRuntime> = []
    for (const [number, fate] of each.entries()) own.push(await plane.addRuntime(tenant, `r${number + 1}`, fate))
    runtimes.push(own)
  }
  const ids = tenants.map(({ accountId }) => accountId as string)
  /** Starts an upgrade, the accounts in waves of these sizes. */
  const upgrade = (sizes: ReadonlyArray<number>, more: { deadlineMs?: number; observeMs?: number } = {}) => {
    const left = [...ids]
    return plane.call(waves.upgrade, {
      runtimeVersion: target,
      waves: sizes.map((size) => left.splice(0, size)),
      ...more
    })
  }
  const accounts = async () => (await plane.call(waves.accounts, {})).accounts
  const states = async () => (await accounts()).map(({ state }) => state)
  const reasons = async () => (await accounts()).map(({ reason }) => reason)
  const show = () => plane.call(waves.show, {})
  const state = async () => (await show()).state
  const activities = (index: number) =>
    plane
      .rows("activities")
      .flatMap(({ accountId, summary, type }) => (accountId === ids[index] && type === "rollout" ? [summary] : []))
  return { plane, tenants, runtimes, ids, upgrade, accounts, states, reasons, show, state, activities }
}
export type FleetInWaves = Awaited<ReturnType<typeof fleetOf>>

/** The versions that the runtimes of each account run. */
export const versionsOf = ({ runtimes }: FleetInWaves) =>
  runtimes.map((own) => own.map(({ versions }) => versions.runtime))
/** The commands of all accounts that have not ended. */
export const openCommands = ({ plane }: FleetInWaves) => plane.rows("runtimeCommands").filter(({ isOpen }) => isOpen)
