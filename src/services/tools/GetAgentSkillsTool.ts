import { Effect, Schema, Struct } from "effect"
import { cut } from "../../domain/text/Text.ts"
import { defineTool } from "./AgentTool.ts"
import { agentSlug } from "./ToolParameters.ts"

/** Limits of one skill's text and of all texts in an answer, so that they fit into a model's context. */
const SKILL_CHARACTERS = 20_000
const ALL_CHARACTERS = 100_000

/** Reads the enabled skills of one agent, or of all on the roster. */
export const getAgentSkillsTool = defineTool({
  name: "get_agent_skills",
  description:
    "Read the enabled skills of one agent, or of all agents. Long texts are cut; the more skills, the shorter.",
  capability: "read the skills of one or all agents",
  path: "/agent/get-agent-skills",
  parameters: Schema.Struct({ agentSlug: agentSlug("The agent's slug. Without it, all agents.") }),
  answer: Schema.Struct({
    agents: Schema.Array(
      Schema.Struct({ slug: Schema.String, name: Schema.String, skillSlugs: Schema.Array(Schema.String) })
    ),
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
  run: Effect.fn("AgentTools.get_agent_skills")(function* ({ controlPlane }, parameters) {
    const { agents, skills } = yield* controlPlane.agentSkills(parameters)
    const length = Math.min(SKILL_CHARACTERS, Math.floor(ALL_CHARACTERS / Math.max(1, skills.length)))
    return {
      agents,
      skills: skills.map((skill) => ({ ...Struct.omit(skill, ["id"]), content: cut(skill.content, length) }))
    }
  })
})
