import { execFileSync, spawnSync } from "node:child_process"
/** A release of this working tree, in a separate repository. */
import { createHash } from "node:crypto"
import { copyFileSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { billText } from "../../build/billOfMaterials.ts"
import { npmIn } from "../../build/npm.ts"

const root = resolve(import.meta.dirname, "../..")
const { name, version }: { name: string; version: string } = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8")
)
const stem = `${name}-${version}`
let repository = ""

const environment = {
  ...process.env,
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "Test",
  GIT_AUTHOR_EMAIL: "test@example.com",
  GIT_COMMITTER_NAME: "Test",
  GIT_COMMITTER_EMAIL: "test@example.com"
}

const git = (...args: ReadonlyArray<string>): string =>
  execFileSync("git", args, { cwd: repository, env: environment, encoding: "utf8", stdio: "pipe" }).trim()

const release = (...args: ReadonlyArray<string>) => {
  const { status, stderr, stdout } = spawnSync(process.execPath, ["build/release.ts", ...args], {
    cwd: repository,
    env: environment,
    encoding: "utf8"
  })
  return { code: status, out: stdout, err: stderr }
}

const read = (path: string): string => readFileSync(join(repository, path), "utf8")

const sha256 = (path: string): string =>
  createHash("sha256")
    .update(readFileSync(join(repository, path)))
    .digest("hex")

/** Runs `body` after a change of one file, which it takes back. */
const withChange = (path: string, change: (text: string) => string, body: () => void): void => {
  writeFileSync(join(repository, path), change(read(path)))
  git("commit", "--quiet", "--all", "--message", `Change ${path}`)
  body()
  git("reset", "--quiet", "--hard", "HEAD~1")
}

beforeAll(() => {
  repository = mkdtempSync(join(tmpdir(), "mission-control-repository-"))
  const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8"
  }).split("\0")
  for (const file of files.filter((path) => path !== "" && globSync(path, { cwd: root }).length > 0)) {
    mkdirSync(dirname(join(repository, file)), { recursive: true })
    copyFileSync(join(root, file), join(repository, file))
  }
  git("init", "--quiet")
  // .gitignore has names that some folders of sources have too.
  git("add", "--all", "--force")
  git("commit", "--quiet", "--message", "Begin")
})
afterAll(() => rmSync(repository, { recursive: true, force: true, maxRetries: 3 }))

