/** A person's answer notifies each agent that asked exactly once, with its question. */
import type { Message, Question } from "./accountState.ts"
import type { World } from "./world.ts"

/** Watches one world's questions to people. */
export class QuestionInvariant {
  private readonly world: World
  private seenMessages = 0
  private seenQuestions = 0
  /** The questions that were open before the judged transaction. */
  private open: ReadonlyArray<Question> = []

  constructor(world: World) {
    this.world = world
  }

  /** Judges the messages since its last call. Called after each transaction. */
  observe(): void {
    const { messages, questions } = this.world.account
    for (; this.seenMessages < messages.length; this.seenMessages += 1) {
      const message = messages[this.seenMessages]
      if (message?.author.type === "person" && message.kind === "message") this.judge(message)
    }
    const asked = questions.slice(this.seenQuestions)
    this.seenQuestions = questions.length
    this.open = [...this.open, ...asked].filter((each) => each.state !== "ended")
  }

  private judge({ content, id, task }: Message): void {
    const { account } = this.world
    const here = this.open.filter((question) => question.task === task)
    const named = here.filter(({ asker }) => content.includes(`@${account.agent(asker).slug}`))
    const expected = named.length > 0 ? named : here
    this.open = this.open.filter((question) => !expected.includes(question))
    const notified = [...account.queue.notifications.values()].flatMap(({ agent, events }) =>
      events.filter(({ answers, message }) => answers !== null && message === id).map(({ answers }) => [agent, answers])
    )
    if (expected.length > 0) this.world.cover("question answered", "people")
    const told = JSON.stringify(notified.toSorted())
    const owed = JSON.stringify(expected.map(({ asker, text }) => [asker, text]).toSorted())
    if (told !== owed) this.world.violate("questions", `${id} notified ${told} of answers, and must notify ${owed}`)
  }
}
