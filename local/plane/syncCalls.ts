import { normalPath } from "./app.ts"
import { type Call, type Result } from "./call.ts"
import { type Engine } from "./engine.ts"
import { callFaults, type Faults, overloaded } from "./faults.ts"
import { type Answered, type RequestLog } from "./requestLog.ts"
import { type CallMessage } from "./syncProtocol.ts"
import { type SyncSession } from "./syncSession.ts"
import { encodeTimestamp } from "./timestamp.ts"

/** Runs the mutations and actions that clients send over their sockets. */
export class SyncCalls {
  private readonly engine: Engine
  private readonly faults: Faults
  private readonly requests: RequestLog
  private readonly onMutated: () => void

  /** `onMutated` is called after each answered mutation, whose session then waits for a transition. */
  constructor(engine: Engine, faults: Faults, requests: RequestLog, onMutated: () => void) {
    this.engine = engine
    this.faults = faults
    this.requests = requests
    this.onMutated = onMutated
  }

  /** Runs a mutation, or answers a repeated one as the first time. */
  async mutate(session: SyncSession, message: CallMessage): Promise<void> {
    const { requestId } = message
    const earlier = await this.requests.find(session.id, requestId)
    const success = (answered: Answered): void => {
      session.send({
        type: "MutationResponse",
        requestId,
        success: true,
        result: answered.value,
        ts: encodeTimestamp(answered.timestamp),
        logLines: []
      })
      session.owesTransition = true
      this.onMutated()
    }
    if (earlier !== undefined) return success(earlier)
    const result = await this.serve(session, message, (call) =>
      this.requests.answer(session.id, requestId, () =>
        this.engine.run({ ...call, request: { session: session.id, id: requestId } })
      )
    )
    if (result === undefined) return
    if (result.status === "success") return success(result)
    this.sendFailure(session, "MutationResponse", requestId, result)
  }

  async act(session: SyncSession, message: CallMessage): Promise<void> {
    const { requestId } = message
    const result = await this.serve(session, message, (call) => this.engine.run(call))
    if (result === undefined) return
    if (result.status === "success") {
      session.send({ type: "ActionResponse", requestId, success: true, result: result.value, logLines: [] })
      return
    }
    this.sendFailure(session, "ActionResponse", requestId, result)
  }

  private sendFailure(
    session: SyncSession,
    type: "MutationResponse" | "ActionResponse",
    requestId: number,
    result: Exclude<Result, { status: "success" }>
  ): void {
    if (result.status === "unavailable") {
      // An overloaded deployment closes the socket. The client reconnects and sends the call again.
      session.socket.close(1013, result.code)
      return
    }
    session.send({
      type,
      requestId,
      success: false,
      result: result.errorMessage,
      ...(result.errorData === undefined ? {} : { errorData: result.errorData }),
      logLines: []
    })
  }

  /** Runs a call with the fault that hits it. Returns undefined if the client gets no answer. */
  private async serve(
    session: SyncSession,
    message: CallMessage,
    run: (call: Call) => Promise<Result>
  ): Promise<Result | undefined> {
    const path = normalPath(message.udfPath)
    const fault = this.faults.take(callFaults, path, "websocket")
    switch (fault?.kind) {
      case "refuse":
        session.socket.terminate()
        return undefined
      case "hang":
        return undefined
      case "overload":
        session.socket.close(1013, overloaded.code)
        return undefined
      case "error":
        return {
          status: "error",
          errorMessage: "[Request ID: 0000000000000000] Server Error",
          reads: undefined as never
        }
    }
    const result = await run({
      path,
      kind: message.type === "Mutation" ? "mutation" : "action",
      args: message.args[0] ?? {},
      ...session.caller,
      origin: "client"
    })
    if (fault?.kind === "drop") {
      session.socket.terminate()
      return undefined
    }
    if (fault?.kind === "delay") await new Promise((resolve) => setTimeout(resolve, fault.milliseconds ?? 0))
    return result
  }
}
