import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { NotificationType, TaskStatus } from "../../../src/domain/delivery/DeliveryContext.ts"
import type { Actor, DeliveryContext, NotificationEvent } from "../../../src/domain/delivery/DeliveryContext.ts"
import { divideEvents, shouldDeliverToAgent } from "../../../src/domain/delivery/DeliveryPolicy.ts"
import {
  defaultFlags,
  engineer,
  lead,
  person,
  quality,
  sampleContext,
  sampleMessage,
  sampleEvent,
  sampleTask,
  system
} from "./sampleContext.ts"

/** Who may receive: what the policy asks of them. */
const recipients = {
  orchestrator: { actor: lead, isOrchestrator: true, canReviewTasks: false, isAssignee: false },
  "assigned orchestrator": { actor: lead, isOrchestrator: true, canReviewTasks: false, isAssignee: true },
  reviewer: { actor: quality, isOrchestrator: false, canReviewTasks: true, isAssignee: false },
  "assigned reviewer": { actor: quality, isOrchestrator: false, canReviewTasks: true, isAssignee: true },
  assignee: { actor: engineer, isOrchestrator: false, canReviewTasks: false, isAssignee: true },
  bystander: { actor: engineer, isOrchestrator: false, canReviewTasks: false, isAssignee: false }
} as const
type Recipient = keyof typeof recipients

const other: Actor = { type: "agent", id: "agent_other", name: "Other", slug: "other" }
const authors = ["person", "recipient", "orchestrator", "other agent", "system"] as const
type Author = (typeof authors)[number]

const actorOf = (author: Author, recipient: Recipient): Actor => {
  switch (author) {
    case "person":
      return person
    case "recipient":
      return recipients[recipient].actor
    case "orchestrator":
      return lead
    case "other agent":
      return other
    case "system":
      return system
  }
}

/** One cell of the matrix. */
interface Cell {
  readonly type: NotificationType
  readonly status: TaskStatus | null
  readonly recipient: Recipient
  readonly author: Author
  /** What the event's message itself answered. */
  readonly source: NotificationType | null
  readonly isChat: boolean
  /** What the task became, for a change of status. */
  readonly newStatus: TaskStatus | null
}
type TaskStatus = typeof TaskStatus.Type

const contextOf = (cell: Cell): { readonly context: DeliveryContext; readonly event: NotificationEvent } => {
  const { actor, canReviewTasks, isAssignee, isOrchestrator } = recipients[cell.recipient]
  const author = actorOf(cell.author, cell.recipient)
  const event = sampleEvent({
    type: cell.type,
    actor: author,
    message:
      cell.type === "status_change" || cell.type === "assignment"
        ? null
        : sampleMessage({ author, answersType: cell.source }),
    newStatus: cell.newStatus
  })
  return {
    event,
    context: sampleContext({
      events: [event],
      agent: {
        id: actor.id ?? "",
        slug: actor.slug ?? "",
        name: actor.name,
        role: "Role",
        isOrchestrator,
        flags: { ...defaultFlags, canReviewTasks }
      },
      recipientIsAssignee: isAssignee,
      task: cell.status === null ? null : sampleTask({ status: cell.status, isOrchestratorChat: cell.isChat })
    })
  }
}

const verdictOf = (cell: Partial<Cell>) => {
  const { context, event } = contextOf({
    type: "thread_update",
    status: "in_progress",
    recipient: "assignee",
    author: "person",
    source: null,
    isChat: false,
    newStatus: null,
    ...cell
  })
  return shouldDeliverToAgent(context, event)
}

const isDelivered = (cell: Partial<Cell>): boolean => verdictOf(cell).shouldDeliver

const types = NotificationType.literals
const statuses = TaskStatus.literals

describe("rule 1, a removed task", () => {
  it("skips every event, also a person's message and those for the orchestrator", () => {
    for (const recipient of Object.keys(recipients) as ReadonlyArray<Recipient>) {
      for (const type of types) {
        for (const author of authors) assert.isFalse(isDelivered({ recipient, type, author, status: null }))
      }
    }
  })
})

describe("rule 2, the orchestrator's chat", () => {
  it("delivers everything to the orchestrator and nothing to others, in any status", () => {
    for (const type of types) {
      for (const status of statuses) {
        assert.isTrue(isDelivered({ type, status, isChat: true, recipient: "orchestrator" }))
        assert.isFalse(isDelivered({ type, status, isChat: true, recipient: "assignee" }))
        assert.isFalse(isDelivered({ type, status, isChat: true, recipient: "assigned reviewer" }))
      }
    }
  })
})

