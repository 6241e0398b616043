import { Schema } from "effect"

/** The demonstration cannot continue; the reason is one line that says what to do. */
export class DemoFailed extends Schema.TaggedError<DemoFailed>()("DemoFailed", { reason: Schema.String }) {
  override get message(): string {
    return this.reason
  }
}
