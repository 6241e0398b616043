/** A skill of the control plane. */
export interface Skill {
  readonly slug: string
  readonly name: string
  readonly description: string
  readonly content: string
}

/**
 * The text as a double-quoted YAML scalar on one line. JSON is valid YAML, except for line breaks that only YAML has.
 */
const quoted = (text: string): string => JSON.stringify(text.replace(/[\s\p{Cc}\u2028\u2029]+/gu, " ").trim())

const frontmatter = /^\uFEFF?---[ \t]*\r?\n[\s\S]*?\r?\n---[ \t]*(?:\r?\n|$)/

/**
 * The text of a skill's SKILL.md: frontmatter with name and description, which the gateway shows to the agent, then the
 * content. The name is the slug, because the allowlist contains slugs. Frontmatter in the content is removed.
 */
export const skillText = ({ content, description, name, slug }: Skill): string =>
  [
    "---",
    `name: ${quoted(slug)}`,
    `description: ${quoted(description.trim() === "" ? name : description)}`,
    "---",
    "",
    content.replace(frontmatter, "").trim(),
    ""
  ].join("\n")
