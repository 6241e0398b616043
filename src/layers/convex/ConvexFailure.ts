/** Why a call or subscription of Convex failed, as a typed failure. */
import { ConvexError } from "convex/values"
import { Option, Schema } from "effect"
import {
  BootConflict,
  ControlPlaneRefused,
  ControlPlaneUnavailable,
  LeaseLost,
  ProtocolRefused,
  TokenRefused
} from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import { Recall } from "../../domain/delivery/Run.ts"
import { describeAddressFailure, judgeAddress } from "../../domain/doctor/AddressFailure.ts"
import type { Address, HttpAnswer } from "../../domain/doctor/AddressFailure.ts"

const ErrorData = Schema.Struct({
  code: Schema.String,
  message: Schema.optionalKey(Schema.String),
  /** Distinguishes failures with the same code, for example a refused token from a policy's refusal. */
  reason: Schema.optionalKey(Schema.String)
})
const decodeErrorData = Schema.decodeUnknownOption(ErrorData)

/** Reasons of a conflict about this boot: a later boot runs, it has not sent a pulse, it has made its last claim. */
const bootReasons: ReadonlySet<string | undefined> = new Set(["superseded", "no_pulse", "ended"])

export const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

/** Maps a thrown value by the code of its ConvexError. `describe` describes other errors: transport, overload, a bug. */
export const failureOf = (
  path: string,
  cause: unknown,
  redact: (text: string) => string,
  describe: (cause: unknown) => string
): ControlPlaneFailure => {
  if (!(cause instanceof ConvexError)) {
    return new ControlPlaneUnavailable({ function: path, detail: redact(describe(cause)) })
  }
  const { code, message, reason } = Option.getOrElse(decodeErrorData(cause.data), () => ({
    code: "invalid",
    message: "no message",
    reason: ""
  }))
  const detail = redact(message ?? code)
  if (code === "unauthenticated" || (code === "forbidden" && reason === "token")) {
    return new TokenRefused({ function: path, detail })
  }
  if (code === "lease_lost") {
    return new LeaseLost({ function: path, ...(Schema.is(Recall)(reason) ? { recalled: reason } : {}) })
  }
  if (code === "conflict" && reason === "protocol") return new ProtocolRefused({ function: path, detail })
  if (code === "conflict" && bootReasons.has(reason)) return new BootConflict({ detail })
  return new ControlPlaneRefused({ function: path, code: redact(code), detail })
}

/**
 * Describes a failure that the function did not cause. If the answer is JSON as a deployment writes it, the library's
 * error has the deployment's message; otherwise the address is wrong or its server is down.
 */
export const describeFault = (address: Address, answer: HttpAnswer | undefined, cause: unknown): string => {
  if (answer === undefined) return describeAddressFailure(judgeAddress(address, { _tag: "Failed", cause }))
  const isRedirect = answer.status >= 300 && answer.status < 400
  const isJson = /\bjson\b/i.test(answer.contentType ?? "")
  const isDeployment = isJson && !isRedirect && !messageOf(cause).startsWith("Invalid response")
  return isDeployment ? messageOf(cause) : describeAddressFailure(judgeAddress(address, answer))
}
