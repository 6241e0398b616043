import { execFile, execFileSync } from "node:child_process"
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterAll, afterEach, assert, beforeAll, beforeEach, describe, it } from "@effect/vitest"

const script = resolve(import.meta.dirname, "../docs/runtime/worktree.sh")

/** Git as a person set up nowhere would have it: no configuration of this machine decides a test. */
const environment = {
  PATH: process.env["PATH"] ?? "",
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "Test",
  GIT_AUTHOR_EMAIL: "test@example.com",
  GIT_COMMITTER_NAME: "Test",
  GIT_COMMITTER_EMAIL: "test@example.com"
}

const hasGit = (() => {
  try {
    execFileSync("git", ["--version"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
})()

interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

const git = (folder: string, ...args: ReadonlyArray<string>): string =>
  execFileSync("git", ["-C", folder, ...args], { env: environment, encoding: "utf8", stdio: "pipe" }).trim()

const commit = (folder: string, file: string, text: string): string => {
  writeFileSync(join(folder, file), text)
  git(folder, "add", file)
  git(folder, "commit", "--quiet", "-m", `Write ${file}`)
  return git(folder, "rev-parse", "HEAD")
}

const newFolder = () => realpathSync(mkdtempSync(join(tmpdir(), "mission-control-worktree-")))

/** A folder of workspaces with two agents, the script in each, and one repository with an origin. */
const buildTemplate = (home: string): void => {
  mkdirSync(join(home, "origin.git"))
  mkdirSync(join(home, "seed"))
  git(join(home, "origin.git"), "init", "--quiet", "--bare", "--initial-branch=trunk")
  git(join(home, "seed"), "init", "--quiet", "--initial-branch=trunk")
  commit(join(home, "seed"), "README", "first\n")
  git(join(home, "seed"), "remote", "add", "origin", join(home, "origin.git"))
  git(join(home, "seed"), "push", "--quiet", "origin", "trunk")
  for (const agent of ["engineer", "qa"]) {
    mkdirSync(join(home, "workspaces", agent), { recursive: true })
    copyFileSync(script, join(home, "workspaces", agent, "worktree.sh"))
  }
  mkdirSync(join(home, "workspaces/.repositories/shop"), { recursive: true })
  git(join(home, "workspaces/.repositories/shop"), "clone", "--quiet", join(home, "origin.git"), "main")
}

/** The template, copied: what names its folder names the copy's. */
const makeHouse = (template: string) => {
  const home = newFolder()
  cpSync(template, home, { recursive: true })
  const root = join(home, "workspaces", ".repositories")
  for (const folder of [join(home, "seed"), join(root, "shop", "main")]) {
    const file = join(folder, ".git", "config")
    writeFileSync(file, readFileSync(file, "utf8").replaceAll(template, home))
  }
  const origin = join(home, "origin.git")
  const addRepository = (name: string) => {
    mkdirSync(join(root, name))
    git(join(root, name), "clone", "--quiet", origin, "main")
  }
  const workspaceOf = (agent: string) => join(home, "workspaces", agent)
  /** The script as an agent calls it: from its workspace. */
  const run = (
    agent: string,
    args: ReadonlyArray<string>,
    variables: Readonly<Record<string, string>> = {},
    cwd = workspaceOf(agent)
  ): Promise<Ended> =>
    new Promise((done) => {
      execFile(
        "sh",
        [join(workspaceOf(agent), "worktree.sh"), ...args],
        { cwd, env: { ...environment, ...variables }, encoding: "utf8" },
        (error, out, err) => done({ code: error === null ? 0 : Number(error.code ?? -1), out, err })
      )
    })
  return {
    home,
    root,
    origin,
    seed: join(home, "seed"),
    main: join(root, "shop", "main"),
    place: (task: string, repository = "shop") => join(root, repository, `task-${task}`),
    git,
    commit,
    addRepository,
    run,
    engineer: (...args: ReadonlyArray<string>) => run("engineer", args),
    qa: (...args: ReadonlyArray<string>) => run("qa", args)
  }
}

type House = ReturnType<typeof makeHouse>

describe.skipIf(!hasGit)("the worktree script", () => {
  let template: string
  let house: House
  beforeAll(() => {
    template = newFolder()
    buildTemplate(template)
  })
  afterAll(() => rmSync(template, { recursive: true, force: true }))
  beforeEach(() => {
    house = makeHouse(template)
  })
  afterEach(() => rmSync(house.home, { recursive: true, force: true }))

  const made = async (task: string) => {
    const ended = await house.engineer("create", task)
    assert.strictEqual(ended.code, 0, ended.err)
    return house.place(task)
  }

  it("makes one folder and one branch for a task, from the newest state of origin", async () => {
    const newest = house.commit(house.seed, "NEWS", "pushed after the clone was made\n")
    house.git(house.seed, "push", "--quiet", "origin", "trunk")
    const { code, out, err } = await house.engineer("create", "k57abc")
    assert.deepStrictEqual({ code, err }, { code: 0, err: "" })
    const place = house.place("k57abc")
    assert.include(out, `worktree: ${place}\nbranch: task/k57abc\nfrom: origin/trunk\n`)
    assert.include(out, "git push --set-upstream origin task/k57abc")
    assert.include(out, "pull request from task/k57abc into trunk")
    assert.strictEqual(house.git(place, "rev-parse", "HEAD"), newest)
    assert.strictEqual(house.git(place, "symbolic-ref", "--short", "HEAD"), "task/k57abc")
    assert.strictEqual(house.git(house.main, "status", "--porcelain"), "")
    // The push that it tells of works, and the clone's own branch has not moved.
    house.commit(place, "work", "done\n")
    house.git(place, "push", "--quiet", "--set-upstream", "origin", "task/k57abc")
    assert.notStrictEqual(house.git(house.main, "rev-parse", "trunk"), newest)
  })

  it("answers the same worktree again, with what was done in it", async () => {
    const place = await made("1")
    writeFileSync(join(place, "half"), "unfinished\n")
    const again = await house.qa("create", "1")
    assert.deepStrictEqual({ code: again.code, err: again.err }, { code: 0, err: "" })
    assert.include(again.out, `worktree: ${place}\nbranch: task/1\nIt already exists.`)
    assert.strictEqual(readFileSync(join(place, "half"), "utf8"), "unfinished\n")
  })

  it("serves two agents at once, each with folders and branches of its own", async () => {
    const tasks = ["a1", "a2", "a3", "b1", "b2", "b3"]
    const ended = await Promise.all(
      tasks.map((task) => (task.startsWith("a") ? house.engineer("create", task) : house.qa("create", task)))
    )
    assert.deepStrictEqual(
      ended.map(({ code, err }) => ({ code, err })),
      tasks.map(() => ({ code: 0, err: "" }))
    )
    for (const task of tasks) house.commit(house.place(task), "work", `of ${task}\n`)
    for (const task of tasks) {
      assert.strictEqual(readFileSync(join(house.place(task), "work"), "utf8"), `of ${task}\n`)
      assert.strictEqual(house.git(house.main, "rev-list", "--count", `trunk..task/${task}`), "1")
    }
    assert.strictEqual(house.git(house.main, "for-each-ref", "refs/worktree-script"), "")
    assert.strictEqual(house.git(house.main, "fsck", "--no-dangling", "--no-progress"), "")
  })

  it("gives two agents that ask for the same task at once the same worktree", async () => {
    const both = await Promise.all([house.engineer("create", "same"), house.qa("create", "same")])
    assert.deepStrictEqual(
      both.map(({ code, err }) => ({ code, err })),
      [
        { code: 0, err: "" },
        { code: 0, err: "" }
      ]
    )
    assert.strictEqual(both.filter(({ out }) => out.includes("from: origin/trunk")).length, 1)
    assert.strictEqual(both.filter(({ out }) => out.includes("It already exists.")).length, 1)
  })

  it("lists each worktree with its branch and whether it has changes, and nothing else", async () => {
    await made("1")
    writeFileSync(join(await made("2"), "new"), "x")
    rmSync(await made("3"), { recursive: true })
    house.git(house.main, "worktree", "add", "--quiet", "-b", "private", join(house.home, "elsewhere"))
    const { code, out } = await house.qa("list")
    assert.strictEqual(code, 0)
    assert.deepStrictEqual(out.trim().split("\n").toSorted(), [
      `1\ttask/1\tclean\t${house.place("1")}`,
      `2\ttask/2\tchanged\t${house.place("2")}`,
      `3\t-\tmissing\t${house.place("3")}`
    ])
  })

  it("makes a worktree anew whose folder somebody deleted", async () => {
    const place = await made("1")
    rmSync(place, { recursive: true })
    assert.include((await house.engineer("create", "1")).out, "from: its branch as it was")
    assert.isTrue(existsSync(join(place, "README")))
  })

  it("goes on from the branch that origin has when another machine began the task", async () => {
    house.git(house.seed, "switch", "--quiet", "-c", "task/far")
    const theirs = house.commit(house.seed, "begun", "elsewhere\n")
    house.git(house.seed, "push", "--quiet", "origin", "task/far")
    assert.include((await house.engineer("create", "far")).out, "from: origin/task/far")
    assert.strictEqual(house.git(house.place("far"), "rev-parse", "HEAD"), theirs)
  })

  it("begins at another branch of origin when told, and refuses one that is not there", async () => {
    house.git(house.seed, "switch", "--quiet", "-c", "release/2")
    const release = house.commit(house.seed, "release", "2\n")
    house.git(house.seed, "push", "--quiet", "origin", "release/2")
    await house.engineer("create", "fix", "--base", "release/2")
    assert.strictEqual(house.git(house.place("fix"), "rev-parse", "HEAD"), release)
    const missing = await house.engineer("create", "other", "--base", "release/3")
    assert.deepStrictEqual([missing.code, missing.err], [1, "worktree: origin has no branch release/3\n"])
    assert.isFalse(existsSync(house.place("other")))
    assert.strictEqual((await house.engineer("create", "other", "--base", "--upload-pack=x")).code, 64)
    assert.strictEqual((await house.engineer("create", "other", "--base", "a..b")).code, 64)
  })

  it("removes a clean worktree, and its branch once origin has the commits", async () => {
    const place = await made("1")
    house.commit(place, "work", "done\n")
    const kept = await house.engineer("remove", "1")
    assert.strictEqual(kept.out, `removed: ${place}\nbranch kept: task/1 (commits that origin does not have: 1)\n`)
    assert.isFalse(existsSync(place))
    assert.include((await house.engineer("create", "1")).out, "from: its branch as it was")
    assert.strictEqual(readFileSync(join(place, "work"), "utf8"), "done\n")
    house.git(place, "push", "--quiet", "origin", "task/1")
    const gone = await house.engineer("remove", "1")
    assert.strictEqual(gone.out, `removed: ${place}\nbranch removed: task/1 (origin has its commits)\n`)
    assert.strictEqual(house.git(house.main, "branch", "--list", "task/1"), "")
  })

  it("keeps a worktree with changes unless it is to discard them", async () => {
    const place = await made("1")
    writeFileSync(join(place, "README"), "changed\n")
    writeFileSync(join(place, "new file"), "untracked\n")
    const refused = await house.engineer("remove", "1")
    assert.strictEqual(refused.code, 1)
    assert.match(refused.err, /has changes; commit and push them, or discard them with --force:\n M README\n/)
    assert.include(refused.err, "new file")
    assert.strictEqual(readFileSync(join(place, "new file"), "utf8"), "untracked\n")
    assert.strictEqual((await house.engineer("remove", "1", "--force")).code, 0)
    assert.isFalse(existsSync(place))
  })

  it("keeps commits that are on no branch", async () => {
    const place = await made("1")
    house.git(place, "switch", "--quiet", "--detach")
    const loose = house.commit(place, "work", "done\n")
    const refused = await house.engineer("remove", "1")
    assert.strictEqual(refused.code, 1)
    assert.include(refused.err, loose)
    assert.isTrue(existsSync(place))
  })

  it("takes a worktree's folder in the place of its task to remove it, and no folder elsewhere", async () => {
    const place = await made("1")
    const outside = join(house.home, "task-1")
    mkdirSync(outside)
    for (const path of [outside, "../../task-1", `${house.root}/shop/../../../task-1`, "/", "./", house.main]) {
      const refused = await house.engineer("remove", path, "--force")
      assert.strictEqual(refused.code, 1, path)
      assert.match(refused.err, /is not a worktree in|does not exist/, path)
    }
    symlinkSync(outside, house.place("linked"))
    assert.include((await house.engineer("remove", house.place("linked"))).err, "is not a worktree in")
    assert.isTrue(existsSync(outside))
    assert.strictEqual((await house.engineer("remove", `${place}/../task-1`)).out.split("\n")[0], `removed: ${place}`)
  })

  it("creates nothing for an invalid task id or repository name", async () => {
    const ids = [
      "..",
      "../x",
      "/etc",
      "a/b",
      ".",
      "",
      "-rf",
      "a b",
      "a\nb",
      "a;id",
      "$(id)",
      "`id`",
      "*",
      "a.lock",
      "ä"
    ]
    for (const task of [...ids, "x".repeat(65)]) {
      const { code, err } = await house.engineer("create", task)
      assert.strictEqual(code, 64, task)
      assert.match(err, /is not a task id|unknown option|the task's id is empty/, task)
    }
    for (const name of ["..", "../..", "/tmp", ".git", "a/b", "-x", "*"]) {
      const { code, err } = await house.engineer("create", "1", "--repo", name)
      assert.strictEqual(code, 64, name)
      assert.include(err, `${name} is not a valid repository name`)
    }
    assert.strictEqual(house.git(house.main, "worktree", "list", "--porcelain").split("\n\n").length, 1)
    assert.strictEqual((await house.engineer("list")).out, "")
  })

  it("follows no symbolic link out of the root", async () => {
    const outside = join(house.home, "outside")
    mkdirSync(outside)
    symlinkSync(outside, house.place("1"))
    const linked = await house.engineer("create", "1")
    assert.deepStrictEqual(
      [linked.code, linked.err],
      [1, `worktree: ${house.place("1")} is a symbolic link, which the script does not use\n`]
    )
    symlinkSync(join(house.root, "shop"), join(house.root, "alias"))
    assert.match((await house.engineer("create", "2", "--repo", "alias")).err, /no repository alias/)
    mkdirSync(join(house.root, "other"))
    symlinkSync(house.main, join(house.root, "other", "main"))
    assert.match((await house.engineer("create", "2", "--repo", "other")).err, /no repository other/)
    assert.isFalse(existsSync(join(outside, "README")))
  })

  it("leaves alone what stands where the worktree should be", async () => {
    mkdirSync(house.place("1"))
    writeFileSync(join(house.place("1"), "mine"), "x")
    for (const command of ["create", "remove"]) {
      const { code, err } = await house.engineer(command, "1")
      assert.deepStrictEqual(
        [code, err],
        [1, `worktree: ${house.place("1")} exists and is not a worktree of shop: remove it or rename it first\n`]
      )
    }
    assert.isTrue(existsSync(join(house.place("1"), "mine")))
  })

  it("says that an unknown task has no worktree", async () => {
    const { code, err } = await house.engineer("remove", "never")
    assert.deepStrictEqual([code, err], [1, "worktree: task never has no worktree in shop\n"])
  })

  it("asks for the repository if there are several, and reports if there is none", async () => {
    house.addRepository("site")
    const several = await house.engineer("create", "1")
    assert.match(several.err, /there are 2 repositories in .*: choose one with --repo/)
    assert.strictEqual((await house.engineer("create", "1", "--repo", "site")).code, 0)
    assert.isTrue(existsSync(join(house.place("1", "site"), "README")))
    rmSync(join(house.root, "site"), { recursive: true })
    rmSync(join(house.root, "shop"), { recursive: true })
    assert.match((await house.engineer("list")).err, /ask an operator to create one: git clone/)
    rmSync(house.root, { recursive: true })
    assert.match((await house.engineer("list")).err, /the folder .* does not exist; .*git clone/)
  })

  it("creates nothing if origin is down, and still shows existing worktrees", async () => {
    await made("1")
    rmSync(house.origin, { recursive: true })
    const { code, err } = await house.engineer("create", "2")
    assert.strictEqual(code, 1)
    assert.include(err, "origin could not be fetched, so nothing was created")
    assert.isFalse(existsSync(house.place("2")))
    assert.strictEqual((await house.engineer("create", "1")).code, 0)
  })

  it("is led nowhere else by git's own variables", async () => {
    const other = join(house.home, "other")
    mkdirSync(other)
    house.git(other, "init", "--quiet")
    const { code } = await house.run("engineer", ["create", "1"], {
      GIT_DIR: join(other, ".git"),
      GIT_WORK_TREE: other,
      GIT_INDEX_FILE: join(other, "index")
    })
    assert.strictEqual(code, 0)
    assert.isTrue(existsSync(join(house.place("1"), "README")))
    assert.isFalse(existsSync(join(other, "README")))
  })

  it("does not remove the folder that its caller is in", async () => {
    const place = await made("1")
    const { code, err } = await house.run("engineer", ["remove", "1"], {}, place)
    assert.deepStrictEqual([code, err], [1, `worktree: you are in ${place}: change to another folder first\n`])
  })

  it("waits for an index that a git command holds, and gives up with the reason", async () => {
    const place = await made("1")
    const lock = join(house.git(place, "rev-parse", "--absolute-git-dir"), "index.lock")
    writeFileSync(lock, "")
    const refused = await house.engineer("remove", "1")
    assert.match(refused.err, /a git command is running in .*\(index\.lock\)/)
    assert.isTrue(existsSync(place))
    assert.strictEqual((await house.engineer("remove", "1", "--force")).code, 0)
  })

  it("tries again while another git holds a lock of the clone", async () => {
    const lock = join(house.main, ".git", "refs", "heads", "task", "1.lock")
    mkdirSync(join(lock, ".."), { recursive: true })
    writeFileSync(lock, "")
    const creating = house.engineer("create", "1")
    // It has come as far as the lock when the fetch before it has written its file.
    const fetched = join(house.main, ".git", "FETCH_HEAD")
    while (!existsSync(fetched)) await new Promise((later) => setImmediate(later))
    rmSync(lock)
    const { code, err } = await creating
    assert.deepStrictEqual([code, err], [0, ""])
  })

  describe("the lock among its own calls", () => {
    const hold = (pid: number, host: string, since: number) => {
      const content = join(house.home, "holder")
      writeFileSync(content, `${pid} ${host} ${since}\n`)
      const blob = house.git(house.main, "hash-object", "-w", content)
      house.git(house.main, "update-ref", "refs/worktree-script/lock", blob)
    }
    const host = () => execFileSync("uname", ["-n"], { encoding: "utf8" }).trim()
    const now = () => Math.floor(Date.now() / 1_000)

    it("is waited for while its holder lives, as long as is said", async () => {
      hold(process.pid, host(), now())
      const { code, err } = await house.run("engineer", ["create", "1"], { WORKTREE_WAIT: "1" })
      assert.strictEqual(code, 1)
      assert.match(err, /another worktree command has held .* for 1 s/)
      // What the message says to do helps.
      house.git(house.main, "update-ref", "-d", "refs/worktree-script/lock")
      assert.strictEqual((await house.engineer("create", "1")).code, 0)
    })

    it("is taken over from a process that was killed, by one of two that want it", async () => {
      const child = execFileSync("sh", ["-c", "echo $$"], { encoding: "utf8" }).trim()
      hold(Number(child), host(), now())
      const both = await Promise.all([house.engineer("create", "1"), house.qa("create", "2")])
      assert.deepStrictEqual(
        both.map(({ code, err }) => [code, err]),
        [
          [0, ""],
          [0, ""]
        ]
      )
    })

    it("is taken over after an hour from a machine that is gone", async () => {
      hold(1, "another-machine", now() - 3_700)
      assert.strictEqual((await house.run("engineer", ["create", "1"], { WORKTREE_WAIT: "0" })).code, 0)
      hold(1, "another-machine", now())
      assert.strictEqual((await house.run("engineer", ["create", "2"], { WORKTREE_WAIT: "0" })).code, 1)
    })
  })

  it("makes anew what a create that was killed left half-made", async () => {
    const place = await made("1")
    rmSync(join(place, "README"))
    house.git(house.main, "worktree", "lock", "--reason", "initializing", place)
    assert.strictEqual((await house.engineer("create", "1")).code, 0)
    assert.isTrue(existsSync(join(place, "README")))
  })

  it("tells its usage, and what is wrong with arguments", async () => {
    assert.include((await house.engineer("help")).out, "sh worktree.sh create TASK")
    for (const args of [
      ["sing"],
      ["create"],
      ["create", "1", "2"],
      ["create", "1", "--force"],
      ["remove", "1", "--base", "trunk"],
      ["list", "1"],
      ["create", "1", "--repo"],
      ["create", "1", "--sing"]
    ]) {
      assert.strictEqual((await house.engineer(...args)).code, 64, args.join(" "))
    }
  })
})
