import { describe, expect, it } from "vitest"
import { isAgentSlug, parseSessionKey, sessionKey } from "../../../src/domain/shared/SessionKey.ts"

describe("a session key", () => {
  it("names agent, account, task and generation, in lower case", () => {
    expect(sessionKey({ slug: "engineer", accountId: "Ab1", generation: 1 })).toBe("agent:engineer:ab1")
    expect(sessionKey({ slug: "engineer", accountId: "Ab1", isHeartbeat: true, generation: 3 })).toBe(
      "agent:engineer:ab1:heartbeat:g3"
    )
    expect(sessionKey({ slug: "qa", accountId: "Ab1", taskId: "Tk9", generation: 3 })).toBe("agent:qa:ab1:task:tk9:g3")
  })

  it("is read back into its parts", () => {
    for (const slug of ["a", "squad-lead", "x_1"]) {
      for (const taskId of [undefined, "task1", "g2"]) {
        for (const generation of [1, 2, 17]) {
          const parts = { slug, accountId: "acc", ...(taskId === undefined ? {} : { taskId }), generation }
          expect(parseSessionKey(sessionKey(parts))).toEqual(parts)
          const heartbeat = { slug, accountId: "acc", isHeartbeat: true, generation }
          expect(parseSessionKey(sessionKey(heartbeat))).toEqual(heartbeat)
        }
      }
    }
  })

  it.each([
    "",
    "agent",
    "agent:a",
    "agent::acc",
    "main:a:acc",
    "agent:A:acc",
    "agent:a:acc:",
    "agent:a:acc:task",
    "agent:a:acc:task:",
    "agent:a:acc:g1",
    "agent:a:acc:g0",
    "agent:a:acc:task:t:extra",
    "agent:a:acc:heartbeat",
    "agent:a:acc:heartbeat:g0",
    "agent:a:acc:heartbeat:g1:extra",
    "agent:a:acc:heartbeat:task:t",
    "agent:a/b:acc",
    "agent:a:acc:job:t"
  ])("is not made of %j", (text) => {
    expect(parseSessionKey(text)).toBeNull()
  })
})

describe("an agent's slug", () => {
  it.each(["a", "0", "squad-lead", "a_b", "a".repeat(64)])("can be %j", (slug) => {
    expect(isAgentSlug(slug)).toBe(true)
  })
  it.each(["", "-a", "_a", "A", "a b", "a.b", "..", "a/b", "a".repeat(65), "a\n", "é"])("cannot be %j", (slug) => {
    expect(isAgentSlug(slug)).toBe(false)
  })
})
