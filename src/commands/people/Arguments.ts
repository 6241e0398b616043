import { Argument } from "effect/cli"

/** A task, for People.task. */
export const task = Argument.String("task").pipe(Argument.withDescription("The task's id, or its first characters"))
