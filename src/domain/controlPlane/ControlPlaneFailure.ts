import { Schema } from "effect"
import { Recall } from "../delivery/Run.ts"

/** The control plane did not answer, was overloaded or had an internal error. The same call may be repeated. Shared. */
export class ControlPlaneUnavailable extends Schema.TaggedError<ControlPlaneUnavailable>()("ControlPlaneUnavailable", {
  function: Schema.String,
  detail: Schema.String
}) {}

/** The token is unknown, revoked, malformed or belongs to another account. */
export class TokenRefused extends Schema.TaggedError<TokenRefused>()("TokenRefused", {
  function: Schema.String,
  detail: Schema.String
}) {}

/** Another claim holds the session, or the lease was recalled: nothing was written. */
export class LeaseLost extends Schema.TaggedError<LeaseLost>()("LeaseLost", {
  function: Schema.String,
  recalled: Schema.optionalKey(Recall)
}) {}

/** A second process runs with the same RUNTIME_ID, or this one belongs to an earlier boot. */
export class BootConflict extends Schema.TaggedError<BootConflict>()("BootConflict", { detail: Schema.String }) {}

/** The deployment does not serve this runtime's protocol version: nothing was leased. */
export class ProtocolRefused extends Schema.TaggedError<ProtocolRefused>()("ProtocolRefused", {
  function: Schema.String,
  detail: Schema.String
}) {}

/** The control plane refused a valid call: not_found, invalid, conflict, limit. */
export class ControlPlaneRefused extends Schema.TaggedError<ControlPlaneRefused>()("ControlPlaneRefused", {
  function: Schema.String,
  code: Schema.String,
  detail: Schema.String
}) {}

/** All failures of a call of the control plane. */
export type ControlPlaneFailure =
  | ControlPlaneUnavailable
  | TokenRefused
  | LeaseLost
  | BootConflict
  | ProtocolRefused
  | ControlPlaneRefused

/** The failure's detail, or its class if it has none. */
export const describeFailure = (failure: ControlPlaneFailure): string =>
  failure._tag === "LeaseLost" ? failure._tag : failure.detail
