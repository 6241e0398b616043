import type { CanaryOutcome } from "../gateway/Canary.ts"
import type { ServedProtocols } from "../shared/Protocol.ts"
import type { RosterAgent } from "../tasks/Roster.ts"
import type { AddressFailure } from "./AddressFailure.ts"

/** What the doctor found out about the control plane. */
export interface ControlPlaneFindings {
  readonly url: string
  /** Null if a deployment answers. */
  readonly unreachable: AddressFailure | null
  /** Why it refuses the token; null if it accepts the token, undefined if that could not be checked. */
  readonly refusal: string | null | undefined
  /** The protocol versions that it serves; null if it does not report them. */
  readonly protocol: ServedProtocols | null
  /** The functions that it lacks; null if it does not list its functions. */
  readonly missing: ReadonlyArray<string> | null
  /** Its clock minus this machine's in milliseconds, to within a second. */
  readonly skewMillis: number | null
  readonly agents: ReadonlyArray<Pick<RosterAgent, "slug" | "isOrchestrator" | "isPaused">> | null
  readonly callsPerMonth: number | null
  /** The models of the last week's usage that have no price. */
  readonly unpricedModels: ReadonlyArray<string> | null
}

/** What the doctor found out about the gateway; null where it could not be asked. */
export interface GatewayFindings {
  readonly url: string
  /** The runtime starts it, so it does not run while the runtime does not. */
  readonly isSupervised: boolean
  /** Whether the command that starts it exists; null if the runtime does not start it. */
  readonly hasCommand: boolean | null
  /** Whether the doctor has the token; only the runtime and its gateway know a random one. */
  readonly isTokenKnown: boolean
  /** Whether the runtime writes its part of the configuration (OPENCLAW_PROFILE_SYNC). */
  readonly writesConfig: boolean
  /** Null if a gateway answers. */
  readonly unreachable: AddressFailure | null
  readonly ready: { readonly isReady: boolean; readonly failing: ReadonlyArray<string> } | null
  readonly version: string | null
  /** HTTP status of GET /v1/models with the token, and the agents that it lists; null for another answer. */
  readonly models: { readonly status: number; readonly agents: ReadonlyArray<string> | null } | null
  /** HTTP status of GET /v1/responses: 405 if the endpoint is on. */
  readonly responsesStatus: number | null
  /** Its configuration file. */
  readonly config:
    | { readonly _tag: "Absent" }
    | { readonly _tag: "Broken"; readonly detail: string }
    | {
        readonly _tag: "Read"
        readonly toolSearch: unknown
        readonly deniesAll: boolean
        readonly responses: unknown
        /** The setting by which it resets the agents' sessions; null if it does not. */
        readonly sessionReset: { readonly key: string; readonly mode: unknown } | null
      }
  /** What `config validate` of the gateway's command reported, `isValid` null without a report; null if not asked. */
  readonly validation: { readonly isValid: boolean | null; readonly detail: string } | null
  /** Null if not asked. */
  readonly canary: CanaryOutcome | null
}

/** What the doctor found out about this machine. */
export interface MachineFindings {
  readonly nodeVersion: string
  readonly paths: ReadonlyArray<{
    readonly use: "state" | "workspaces" | "texts"
    readonly path: string
    /** Null if it can be used. */
    readonly problem: string | null
  }>
  readonly syncsProfiles: boolean
  readonly healthAddress: string
  readonly healthPort: "free" | "runtime" | "taken"
  readonly healthIsLoopback: boolean
  readonly allowsOnlyLoopback: boolean
  readonly baseUrl: string
  readonly baseUrlIsLoopback: boolean
  readonly gatewayIsLoopback: boolean
  readonly clientToolsEnabled: boolean
  readonly toolNames: ReadonlyArray<string>
  readonly requestTimeoutMillis: number
  readonly turnTimeoutMillis: number
  /**
   * Null without an endpoint for traces and logs; `proxied` is not checked, because only the exporter uses the proxy.
   */
  readonly tracing: "proxied" | { readonly endpoint: string; readonly problem: AddressFailure | null } | null
}

/** All findings; the parts are null if the variables are invalid. */
export interface Findings {
  readonly problems: ReadonlyArray<string>
  readonly hints: ReadonlyArray<string>
  readonly controlPlane: ControlPlaneFindings | null
  readonly gateway: GatewayFindings | null
  readonly machine: MachineFindings | null
}
