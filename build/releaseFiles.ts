/** Builds the files of a release. */
import { createHash } from "node:crypto"
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gitIn } from "./git.ts"
import { npmIn } from "./npm.ts"
import { provenanceOf } from "./provenance.ts"
import type { Digest } from "./provenance.ts"
import type { Release } from "./releaseState.ts"

const digestOf = (folder: string, name: string): Digest => ({
  name,
  sha256: createHash("sha256")
    .update(readFileSync(join(folder, name)))
    .digest("hex")
})

/** Lines that `sha256sum --check` reads. */
const checksums = (digests: ReadonlyArray<Digest>): string =>
  digests.map(({ name, sha256 }) => `${sha256}  ${name}\n`).join("")

const stemOf = ({ name, version }: Release): string => `${name}-${version}`

/** The text of SHA256SUMS in `folder` if the files there are complete and of this commit, otherwise null. */
export const existingFiles = (folder: string, release: Release): string | null => {
  if (!existsSync(join(folder, "SHA256SUMS"))) return null
  const sums = readFileSync(join(folder, "SHA256SUMS"), "utf8")
  const names = sums.split("\n").flatMap((line) => line.split("  ").slice(1))
  const provenance = `${stemOf(release)}.provenance.json`
  if (!names.includes(provenance) || names.some((name) => !existsSync(join(folder, name)))) return null
  if (checksums(names.map((name) => digestOf(folder, name))) !== sums) return null
  return readFileSync(join(folder, provenance), "utf8").includes(`"gitCommit": "${release.commit}"`) ? sums : null
}

/**
 * Builds the commit in a fresh clone with the packages of its lock file, so that nothing else of this machine gets into
 * the files. Writes them to `folder`, which is replaced, and returns the text of SHA256SUMS.
 */
export const makeReleaseFiles = (root: string, folder: string, release: Release): string => {
  const clone = mkdtempSync(join(tmpdir(), "mission-control-release-"))
  try {
    gitIn(root, ["clone", "--quiet", "--no-checkout", root, clone])
    gitIn(clone, ["checkout", "--quiet", "--detach", release.commit])
    npmIn(clone, "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund")
    npmIn(clone, "run", "build")
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    npmIn(clone, "pack", "--ignore-scripts", "--pack-destination", folder)
    const stem = stemOf(release)
    copyFileSync(join(clone, "dist/sbom.cdx.json"), join(folder, `${stem}.cdx.json`))
    writeFileSync(join(folder, `${stem}.changes.md`), `${release.changes}\n`)
    const files = [`${stem}.tgz`, `${stem}.cdx.json`, `${stem}.changes.md`].map((name) => digestOf(folder, name))
    const provenance = provenanceOf(files, {
      ...release,
      lockFile: digestOf(clone, "package-lock.json"),
      node: process.versions.node,
      npm: npmIn(clone, "--version").trim()
    })
    writeFileSync(join(folder, `${stem}.provenance.json`), `${JSON.stringify(provenance, null, 2)}\n`)
    const sums = checksums([...files, digestOf(folder, `${stem}.provenance.json`)])
    writeFileSync(join(folder, "SHA256SUMS"), sums)
    return sums
  } finally {
    rmSync(clone, { recursive: true, force: true, maxRetries: 3 })
  }
}
