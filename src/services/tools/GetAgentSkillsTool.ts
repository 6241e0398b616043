import { Effect, Schema, Struct } from "effect"
import { cut } from "../../domain/Prompt.ts"
import { defineTool } from "./AgentTool.ts"
import { agentSlug } from "./ToolParameters.ts"

/** One skill's text; longer ones would not fit into a model's context. */
const SKILL_CHARACTERS = 20_000

/** Reads the enabled skills of the agent itself or of another on the roster. */
export const getAgentSkillsTool = defineTool({
  name: "get_agent_skills",
  description: "Read the enabled skills of an agent, your own when no slug is given.",
  capability: "read the skills of an agent",
  path: "/agent/get-agent-skills",
  parameters: Schema.Struct({ agentSlug: agentSlug("The agent's slug; yourself when absent.") }),
  answer: Schema.Struct({
    agent: Schema.Struct({ slug: Schema.String, name: Schema.String }),
    skills: Schema.Array(
      Schema.Struct({
        slug: Schema.String,
        name: Schema.String,
        description: Schema.String,
        content: Schema.String
      })
    )
  }),
  isEffect: false,
  isOffered: () => true,
  run: Effect.fn("AgentTools.get_agent_skills")(function* ({ context, controlPlane }, parameters) {
    const { agent, skills } = yield* controlPlane.agentSkills({
      agentSlug: parameters.agentSlug ?? context.agent.slug
    })
    return {
      agent,
      skills: skills.map((skill) => ({ ...Struct.omit(skill, ["id"]), content: cut(skill.content, SKILL_CHARACTERS) }))
    }
  })
})
