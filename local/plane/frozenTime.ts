import { AsyncLocalStorage } from "node:async_hooks"

const moment = new AsyncLocalStorage<number>()
const { now } = Date

Date.now = () => moment.getStore() ?? now()

/** Runs a query or mutation. As in a deployment, `Date.now` does not move while it runs. */
export const atOneMoment = <A>(work: () => A): A => moment.run(Date.now(), work)
