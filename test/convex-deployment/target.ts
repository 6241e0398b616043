/** The deployment under test, as `npm run test:convex` names it, and accounts made for a test. */
import { randomUUID } from "node:crypto"
import { ConvexClient, ConvexHttpClient } from "convex/browser"
import type { FunctionArgs, FunctionReference, FunctionReturnType } from "convex/server"
import { ConvexError } from "convex/values"
import { api } from "../../convex/_generated/api.js"
import type { NeedsApproval } from "../../convex/model/tools/agentTool.ts"
import { makeAccount } from "../../local/account.ts"
import type { Account, NewAgent } from "../../local/account.ts"
import { personAt } from "../../local/person.ts"
import type { Person } from "../../local/person.ts"
import { PROTOCOL } from "../../src/domain/shared/Protocol.ts"

const setting = (name: string): string => {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is missing: run npm run test:convex`)
  return value
}

export const deploymentUrl = setting("CONVEX_TEST_URL")

/** Someone whom the deployment has not seen before. */
export const newPerson = (): Person =>
  personAt(deploymentUrl, setting("CONVEX_TEST_ADMIN_KEY"), `conformance ${randomUUID()}`)

/** A function's arguments without the account and the token. */
type Bare<F extends FunctionReference<any>> = Omit<FunctionArgs<F>, "accountId" | "serviceToken">

type Credentials = Pick<Account, "accountId" | "serviceToken">

const options = { logger: false, skipConvexDeploymentUrlCheck: true } as const

/** The functions that runtimes call, with these credentials. */
export const serviceOf = ({ accountId, serviceToken }: Credentials) => {
  const client = new ConvexHttpClient(deploymentUrl, options)
  return {
    query: <F extends FunctionReference<"query">>(reference: F, args: Bare<F>): Promise<FunctionReturnType<F>> =>
      client.query(reference, { ...args, accountId, serviceToken } as never),
    mutation: <F extends FunctionReference<"mutation">>(
      reference: F,
      args: Bare<F>
    ): Promise<Exclude<FunctionReturnType<F>, NeedsApproval>> =>
      client.mutation(reference, { ...args, accountId, serviceToken } as never, { skipQueue: true })
  }
}

/** A subscription's results: `next` resolves to the first one, also an earlier one, that satisfies. */
export const subscription = <F extends FunctionReference<"query">>(
  { accountId, serviceToken }: Credentials,
  reference: F,
  args: Bare<F>
) => {
  const client = new ConvexClient(deploymentUrl, options)
  const results: Array<FunctionReturnType<F> | Error> = []
  let changed = Promise.withResolvers<void>()
  const note = (result: FunctionReturnType<F> | Error): void => {
    results.push(result)
    changed.resolve()
    changed = Promise.withResolvers()
  }
  client.onUpdate(reference, { ...args, accountId, serviceToken } as never, note, note)
  return {
    next: async (satisfies: (result: FunctionReturnType<F> | Error) => boolean) => {
      for (;;) {
        const found = results.find(satisfies)
        if (found !== undefined) return found
        await changed.promise
      }
    },
    close: () => client.close()
  }
}

/** The lease of a run, as later calls name it. */
type Lease = { readonly session: string; readonly epoch: number }
const leaseOf = ({ epoch, session }: Lease): Lease => ({ session, epoch })

type ClaimOptions = {
  /** The claim's number; the next one when absent. */
  readonly number?: number
  readonly limit?: number
  readonly held?: ReadonlyArray<Lease>
}

/** A boot of a runtime, and the calls that it makes about its leases. */
const bootRuntime = async (service: ReturnType<typeof serviceOf>, runtimeId: string) => {
  const boot = { runtimeId, bootId: randomUUID() }
  await service.mutation(api.service.runtimes.pulse, {
    ...boot,
    protocol: PROTOCOL,
    status: "online",
    reasons: [],
    versions: { runtime: "1.0.0", openclaw: null },
    infrastructure: { dropletId: null, ipAddress: null, region: null },
    intervalMs: 60_000
  })
  let claims = 0
  return {
    claim: ({ held = [], limit = 8, number }: ClaimOptions = {}) =>
      service.mutation(api.service.notifications.claim, {
        ...boot,
        protocol: PROTOCOL,
        number: number ?? ++claims,
        limit,
        heartbeatLimit: 0,
        leaseMs: 90_000,
        maxAttempts: 8,
        maxTurns: 40,
        held: held.map(leaseOf),
        abandoned: [],
        recoverUnnamed: false
      }),
    renew: (leases: ReadonlyArray<Lease>) =>
      service.mutation(api.service.notifications.renew, { ...boot, leaseMs: 90_000, leases: leases.map(leaseOf) })
  }
}

/** A new account with one owner, a service token and a booted runtime. */
export const newAccount = async (team: ReadonlyArray<NewAgent>) => {
  const person = newPerson()
  const account = await makeAccount(person, team, "Conformance test")
  const { accountId } = account
  const service = serviceOf(account)
  return {
    account,
    person,
    service,
    /** Starts another boot, of the same runtime unless another one is named. */
    boot: (runtimeId = "conformance") => bootRuntime(service, runtimeId),
    /** Calls one of the functions that people use, in this account. */
    ask: (path: string, args: Record<string, any> = {}): Promise<any> => person.query(path, { accountId, ...args }),
    tell: (path: string, args: Record<string, any> = {}): Promise<any> => person.mutation(path, { accountId, ...args }),
    ...(await bootRuntime(service, "conformance"))
  }
}

/** The code with which a call was refused; null when it was not. Any other failure is the test's. */
export const codeOf = async (call: Promise<unknown>): Promise<string | null> => {
  try {
    await call
    return null
  } catch (error) {
    if (error instanceof ConvexError) return (error.data as { readonly code: string }).code
    throw error
  }
}