describe("npm run release", () => {
  it("refuses a checkout with changes, and names the first one", () => {
    writeFileSync(join(repository, "extra.txt"), "")
    assert.include(release().err, "differs from its commit (?? extra.txt). Commit or remove the changes.")
    rmSync(join(repository, "extra.txt"))
  })

  it("refuses a version that the lock file or the changelog does not have, and says both", () => {
    withChange(
      "package.json",
      (text) => text.replace(`"version": "${version}"`, `"version": "99.0.0"`),
      () => {
        const { code, err } = release()
        assert.strictEqual(code, 1)
        assert.include(err, `package.json has version 99.0.0, and package-lock.json ${version}. Run npm install`)
        assert.include(err, `Write it under "## ${name} 99.0.0".`)
      }
    )
  })

  it("writes the package, its bill of materials, its provenance and checksums, and tags nothing", () => {
    const { code, err, out } = release()
    assert.strictEqual(code, 0, err)
    assert.include(out, "Wrote release/:")
    assert.include(out, "Nothing is tagged yet.")
    const names = read("release/SHA256SUMS")
      .trim()
      .split("\n")
      .map((line) => {
        const [sum, file = ""] = line.split("  ")
        assert.strictEqual(sha256(`release/${file}`), sum)
        return file
      })
    assert.sameMembers(
      names,
      ["tgz", "cdx.json", "changes.md", "provenance.json"].map((end) => `${stem}.${end}`)
    )
    assert.include(read("CHANGELOG.md"), read(`release/${stem}.changes.md`))
    assert.strictEqual(read(`release/${stem}.cdx.json`), billText(root))

    const { predicate, subject } = JSON.parse(read(`release/${stem}.provenance.json`))
    assert.deepStrictEqual(
      subject.map((file: { name: string; digest: unknown }) => [file.name, file.digest]),
      names.slice(0, 3).map((file) => [file, { sha256: sha256(`release/${file}`) }])
    )
    assert.deepStrictEqual(predicate.buildDefinition.resolvedDependencies, [
      { name: "source", digest: { gitCommit: git("rev-parse", "HEAD") } },
      { name: "package-lock.json", digest: { sha256: sha256("package-lock.json") } }
    ])
  }, 600_000)

  it("builds the same package, byte for byte, as another folder", () => {
    writeFileSync(join(dirname(process.env["RUNTIME_ENTRY"] ?? ""), "sbom.cdx.json"), billText(root))
    const folder = mkdtempSync(join(tmpdir(), "mission-control-packed-"))
    try {
      npmIn(root, "pack", "--ignore-scripts", "--pack-destination", folder)
      const packed = readFileSync(join(folder, `${stem}.tgz`))
      assert.isTrue(packed.equals(readFileSync(join(repository, `release/${stem}.tgz`))))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it("does not tag a commit for which .ci/run has left no note", () => {
    assert.include(read(".ci/run"), " notes --ref=gate add ")
    const { code, err } = release("--tag")
    assert.strictEqual(code, 1)
    assert.match(err, /^\.ci\/run has not passed for commit [0-9a-f]{12} in this clone\./)
    assert.strictEqual(git("tag"), "")
  })

  it("tags the commit with the checksums of the files that are there", () => {
    git("notes", "--ref=gate", "add", "--message", "passed", "HEAD")
    const { code, err, out } = release("--tag")
    assert.strictEqual(code, 0, err)
    assert.include(out, "Kept release/:")
    assert.include(out, `Created the tag v${version}. It is not signed`)
    assert.include(out, `git push origin v${version}\n`)
    assert.strictEqual(
      git("tag", "--list", "--format=%(contents:body)", `v${version}`),
      read("release/SHA256SUMS").trim()
    )
  })

  it("leaves the tag as it is when it is repeated, and says if the files differ from it", () => {
    const tag = git("rev-parse", `v${version}`)
    const repeated = release("--tag")
    assert.strictEqual(repeated.code, 0, repeated.err)
    assert.include(repeated.out, `They are the files of the tag v${version}.`)
    assert.strictEqual(git("rev-parse", `v${version}`), tag)

    git("tag", "--force", "--annotate", "--message", "Other\n\nfiles", `v${version}`)
    const { code, err } = release()
    assert.strictEqual(code, 1)
    assert.include(err, `The files differ from those of the tag v${version}:\nfiles\n`)
  })

  it("has git sign the tag if git has a key, and compares the files with a signed tag too", () => {
    const program = join(repository, "release/sign")
    const signature = "-----BEGIN PGP SIGNATURE-----\n\nnone\n-----END PGP SIGNATURE-----"
    const script = `#!/bin/sh\ncat >/dev/null\necho "[GNUPG:] SIG_CREATED " >&2\necho "${signature}"\n`
    writeFileSync(program, script, { mode: 0o755 })
    git("config", "gpg.program", program)
    git("config", "user.signingkey", "test")
    git("tag", "--delete", `v${version}`)
    assert.include(release("--tag").out, `Created the signed tag v${version}.`)
    assert.include(git("cat-file", "tag", `v${version}`), signature)
    assert.include(release().out, `They are the files of the tag v${version}.`)
  })

  it("refuses another commit with the version of a tag", () => {
    withChange(
      "README.md",
      (text) => `${text}\n`,
      () => assert.include(release().err, `${version} is already released: the tag v${version} names commit`)
    )
  })
})
