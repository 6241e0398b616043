import { describe, expectTypeOf, it } from "vitest"
import type { AnswerOf, functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { PulseAnswer, RuntimeCommands, ServedProtocols } from "../../src/domain/controlPlane/RuntimeCommands.ts"
import type { DeadLetter } from "../../src/domain/delivery/DeadLetter.ts"
import type { DeliveryContext } from "../../src/domain/delivery/DeliveryContext.ts"
import type {
  Allowed,
  Backlog,
  BrokenRun,
  ClaimAnswer,
  CompleteAnswer,
  ContextAnswers,
  FailAnswer,
  JoinAnswer,
  HeartbeatRun,
  NotificationRun,
  ReleaseAnswer,
  RenewAnswer,
  Run,
  Wake
} from "../../src/domain/delivery/Run.ts"
import type { RunDetails, RunView, StopAnswer } from "../../src/domain/delivery/RunView.ts"
import type { Profiles } from "../../src/domain/gateway/ProfilePlan.ts"
import type { FinishedHeartbeat, HeartbeatContext } from "../../src/domain/heartbeats/Heartbeat.ts"
import type { Roster } from "../../src/domain/tasks/Roster.ts"
import type { toolChanges, toolReads } from "../../src/domain/tasks/ToolAnswer.ts"
import type { UsageReport } from "../../src/domain/usage/UsageReport.ts"
import type { Rotated } from "../../src/services/Operator.ts"

type KeysOf<A> = A extends unknown ? keyof A : never
type ValueOf<A, Key> = A extends unknown ? (Key extends keyof A ? A[Key] : never) : never
type ItemOf<A> = Extract<A, ReadonlyArray<unknown>> extends ReadonlyArray<infer Item> ? Item : never
type ObjectsOf<A> = Exclude<Extract<A, object>, ReadonlyArray<unknown>>

/**
 * The fields of an answer that its reader does not know, by their path, at any depth; `*` is any item of an array. A
 * part that the reader does not decode is skipped.
 */
type Unread<Answer, Reader> = unknown extends Reader
  ? never
  : Answer extends string
    ? never // An Id is a string with a mark.
    : Answer extends ReadonlyArray<infer Item>
      ? Below<"*", Unread<Item, ItemOf<Reader>>>
      : Answer extends object
        ? {
            [Key in keyof Answer & string]-?: Key extends KeysOf<ObjectsOf<Reader>>
              ? Below<Key, Unread<Answer[Key], ValueOf<ObjectsOf<Reader>, Key>>>
              : Key
          }[keyof Answer & string]
        : never
type Below<Key extends string, Path> = Path extends string ? `${Key}.${Path}` : never

type ToolReaders = typeof toolReads & typeof toolChanges

/** The schema with which the runtime decodes each function's answer. */
interface Readers extends ToolReaders {
  readonly claim: typeof ClaimAnswer
  readonly renew: typeof RenewAnswer
  readonly join: typeof JoinAnswer
  readonly complete: typeof CompleteAnswer
  readonly fail: typeof FailAnswer
  readonly release: typeof ReleaseAnswer
  readonly updateAgentHeartbeat: typeof FinishedHeartbeat
  readonly recordUsage: { readonly Encoded: null }
  readonly allowUsage: typeof Allowed
  readonly usageReport: typeof UsageReport
  readonly context: typeof ContextAnswers
  readonly wake: typeof Wake
  readonly backlog: typeof Backlog
  readonly deadLetters: { readonly Encoded: ReadonlyArray<(typeof DeadLetter)["Encoded"]> }
  readonly retryDeadLetter: { readonly Encoded: null }
  readonly discardDeadLetter: { readonly Encoded: null }
  readonly runs: { readonly Encoded: ReadonlyArray<(typeof RunView)["Encoded"]> }
  readonly run: typeof RunDetails
  readonly stopRuns: typeof StopAnswer
  readonly runAgain: { readonly Encoded: null }
  readonly pause: { readonly Encoded: null }
  readonly resume: { readonly Encoded: null }
  readonly rotateSessions: typeof Rotated
  readonly pulse: typeof PulseAnswer
  readonly commands: typeof RuntimeCommands
  readonly reportProgress: { readonly Encoded: null }
  readonly acknowledge: { readonly Encoded: null }
  readonly protocol: typeof ServedProtocols
  readonly serviceFunctions: { readonly Encoded: ReadonlyArray<string> }
  readonly agents: typeof Roster
  readonly profiles: typeof Profiles
}

type Name = keyof typeof functions
type Answer<Of extends Name> = AnswerOf<(typeof functions)[Of]>

/** The functions whose answer the runtime could not decode. */
type Undecodable = { [Of in Name]: Answer<Of> extends Readers[Of]["Encoded"] ? never : Of }[Name]

/** The fields that functions return and the runtime ignores, as function and field. */
type Ignored = { [Of in Name]: Below<Of, Unread<Answer<Of>, Readers[Of]["Encoded"]>> }[Name]
/** The fields that the runtime reads and no function returns. */
type NeverAnswered = { [Of in Name]: Below<Of, Unread<Readers[Of]["Encoded"], Answer<Of>>> }[Name]

type ClaimedRun = Answer<"claim">["runs"][number]
type Claimed<Kind extends Run["kind"]> = Extract<ClaimedRun, { readonly kind: Kind; readonly context: unknown }>
type Broken = Extract<ClaimedRun, { readonly broken: unknown }>
type Preview = Extract<Answer<"context">[number], { readonly context: unknown }>["context"]

// tsc, which `npm test` runs first, checks these. At run time the tests do nothing.
describe("the answers of the functions in convex/", () => {
  it("are all decoded by the runtime's schemas", () => {
    expectTypeOf<Undecodable>().toEqualTypeOf<never>()
  })

  it("contain no field that the runtime ignores, except these", () => {
    expectTypeOf<Ignored>().toEqualTypeOf<
      // For a person who calls the function by hand.
      | "complete.messageId"
      // For people: `app/runtimes:list` shows the same commands.
      | `${"commands" | "pulse.commands"}.underway.${"takenAt" | "message"}`
      // A skill has one form, which agents also get as an answer.
      | "profiles.skills.*.id"
    >()
  })

  it("contain every field that the runtime reads", () => {
    expectTypeOf<NeverAnswered>().toEqualTypeOf<never>()
  })
})

describe("the runs of a claim, each of which the runtime decodes separately", () => {
  it("are decoded by the schema of their kind", () => {
    expectTypeOf<Claimed<"notification">>().toExtend<(typeof NotificationRun)["Encoded"]>()
    expectTypeOf<Claimed<"heartbeat">>().toExtend<(typeof HeartbeatRun)["Encoded"]>()
    expectTypeOf<Broken>().toExtend<(typeof BrokenRun)["Encoded"]>()
    expectTypeOf<Exclude<ClaimedRun, Claimed<"notification"> | Claimed<"heartbeat"> | Broken>>().toEqualTypeOf<never>()
  })

  it("contain no field that the runtime ignores, and every one that it reads", () => {
    expectTypeOf<Unread<Claimed<"notification">, (typeof NotificationRun)["Encoded"]>>().toEqualTypeOf<never>()
    expectTypeOf<Unread<Claimed<"heartbeat">, (typeof HeartbeatRun)["Encoded"]>>().toEqualTypeOf<never>()
    expectTypeOf<Unread<Broken, (typeof BrokenRun)["Encoded"]>>().toEqualTypeOf<never>()
    expectTypeOf<Unread<(typeof NotificationRun)["Encoded"], Claimed<"notification">>>().toEqualTypeOf<never>()
    expectTypeOf<Unread<(typeof HeartbeatRun)["Encoded"], Claimed<"heartbeat">>>().toEqualTypeOf<never>()
    expectTypeOf<Unread<(typeof BrokenRun)["Encoded"], Broken>>().toEqualTypeOf<never>()
  })

  it("have the same contexts as dry runs", () => {
    expectTypeOf<Preview>().toEqualTypeOf<Claimed<"notification">["context"]>()
    expectTypeOf<Preview>().toExtend<(typeof DeliveryContext)["Encoded"]>()
    expectTypeOf<Claimed<"heartbeat">["context"]>().toExtend<(typeof HeartbeatContext)["Encoded"]>()
  })
})

describe("the comparison", () => {
  it("finds a field at any depth, in arrays, and in a union with null", () => {
    interface Here {
      readonly a: string
      readonly b: ReadonlyArray<{ readonly c: number; readonly d?: boolean }> | null
      readonly e: { readonly f: string; readonly g: string } | null
    }
    interface There {
      readonly b: ReadonlyArray<{ readonly c: number }> | null
      readonly e: { readonly f: string } | null
    }
    expectTypeOf<Unread<Here, There>>().toEqualTypeOf<"a" | "b.*.d" | "e.g">()
    expectTypeOf<Unread<There, Here>>().toEqualTypeOf<never>()
  })
})
