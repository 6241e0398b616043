/** What a checkout would release, and what prevents it. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { askGit, gitIn } from "./git.ts"

/** A release of the commit that is checked out. */
export interface Release {
  readonly name: string
  readonly version: string
  readonly commit: string
  /** When the commit was made, in seconds since 1970. */
  readonly committedAt: string
  readonly tag: string
  /** The text of the existing tag, without its signature; null if the commit has no tag yet. */
  readonly tagged: string | null
  /** Whether `.ci/run` has passed for this commit. */
  readonly hasPassed: boolean
  /** The version's section of the changelog. */
  readonly changes: string
}

/** The section of a version in the changelog, without its heading; empty if it is not the first one. */
const firstSection = (changelog: string, title: string): string => {
  const [, section = ""] = changelog.split(/^## /m)
  return section.startsWith(`${title}\n`) ? section.slice(title.length).trim() : ""
}

/** Reads the state of the checkout. `problems` has a sentence with the fix for each reason against a release. */
export const releaseState = (root: string): { readonly release: Release; readonly problems: ReadonlyArray<string> } => {
  const read = (path: string): string => readFileSync(join(root, path), "utf8")
  const { name, version }: { readonly name: string; readonly version: string } = JSON.parse(read("package.json"))
  const commit = gitIn(root, ["rev-parse", "HEAD"])
  const tag = `v${version}`
  const tagCommit = askGit(root, "rev-parse", "--verify", "--quiet", `refs/tags/${tag}^{commit}`)
  const changes = firstSection(read("CHANGELOG.md"), `${name} ${version}`)
  const problems: Array<string> = []

  const changed = gitIn(root, ["status", "--porcelain"])
  if (changed !== "") {
    const [first, ...others] = changed.split("\n")
    const more = others.length === 0 ? "" : ` and ${others.length} more`
    problems.push(`The checkout differs from its commit (${first?.trim()}${more}). Commit or remove the changes.`)
  }
  const locked: { readonly version: string } = JSON.parse(read("package-lock.json"))
  if (locked.version !== version) {
    problems.push(
      `package.json has version ${version}, and package-lock.json ${locked.version}. Run npm install --package-lock-only, and commit the lock file.`
    )
  }
  if (changes === "") {
    problems.push(
      `CHANGELOG.md does not begin with a section for this version. Write it under "## ${name} ${version}".`
    )
  }
  if (tagCommit !== null && tagCommit !== commit) {
    problems.push(
      `${version} is already released: the tag ${tag} names commit ${tagCommit.slice(0, 12)}. Check that commit out, or raise the version in package.json.`
    )
  }
  return {
    release: {
      name,
      version,
      commit,
      committedAt: gitIn(root, ["show", "--no-patch", "--format=%ct", commit]),
      tag,
      tagged: tagCommit === commit ? gitIn(root, ["tag", "--list", "--format=%(contents:body)", tag]) : null,
      hasPassed: askGit(root, "notes", "--ref=gate", "show", commit) !== null,
      changes
    },
    problems
  }
}
