import { Console, Effect, Schema } from "effect"
import { personFunctions } from "../../domain/people/PersonFunctions.ts"
import { Agent } from "../../domain/people/PersonViews.ts"
import { parseMentions } from "../../domain/shared/Mention.ts"
import { People } from "../../services/People.ts"

/**
 * Says which mentions of a text name no agent. The control plane notifies people of the same name, whom this does not
 * check. Reads the agents only if the text mentions someone by a slug.
 */
export const warnOfUnknownMentions = Effect.fnUntraced(function* (text: string) {
  const { slugs } = parseMentions(text)
  if (slugs.length === 0) return
  const agents = yield* (yield* People).query(personFunctions.agents, Schema.Array(Agent))
  const names = agents.flatMap(({ name, slug }) => [slug, name.toLowerCase()])
  const unknown = slugs.filter((slug) => !names.includes(slug))
  if (unknown.length === 0) return
  const known = agents.map(({ slug }) => `@${slug}`).join(", ")
  yield* Console.error(
    `No agent is called ${unknown.map((slug) => `@${slug}`).join(", ")}, only a person of this name is notified. The agents are ${known}.`
  )
})
