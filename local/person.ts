import { ConvexHttpClient } from "convex/browser"
import { makeFunctionReference } from "convex/server"
import type { Value } from "convex/values"

/** A person who uses the control plane's public functions, as the web application does. */
export type Person = {
  readonly query: (path: string, args: Record<string, Value>) => Promise<any>
  readonly mutation: (path: string, args: Record<string, Value>) => Promise<any>
}

/** A client that acts as a person with the deployment's admin or deploy key. */
type AdminClient = ConvexHttpClient & {
  setAdminAuth(adminKey: string, identity: Record<string, string>): void
}

/** The identity of the person of that name. */
export const identityOf = (name: string) => ({
  issuer: "https://local.invalid",
  subject: name.toLowerCase(),
  name
})

/** The person of that name, with the admin key of the plane or the deploy key of a deployment. */
export const personAt = (planeUrl: string, adminKey: string, name = "Pat"): Person => {
  const client = new ConvexHttpClient(planeUrl, { logger: false, skipConvexDeploymentUrlCheck: true }) as AdminClient
  const identity = identityOf(name)
  client.setAdminAuth(adminKey, { ...identity, tokenIdentifier: `${identity.issuer}|${identity.subject}` })
  return {
    query: (path, args) => client.query(makeFunctionReference<"query">(path), args),
    mutation: (path, args) => client.mutation(makeFunctionReference<"mutation">(path), args, { skipQueue: true })
  }
}
