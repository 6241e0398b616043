import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Logger } from "effect"
import { logDefects, EndedWith } from "../../src/commands/EndedWith.ts"

/** What the effect logs, and how it ends. */
const ending = <A, E>(effect: Effect.Effect<A, E>) => {
  const lines: Array<string> = []
  const logger = Logger.make(({ cause, message }) => {
    lines.push(`${String(message)} ${Cause.pretty(cause)}`)
  })
  return Effect.exit(logDefects(effect)).pipe(
    Effect.provide(Logger.layer([logger])),
    Effect.map((exit) => ({ exit, lines }))
  )
}

describe("a defect in a command", () => {
  it.effect("is logged with its cause by the command's own logger, and ends with exit code 70", () =>
    Effect.gen(function* () {
      const { exit, lines } = yield* ending(Effect.die(new Error("a bug")))
      assert.deepStrictEqual(exit, Exit.fail(new EndedWith({ exitCode: 70 })))
      assert.lengthOf(lines, 1)
      assert.include(lines[0], "unexpected failure")
      assert.include(lines[0], "a bug")
    })
  )

  it.effect("does not include failures, interruptions and exits on purpose", () =>
    Effect.gen(function* () {
      for (const effect of [Effect.fail("expected"), Effect.interrupt, Effect.fail(new EndedWith({ exitCode: 75 }))]) {
        const { exit, lines } = yield* ending<never, unknown>(effect)
        const result = yield* Effect.flip(Effect.sandbox(Effect.asVoid(exit)))
        const asIs = yield* Effect.flip(Effect.sandbox(effect as Effect.Effect<never, unknown>))
        assert.strictEqual(Cause.hasInterrupts(result), Cause.hasInterrupts(asIs))
        assert.strictEqual(JSON.stringify(Cause.squash(result)), JSON.stringify(Cause.squash(asIs)))
        assert.deepStrictEqual(lines, [])
      }
    })
  )
})
