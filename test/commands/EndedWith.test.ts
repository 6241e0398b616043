import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Logger } from "effect"
import { defectsSaid, EndedWith } from "../../src/commands/EndedWith.ts"

/** What the effect logs, and how it ends. */
const ending = <A, E>(effect: Effect.Effect<A, E>) => {
  const lines: Array<string> = []
  const logger = Logger.make(({ cause, message }) => {
    lines.push(`${String(message)} ${Cause.pretty(cause)}`)
  })
  return Effect.exit(defectsSaid(effect)).pipe(
    Effect.provide(Logger.layer([logger])),
    Effect.map((exit) => ({ exit, lines }))
  )
}

describe("the end of a command by a defect", () => {
  it.effect("is said with its cause by the command's own logger, and is exit code 70", () =>
    Effect.gen(function* () {
      const { exit, lines } = yield* ending(Effect.die(new Error("a bug")))
      assert.deepStrictEqual(exit, Exit.fail(new EndedWith({ exitCode: 70 })))
      assert.lengthOf(lines, 1)
      assert.include(lines[0], "unexpected failure")
      assert.include(lines[0], "a bug")
    })
  )

  it.effect("is not what a failure, an interruption or an exit on purpose is", () =>
    Effect.gen(function* () {
      for (const effect of [Effect.fail("expected"), Effect.interrupt, Effect.fail(new EndedWith({ exitCode: 75 }))]) {
        const { exit, lines } = yield* ending<never, unknown>(effect)
        const said = yield* Effect.flip(Effect.sandbox(Effect.asVoid(exit)))
        const asIs = yield* Effect.flip(Effect.sandbox(effect as Effect.Effect<never, unknown>))
        assert.strictEqual(Cause.hasInterrupts(said), Cause.hasInterrupts(asIs))
        assert.strictEqual(JSON.stringify(Cause.squash(said)), JSON.stringify(Cause.squash(asIs)))
        assert.deepStrictEqual(lines, [])
      }
    })
  )
})
