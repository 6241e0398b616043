import type { Observation } from "../../src/layers/Metrics.ts"

/** The state of a runtime at a scrape when all is well and no gateway has answered yet. */
export const sampleObservation: Observation = {
  isReady: true,
  status: "online",
  failingAgents: 0,
  isPushConnected: true,
  oldestWaitingSeconds: 0,
  heartbeatOverdueSeconds: 0,
  breaker: "Closed",
  isGatewayUp: true,
  gatewayRestarts: 0,
  build: {
    accountId: "account_1",
    accountName: null,
    runtimeId: "runtime_1",
    runtimeVersion: "1.0.0",
    gatewayVersion: null
  }
}
