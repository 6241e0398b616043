#!/usr/bin/env node
/**
 * `npm run release -- [--tag]`: builds the files of a release unless they are there, tags the commit with their
 * checksums, and prints what to do next. If the commit has its tag already, it compares the files with it.
 */
import { join } from "node:path"
import { parseArgs } from "node:util"
import { askGit, gitIn } from "./git.ts"
import { existingFiles, makeReleaseFiles } from "./releaseFiles.ts"
import { releaseState } from "./releaseState.ts"
import type { Release } from "./releaseState.ts"

const root = join(import.meta.dirname, "..")

const usage = `Usage: npm run release -- [options]

Builds the files of a release in release/ from the checked-out commit, unless they are there. If the commit has the
tag of its version, compares them with the checksums in the tag.

  --tag    also tag the commit, which .ci/run must have passed
  --help   print this text`

const print = (text: string): void => void process.stdout.write(`${text}\n`)

const end = (...problems: ReadonlyArray<string>): never => {
  process.stderr.write(`${problems.join("\n")}\n`)
  process.exit(1)
}

/** Signs the tag if git has a key. */
const createTag = ({ commit, name, tag, version }: Release, sums: string): void => {
  const isSigned = askGit(root, "config", "user.signingkey") !== null
  const message = `${name} ${version}\n\n${sums}`
  gitIn(root, ["tag", isSigned ? "--sign" : "--annotate", "--cleanup=verbatim", "--file=-", tag, commit], message)
  print(
    isSigned
      ? `Created the signed tag ${tag}.`
      : `Created the tag ${tag}. It is not signed, because git's user.signingkey is not set.`
  )
}

const next = ({ commit, committedAt, tag, version }: Release): string => `Next:
  git push origin ${tag}
  docker build --target runtime --build-arg VERSION=${version} --build-arg REVISION=${commit} \\
    --build-arg SOURCE_DATE_EPOCH=${committedAt} --build-arg BASE=node:24-bookworm-slim@<digest> \\
    --tag <registry>/mission-control-runtime:${version} .
  docker push <registry>/mission-control-runtime:${version}
Publish the files in release/ with the tag.`

const run = (): void => {
  const { values } = parseArgs({
    options: { tag: { type: "boolean", default: false }, help: { type: "boolean", default: false } }
  })
  if (values.help) return print(usage)
  const { problems, release } = releaseState(root)
  if (problems.length > 0) end(...problems)
  if (values.tag && release.tagged === null && !release.hasPassed) {
    end(
      `.ci/run has not passed for commit ${release.commit.slice(0, 12)} in this clone. Run it here, then \`npm run release -- --tag\` again.`
    )
  }
  const folder = join(root, "release")
  const existing = existingFiles(folder, release)
  const sums = existing ?? makeReleaseFiles(root, folder, release)
  print(`${existing === null ? "Wrote" : "Kept"} release/:\n${sums.trimEnd()}`)
  if (release.tagged !== null) {
    if (release.tagged !== sums.trim()) {
      end(
        `The files differ from those of the tag ${release.tag}:`,
        release.tagged,
        "Use the versions of Node.js and npm that its provenance names. If they are the same, do not trust its files."
      )
    }
    print(`They are the files of the tag ${release.tag}.`)
  } else if (values.tag) {
    createTag(release, sums)
  } else {
    print("Nothing is tagged yet. Run .ci/run in this clone, then npm run release -- --tag.")
    return
  }
  print(next(release))
}

try {
  run()
} catch (error) {
  const isUsage = error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS")
  end(`${error instanceof Error ? error.message : String(error)}${isUsage ? ". See npm run release -- --help." : ""}`)
}