describe("rule 3, archived tasks", () => {
  it("deliver a person's mention and nothing else", () => {
    for (const type of types) {
      for (const author of authors) {
        assert.strictEqual(
          isDelivered({ type, author, status: "archived" }),
          type === "mention" && author === "person",
          `${type} by ${author}`
        )
      }
    }
  })
})

describe("rule 4, thread updates on done and blocked tasks", () => {
  it("are never delivered on done ones", () => {
    for (const author of authors) assert.isFalse(isDelivered({ status: "done", author }))
  })

  it("are delivered on blocked ones only from people and the orchestrator", () => {
    assert.isTrue(isDelivered({ status: "blocked", author: "person" }))
    assert.isTrue(isDelivered({ status: "blocked", author: "orchestrator" }))
    assert.isFalse(isDelivered({ status: "blocked", author: "other agent" }))
    assert.isFalse(isDelivered({ status: "blocked", author: "system" }))
  })

  it("do not concern mentions and requests", () => {
    for (const type of ["mention", "response_request"] as const) {
      assert.isTrue(isDelivered({ type, status: "done", author: "other agent" }))
      assert.isTrue(isDelivered({ type, status: "blocked", author: "other agent" }))
    }
  })
})

describe("rule 5, assignments", () => {
  it("are delivered while the task is open and the recipient still assigned", () => {
    for (const status of ["inbox", "assigned", "in_progress", "review"] as const) {
      assert.isTrue(isDelivered({ type: "assignment", status }))
      assert.isFalse(isDelivered({ type: "assignment", status, recipient: "bystander" }))
    }
  })

  it("start no turn on a task that is done, blocked or archived in the meantime, for any assigner", () => {
    for (const status of ["done", "blocked", "archived"] as const) {
      for (const author of authors) assert.isFalse(isDelivered({ type: "assignment", status, author }))
    }
  })
})

describe("rule 6, changes of status", () => {
  it("to done and blocked are not delivered", () => {
    assert.isFalse(isDelivered({ type: "status_change", status: "done", newStatus: "done" }))
    const blocked = {
      type: "status_change",
      status: "blocked",
      newStatus: "blocked",
      recipient: "orchestrator"
    } as const
    assert.isFalse(isDelivered(blocked))
  })

  it("that are no longer true start no turn, also no review", () => {
    for (const status of ["done", "blocked", "archived", "in_progress"] as const) {
      const review = { type: "status_change", newStatus: "review", recipient: "reviewer", status } as const
      assert.isFalse(isDelivered(review), status)
    }
    assert.match(verdictOf({ type: "status_change", newStatus: "review", status: "blocked" }).reason, /is blocked$/)
    assert.isFalse(isDelivered({ type: "status_change", newStatus: "in_progress", status: "review" }))
  })

  it("to review are delivered to the orchestrator and reviewers", () => {
    const toReview = (recipient: Recipient) =>
      isDelivered({ type: "status_change", status: "review", newStatus: "review", recipient })
    assert.isTrue(toReview("orchestrator"))
    assert.isTrue(toReview("reviewer"))
    assert.isFalse(toReview("assignee"))
  })

  it("to others are delivered", () => {
    for (const newStatus of ["inbox", "assigned", "in_progress"] as const) {
      assert.isTrue(isDelivered({ type: "status_change", status: newStatus, newStatus }))
    }
  })
})

describe("rule 7, thread updates written by an agent", () => {
  it("are delivered to the orchestrator, unless it wrote itself", () => {
    assert.isTrue(isDelivered({ author: "other agent", recipient: "orchestrator" }))
    assert.isFalse(isDelivered({ author: "orchestrator", recipient: "orchestrator" }))
  })

  it("that answered an update are delivered only from the orchestrator to assignees and to reviewers in review", () => {
    const answered = (cell: Partial<Cell>) => isDelivered({ source: "thread_update", ...cell })
    assert.isFalse(answered({ author: "other agent", recipient: "assignee" }))
    assert.isFalse(answered({ author: "other agent", recipient: "reviewer", status: "review" }))
    assert.isTrue(answered({ author: "orchestrator", recipient: "assignee" }))
    assert.isTrue(answered({ author: "orchestrator", recipient: "reviewer", status: "review" }))
    assert.isFalse(answered({ author: "orchestrator", recipient: "reviewer" }))
    assert.isFalse(answered({ author: "orchestrator", recipient: "bystander" }))
  })

  it("are delivered to a reviewer of a task in review, and else only to the assigned", () => {
    assert.isTrue(isDelivered({ author: "other agent", recipient: "reviewer", status: "review" }))
    assert.isFalse(isDelivered({ author: "other agent", recipient: "reviewer", status: "in_progress" }))
    assert.isTrue(isDelivered({ author: "other agent", recipient: "assignee" }))
    assert.isFalse(isDelivered({ author: "other agent", recipient: "bystander" }))
  })

  it("that answered something else are judged like new messages", () => {
    for (const source of ["mention", "assignment", "response_request"] as const) {
      assert.isTrue(isDelivered({ author: "other agent", recipient: "assignee", source }))
    }
  })
})

