import type { CanaryOutcome } from "../gateway/Canary.ts"
import type { ServedProtocols } from "../shared/Protocol.ts"
import type { RosterAgent } from "../tasks/Roster.ts"
import type { AddressFailure } from "./AddressFailure.ts"

/** What was found about the control plane. */
export interface ControlPlaneFindings {
  readonly url: string
  /** Null when a deployment answers. */
  readonly away: AddressFailure | null
  /** What it says against the token; null when it accepts it, undefined when that could not be asked. */
  readonly refusal: string | null | undefined
  /** The protocol versions that it serves; null when it does not report them. */
  readonly protocol: ServedProtocols | null
  /** The functions that it lacks; null when it does not list its functions. */
  readonly missing: ReadonlyArray<string> | null
  /** Its clock minus ours, in milliseconds, good to a second. */
  readonly skewMillis: number | null
  readonly agents: ReadonlyArray<Pick<RosterAgent, "slug" | "isOrchestrator" | "isPaused">> | null
  readonly callsPerMonth: number | null
  /** The models of the last week's usage that have no price. */
  readonly unpricedModels: ReadonlyArray<string> | null
}

/** What was found about the gateway; nulls where it could not be asked. */
export interface GatewayFindings {
  readonly url: string
  /** Started by the runtime itself, so that it may rightly be away now. */
  readonly isSupervised: boolean
  /** Whether the command that starts it exists; null for an external one. */
  readonly hasCommand: boolean | null
  /** Whether doctor has the token; a random one is known to the runtime and its gateway alone. */
  readonly isTokenKnown: boolean
  /** Whether the runtime writes its part of the configuration (OPENCLAW_PROFILE_SYNC). */
  readonly writesConfig: boolean
  /** Null when a gateway answers. */
  readonly away: AddressFailure | null
  readonly ready: { readonly isReady: boolean; readonly failing: ReadonlyArray<string> } | null
  readonly version: string | null
  /** HTTP status of GET /v1/models with the token, and the agents it lists, null when it is no list. */
  readonly models: { readonly status: number; readonly agents: ReadonlyArray<string> | null } | null
  /** HTTP status of GET /v1/responses: 405 where the endpoint is on. */
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
  /** What `config validate` of the gateway's command reported, `isValid` null for no report; null when not asked. */
  readonly validation: { readonly isValid: boolean | null; readonly detail: string } | null
  /** Null when not asked. */
  readonly canary: CanaryOutcome | null
}

/** What was found on this machine. */
export interface MachineFindings {
  readonly nodeVersion: string
  readonly paths: ReadonlyArray<{
    readonly use: "state" | "workspaces" | "texts"
    readonly path: string
    /** Null when it can be used. */
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
  /** Null when tracing is off; the way through a proxy is the exporter's alone. */
  readonly tracing: "proxied" | { readonly endpoint: string; readonly problem: AddressFailure | null } | null
}

/** Everything that the doctor looked at; the parts are null when the variables alone are wrong. */
export interface Findings {
  readonly problems: ReadonlyArray<string>
  readonly hints: ReadonlyArray<string>
  readonly controlPlane: ControlPlaneFindings | null
  readonly gateway: GatewayFindings | null
  readonly machine: MachineFindings | null
}
