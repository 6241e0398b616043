import { afterEach, beforeAll, describe } from "vitest"
import { agentCases } from "./agents.ts"
import { bodyCases } from "./bodies.ts"
import { concurrencyCases } from "./concurrency.ts"
import { eventCases } from "./events.ts"
import { providerCases } from "./provider.ts"
import { routeCases } from "./routes.ts"
import { silenceCases } from "./silence.ts"
import { streamingCases } from "./streaming.ts"
import { Contract, type Target } from "./target.ts"
import { toolCases } from "./tools.ts"
import { turnCases } from "./turns.ts"
import { workspaceCases } from "./workspaces.ts"

/**
 * The contract of `POST /v1/responses`, its neighbours, and the events of its runs. It runs against the scripted gateway and the real one, so
 * that a difference is found. If the two disagree, the real one is right.
 */
export const gatewayContract = (connect: () => Promise<Target>): void => {
  let contract: Contract
  const current = () => contract

  beforeAll(async () => {
    contract = new Contract(await connect())
    await contract.reset()
  })
  afterEach(() => contract.reset())

  describe("routes", () => routeCases(current))
  describe("bodies", () => bodyCases(current))
  describe("agents and sessions", () => agentCases(current))
  describe("turns", () => turnCases(current))
  describe("tools", () => toolCases(current))
  describe("silence", () => silenceCases(current))
  describe("the provider", () => providerCases(current))
  describe("events", () => eventCases(current))
  describe("concurrency and lifecycle", () => concurrencyCases(current))
  describe("workspaces", () => workspaceCases(current))
  describe("streaming", () => streamingCases(current))
}