describe("rule 8, everything else", () => {
  it("is delivered to any agent: people's messages, mentions and requests", () => {
    for (const recipient of Object.keys(recipients) as ReadonlyArray<Recipient>) {
      assert.isTrue(isDelivered({ recipient, author: "person" }))
      for (const type of ["mention", "response_request"] as const) {
        for (const author of authors) assert.isTrue(isDelivered({ recipient, type, author }))
      }
    }
  })
})

/** The policy a second time, by type and not in the order of the rules: what must hold for a delivery. */
const mustHold = (cell: Cell): boolean => {
  const { canReviewTasks, isAssignee, isOrchestrator } = recipients[cell.recipient]
  const isReviewer = isOrchestrator || canReviewTasks
  const byItself = cell.author === "recipient" || (cell.author === "orchestrator" && isOrchestrator)
  const byOrchestrator = cell.author === "orchestrator" || (cell.author === "recipient" && isOrchestrator)
  const byAgent = byItself || cell.author === "orchestrator" || cell.author === "other agent"
  const concerns = isAssignee || (cell.status === "review" && isReviewer)
  if (cell.status === null) return false
  if (cell.isChat) return isOrchestrator
  const livesOn = cell.status !== "archived"
  const isOpen = livesOn && cell.status !== "done" && cell.status !== "blocked"
  switch (cell.type) {
    case "mention":
      return livesOn || cell.author === "person"
    case "response_request":
      return livesOn
    case "assignment":
      return isAssignee && isOpen
    case "status_change":
      return isOpen && cell.newStatus === cell.status && (cell.newStatus !== "review" || isReviewer)
    case "thread_update":
      return (
        livesOn &&
        cell.status !== "done" &&
        (cell.status !== "blocked" || cell.author === "person" || byOrchestrator) &&
        (!byAgent ||
          (!byItself && (isOrchestrator || (concerns && (cell.source !== "thread_update" || byOrchestrator)))))
      )
  }
}

describe("the whole matrix", () => {
  it("of type, status, recipient, author, source and chat follows the rules, each with a reason", () => {
    let cells = 0
    let delivered = 0
    const names = Object.keys(recipients) as ReadonlyArray<Recipient>
    for (const type of types)
      for (const status of [...statuses, null])
        for (const recipient of names)
          for (const author of authors)
            for (const source of [...types, null])
              for (const isChat of [true, false])
                for (const newStatus of type === "status_change" ? [...statuses, null] : [null]) {
                  const cell: Cell = { type, status, recipient, author, source, isChat, newStatus }
                  const { context, event } = contextOf(cell)
                  const verdict = shouldDeliverToAgent(context, event)
                  cells += 1
                  if (verdict.shouldDeliver) delivered += 1
                  // Not an assertion in each cell: a hundred thousand messages would take most of the time.
                  if (verdict.shouldDeliver !== mustHold(cell) || verdict.reason === "") {
                    assert.fail(`${JSON.stringify(cell)} -> ${JSON.stringify(verdict)}`)
                  }
                }
    assert.strictEqual(cells, (4 + 8) * 8 * 6 * 5 * 6 * 2)
    assert.isAbove(delivered, cells / 10)
    assert.isBelow(delivered, cells)
  })
})

describe("several events", () => {
  it("are judged one by one in order, refused ones with a reason", () => {
    const byAgent = { actor: other, message: sampleMessage({ author: other }) }
    const answer = { actor: other, message: sampleMessage({ author: other, answersType: "thread_update" }) } as const
    const events = [byAgent, {}, answer, { type: "mention" as const }].map((changes, index) =>
      sampleEvent({ ...changes, index })
    )
    const { accepted, refused } = divideEvents(sampleContext({ events, recipientIsAssignee: false }))
    assert.deepStrictEqual(
      accepted.map(({ index }) => index),
      [1, 3]
    )
    assert.deepStrictEqual(
      refused.map(({ event }) => event),
      [0, 2]
    )
    for (const { reason } of refused) assert.isNotEmpty(reason)
  })

  const Authors = Schema.Array(Schema.Literals(authors))
  it.prop("are neither lost nor doubled", { by: Authors }, ({ by }) => {
    const events = by.map((author, index) => sampleEvent({ index, actor: actorOf(author, "bystander"), message: null }))
    const { accepted, refused } = divideEvents(sampleContext({ events, recipientIsAssignee: false }))
    assert.sameMembers(
      [...accepted.map(({ index }) => index), ...refused.map(({ event }) => event)],
      events.map(({ index }) => index)
    )
  })
})
