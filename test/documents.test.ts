import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, dirname, join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { notificationState } from "../convex/tables/notifications.ts"
import { readConfig } from "../local/gateway/config.ts"
import * as controlPlaneFailures from "../src/domain/controlPlane/ControlPlaneFailure.ts"
import * as turnFailures from "../src/domain/delivery/TurnFailure.ts"
import {
  judgeGatewayVersion,
  parseGatewayVersion,
  showGatewayVersion,
  testedGatewayVersions
} from "../src/domain/gateway/GatewayVersion.ts"
import { traceAttributes, traceAttributesTable } from "../src/domain/observability/TraceAttributes.ts"
import { configurationPage } from "../src/domain/settings/ConfigurationPage.ts"
import { allVariables, usualOf } from "../src/domain/settings/Variables.ts"
import { agentTaskStatuses, taskStatuses } from "../src/domain/shared/TaskStatus.ts"
import { webhookTypes } from "../src/domain/shared/WebhookType.ts"
import { RuntimeConfig } from "../src/layers/Config.ts"
import { Metrics } from "../src/layers/Metrics.ts"
import { Redactor } from "../src/layers/secrets/Redactor.ts"
import { toolsText } from "../src/programs/agents/ProfileSync.ts"
import { ControlPlane } from "../src/services/ControlPlane.ts"
import { allTools } from "../src/services/tools/AllTools.ts"
import { documents, forVisitors, gettingStarted } from "./documentCommands.ts"
import { pageWith, readResults } from "./openclaw/results.ts"
import { expectedCells } from "./simulation/expectedCells.ts"
import { pageOf, readMeasured } from "./simulation/page.ts"
import { plantedMistakes } from "./simulation/plantedMistakes.ts"

const root = resolve(import.meta.dirname, "..")
const read = (path: string): string => readFileSync(join(root, path), "utf8")
const scripts: Readonly<Record<string, string>> = JSON.parse(read("package.json")).scripts

/** The text of a document without its code, where `[a](b)` is no link and `#` no heading. */
const proseOf = (path: string): string =>
  read(path)
    .replace(/^```[\s\S]*?^```/gm, "")
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]#]/g, ""))

/** The blocks of code in a language. */
const blocksOf = (path: string, language: string): ReadonlyArray<string> =>
  [...read(path).matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, "gm"))].map((match) => match[1] ?? "")

/** The cells of every row of every table, without the marks of code. */
const rowsOf = (path: string): ReadonlyArray<ReadonlyArray<string>> =>
  read(path)
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.replaceAll("`", "").trim())
    )

/** The anchors of a document's headings, as code hosts make them. */
const anchorsOf = (path: string): ReadonlyArray<string> =>
  [...proseOf(path).matchAll(/^#+ (.+)$/gm)].map((match) =>
    (match[1] ?? "")
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-")
  )

const linksOf = (path: string): ReadonlyArray<string> =>
  [...proseOf(path).matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] ?? "")
    .filter((link) => !/^[a-z]+:/i.test(link))

const brokenLinks = (path: string): ReadonlyArray<string> =>
  linksOf(path).filter((link) => {
    const [file = "", anchor] = link.split("#")
    const target = file === "" ? path : join(dirname(path), file)
    if (!existsSync(join(root, target))) return true
    return anchor !== undefined && (statSync(join(root, target)).isDirectory() || !anchorsOf(target).includes(anchor))
  })

describe("the documents", () => {
  it("link to files and headings that exist", () => {
    assert.isAbove(documents.flatMap(linksOf).length, 10)
    assert.deepStrictEqual(
      documents.flatMap((path) => brokenLinks(path).map((link) => `${path}: ${link}`)),
      []
    )
  })

  it("list all their chapters where they begin with a list of them", () => {
    for (const path of documents) {
      const [begin = "", ...chapters] = proseOf(path).split(/^## /m)
      const listed = [...begin.matchAll(/^- \[([^\]]+)\]\(#/gm)].map((match) => match[1] ?? "")
      const titles = chapters.map((chapter) => chapter.split("\n")[0] ?? "")
      if (listed.length > 0) assert.deepStrictEqual(listed, titles, path)
    }
  })

  it("name only scripts that package.json has, and each starts a file that exists", () => {
    const named = documents.flatMap((path) =>
      [...read(path).matchAll(/\bnpm (?:run ([a-z]+(?::[a-z]+)*)|(test|start)\b)/g)].map((match) => ({
        path,
        script: match[1] ?? match[2] ?? ""
      }))
    )
    assert.includeMembers(
      named.map(({ script }) => script),
      ["demo", "test", "check", "start", "plane", "bench", "test:process", "test:openclaw"]
    )
    for (const { path, script } of named) {
      const command = scripts[script]
      assert.isDefined(command, `${path}: npm run ${script}`)
      const entry = /\bnode (\S+)/.exec(command ?? "")?.[1]
      if (entry !== undefined) assert.isTrue(existsSync(join(root, entry)), `npm run ${script}: ${entry}`)
    }
  })

  it("name files of this repository that exist", () => {
    const named = documents.flatMap((path) =>
      [...read(path).matchAll(/`((?:src|convex|local|test|bench|docs)(?:\/[\w.-]+)+)`/g)].map((match) => ({
        path,
        file: match[1] ?? ""
      }))
    )
    assert.isAbove(named.length, 10)
    // The package of the folder's name has paths of its own.
    const ofPackage = Object.keys(JSON.parse(read("node_modules/convex/package.json")).exports)
    const made = read(".gitignore")
      .split("\n")
      .map((line) => line.replace(/\/$/, ""))
    const isThere = (file: string) =>
      existsSync(join(root, file)) || made.includes(file) || ofPackage.includes(file.replace(/^convex\//, "./"))
    assert.deepStrictEqual(
      named.filter(({ file }) => !isThere(file)).map(({ file, path }) => `${path}: ${file}`),
      []
    )
  })
})

describe("the table of Effect's packages", () => {
  it("names packages that this one has, and every package of Effect that runs with it", () => {
    const { dependencies, devDependencies } = JSON.parse(read("package.json"))
    const [, table = ""] = /## Decision\n([\s\S]*?)\n## /.exec(read("docs/decisions/0001-effect-4.md")) ?? []
    const imports = [...table.matchAll(/^\| [a-z@][^|`]*\|(.+)\|$/gm)].flatMap(([, cell = ""]) =>
      [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? "")
    )
    assert.isAbove(imports.length, 7)
    const packages = imports
      .filter((name) => /^[a-z@]/.test(name) && !/^(src|convex)\/(.+\.ts)?$/.test(name))
      .map((name) => name.split("/", name.startsWith("@") ? 2 : 1).join("/"))
    for (const name of packages) assert.property({ ...dependencies, ...devDependencies }, name)
    for (const name of Object.keys(dependencies).filter((each) => each.startsWith("@effect/"))) {
      assert.include(packages, name)
    }
  })
})

describe("the decisions", () => {
  it("are listed in their index, each under its title", () => {
    const listed = rowsOf("docs/decisions/README.md").slice(2)
    const pages = globSync("docs/decisions/0*.md", { cwd: root }).toSorted()
    assert.deepStrictEqual(
      listed,
      pages.map((path) => {
        const file = path.slice("docs/decisions/".length)
        const [, number = "", title = ""] = /^# (\d{4}): (.+)$/m.exec(read(path)) ?? []
        assert.isTrue(file.startsWith(`${number}-`), file)
        return [`[${number}](${file})`, title]
      })
    )
  })
})

describe("the changelog", () => {
  it("begins with the package's version", () => {
    const { name, version } = JSON.parse(read("package.json"))
    assert.strictEqual(/^## (.+)$/m.exec(read("CHANGELOG.md"))?.[1], `${name} ${version}`)
  })
})

describe("the page of the configuration", () => {
  it("is what the table of variables prints: `node src/main.ts config print --markdown > docs/configuration.md`", () => {
    assert.strictEqual(read("docs/configuration.md"), configurationPage)
  })

  it("tells every variable that the configuration reads, and no other", () => {
    const source = read("src/layers/Config.ts") + read("src/layers/people/PersonConfig.ts")
    const names = [...source.matchAll(/(?:read\.\w+\(|raw\(provider,)\s*"([A-Z_]+)"/g)].map((match) => match[1] ?? "")
    assert.sameMembers(
      [...new Set(names)],
      allVariables.map(([name]) => name)
    )
  })
})

describe("the README", () => {
  it("has the two commands, each on a line of its own", () => {
    const lines = blocksOf("README.md", "sh").flatMap((block) => block.split("\n"))
    assert.includeMembers(lines, ["npm ci && npm run demo", "npm ci && npm test"])
  })

  it("has at most 1,200 words", () => {
    assert.isAtMost(read("README.md").trim().split(/\s+/).length, 1200)
  })

  it("shows a picture of the status page of less than 200 kB, and links every document", () => {
    assert.match(read("README.md"), /!\[[^\]]+\]\(docs\/status-page\.png\)/)
    assert.isBelow(statSync(join(root, "docs/status-page.png")).size, 200_000)
    const linked = new Set(linksOf("README.md").map((link) => link.split("#")[0]))
    for (const path of documents) {
      if (
        path === "README.md" ||
        forVisitors.includes(path) ||
        (path.startsWith("docs/decisions/") && !path.endsWith("README.md"))
      )
        continue
      assert.isTrue(linked.has(path), path)
    }
  })
})

describe("the page for contributors", () => {
  it("lists every script", () => {
    const told = rowsOf("CONTRIBUTING.md").map(([name = ""]) => name.replace(/^npm (run )?/, ""))
    // npm runs these on its own.
    assert.includeMembers(
      told,
      Object.keys(scripts).filter((script) => !["prepare", "prepack"].includes(script))
    )
  })
})

describe("the pages for coding agents", () => {
  it("name files, scripts and tests that exist", () => {
    for (const page of ["AGENTS.md", "LLMS.md"]) {
      const code = [...read(page).matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? "")
      const paths = code.flatMap((words) => words.match(/[\w./-]+\/[\w./-]+/g) ?? [])
      for (const path of paths) assert.isTrue(existsSync(join(root, path)), `${page}: ${path}`)
      const called = [...read(page).matchAll(/npm run ([\w:]+)/g)].map((match) => match[1] ?? "")
      for (const script of called) assert.property(scripts, script, page)
    }
  })

  it("list every document", () => {
    const linked = linksOf("LLMS.md")
    for (const path of documents) {
      if (/^docs\/[^/]+\.md$/.test(path)) assert.include(linked, path)
    }
  })
})

describe("the version of Node", () => {
  it("is the same for version managers as in package.json", () => {
    assert.strictEqual(`>=${read(".nvmrc").trim()}`, JSON.parse(read("package.json")).engines.node)
  })
})

describe("the page of the command line", () => {
  const page = "docs/command-line.md"

  it("lists every command", () => {
    const namesIn = (path: string) =>
      [...read(path).matchAll(/Command\.make\(\s*"([a-z-]+)"/g)].map((match) => match[1] ?? "")
    const made = globSync("src/commands/**/*.ts", { cwd: root }).flatMap((path) => {
      const names = namesIn(path)
      // A folder with a command of its name has the commands within it.
      const folder = basename(dirname(path))
      if (globSync(`${dirname(path)}/*.ts`, { cwd: root }).some((each) => namesIn(each).includes(folder))) {
        const isGroup = read(path).includes("withSubcommands") && !names.includes(folder)
        const group = isGroup ? `${folder} ${names.pop()}` : folder
        return names.filter((name) => name !== folder).map((name) => `${group} ${name}`)
      }
      // The one that the others are within is made last.
      const group = names.length > 1 ? names.at(-1) : undefined
      return group === undefined ? names : names.slice(0, -1).map((name) => `${group} ${name}`)
    })
    const told = rowsOf(page)
      .filter(([name = ""]) => /^(start|[a-z-]+)( |,|$)/.test(name))
      .flatMap(([names = ""]) => {
        const [first = "", ...others] = names.replaceAll(/ (<\w+>|\[[\w.]+\]|--[a-z-]+)/g, "").split(", ")
        return [first, ...others.map((name) => first.replace(/ ?[a-z-]+$/, ` ${name}`))]
      })
    assert.isAbove(made.length, 10)
    assert.includeMembers(told, [...made, "start"])
  })
})

describe("the page of webhooks", () => {
  it("lists every type of event, and no other", () => {
    const told = rowsOf("docs/webhooks.md").flatMap(([types = ""]) =>
      types.split(", ").filter((type) => /^[a-z_]+\.[a-z]+$/.test(type))
    )
    assert.sameMembers(told, [...webhookTypes, "webhook.test"])
  })
})

describe("the exit codes", () => {
  it("are listed with what to do, each that the program ends with", () => {
    const codes = globSync("src/**/*.ts", { cwd: root }).flatMap((path) =>
      [...read(path).matchAll(/\b(?:exitCode: |endWith\()(\d+(?: \| \d+)*)/g)].flatMap(([, list = ""]) =>
        list.split(" | ")
      )
    )
    assert.isAbove(codes.length, 5)
    assert.includeMembers(
      rowsOf("docs/command-line.md").map(([code]) => code),
      [...new Set([...codes, "0", "64", "75"])]
    )
  })
})

describe("the page of the endpoints", () => {
  it("lists every endpoint, and no other", () => {
    const served = ["Probes", "StatusPage"].flatMap((program) =>
      [...read(`src/programs/http/${program}.ts`).matchAll(/"GET",\s*"(\/[a-z/]*)"/g)].map((match) => match[1] ?? "")
    )
    const told = rowsOf("docs/endpoints.md").flatMap(([path = ""]) => (path.startsWith("/") ? [path] : []))
    assert.isNotEmpty(served)
    assert.sameMembers(told, served)
  })
})

describe("the first steps", () => {
  it("set every required variable", () => {
    const set = [...read(gettingStarted).matchAll(/^export ([A-Z_]+)=/gm)].map((match) => match[1] ?? "")
    const required = allVariables.filter(([, variable]) => usualOf(variable) === "required").map(([name]) => name)
    assert.isNotEmpty(required)
    assert.includeMembers(set, required)
  })

  it("show settings of the gateway that a gateway accepts", () => {
    const [settings] = blocksOf(gettingStarted, "json")
    const folder = mkdtempSync(join(tmpdir(), "mission-control-documents-"))
    try {
      const file = join(folder, "openclaw.json")
      writeFileSync(file, settings ?? "")
      const { agents, responses, token, toolSearch } = readConfig(file)
      assert.deepStrictEqual(
        { agents, responses, token, toolSearch },
        { agents: ["engineer"], responses: true, token: "<gateway token>", toolSearch: false }
      )
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it("show the conversation that the demonstration plays", () => {
    const played = read("local/demo/script.json") + read("local/demo/scenario.ts")
    const [shown] = blocksOf(gettingStarted, "text")
    const said = [...(shown ?? "").matchAll(/^(?:Pat|Squad Lead|Engineer|QA): (.+)$/gm)].map((match) => match[1] ?? "")
    assert.strictEqual(said.length, 4)
    for (const words of said) assert.include(played, words)
  })
})

describe("what agents are told", () => {
  const path = "docs/runtime/AGENTS.md"

  it("names every status of a task, and tells exactly those that agents may ask for", () => {
    for (const status of taskStatuses) assert.include(read(path), `\`${status}\``)
    assert.deepStrictEqual(
      rowsOf(path).flatMap(([status = ""]) => (/^[a-z_]+$/.test(status) && status !== "set" ? [status] : [])),
      [...agentTaskStatuses]
    )
  })

  it("names only tools that there are, and is followed by the list of all of them", () => {
    const words = [path, "docs/runtime/HEARTBEAT.md"].flatMap((each) =>
      [...read(each).matchAll(/`([a-z]+_[a-z_]+)`/g)].map((match) => match[1] ?? "")
    )
    const names: ReadonlyArray<string> = allTools.map(({ name }) => name)
    assert.includeMembers(words, ["task_status", "response_request"])
    assert.includeMembers([...names, ...taskStatuses], words)
    for (const name of names) assert.include(toolsText, `- \`${name}\`: `)
  })

  it("fits into what the gateway reads of a file, 20,000 characters, with half of it left to the account's own text", () => {
    assert.isBelow(`${read(path)}\n\n## Tools\n\n${toolsText}`.length, 10_000)
  })

  it("shows the worktree script's commands as the script tells them", () => {
    const usage = read("docs/runtime/worktree.sh")
    const [shown = ""] = blocksOf(path, "text")
    const commands = [...shown.matchAll(/^sh worktree\.sh ([a-z]+)/gm)].map((match) => match[1] ?? "")
    assert.sameMembers(commands, ["create", "list", "remove"])
    for (const command of commands) assert.include(usage, `\nsh worktree.sh ${command} `)
    for (const [option = ""] of read(path).matchAll(/--(repo|base|force)\b/g)) assert.include(usage, `[${option}`)
  })
})

describe("the versions of the gateway", () => {
  const page = "docs/gateway.md"
  const verdict = (version: string) => judgeGatewayVersion(parseGatewayVersion(version))._tag
  /** The first and the last version that a row is about. */
  const bounds = rowsOf(page).flatMap(([versions = "", does = ""]) => {
    const [first, last] = versions.match(/\d{4}\.\d+\.\d+/g) ?? []
    return first === undefined ? [] : [{ versions, first, last: last ?? first, does }]
  })
  const rows = bounds.slice(0, bounds.findIndex(({ versions }) => versions.startsWith("below")) + 1)

  it("are told as the runtime judges them", () => {
    const judged = rows.map(({ first, last, versions }) =>
      versions.startsWith("above") || versions.startsWith("below") ? "-" : [verdict(first), verdict(last)].join()
    )
    assert.deepStrictEqual(judged, ["-", "Supported,Supported", "Older,Older", "Refused,Refused", "-"])
    const [above, , , , below] = rows
    assert.strictEqual(verdict(above?.first ?? ""), "Supported")
    assert.strictEqual(verdict((above?.first ?? "").replace(/\d+$/, (release) => String(Number(release) + 1))), "Newer")
    assert.strictEqual(
      verdict((below?.first ?? "").replace(/\d+$/, (release) => String(Number(release) - 1))),
      "Refused"
    )
  })

  it("that are supported are those of the README and of the first steps, and the gate tests the first and the last", () => {
    const [, supported] = rows
    for (const path of ["README.md", gettingStarted]) assert.include(read(path), `OpenClaw ${supported?.versions}`)
    assert.include(read(".ci/run"), `npm run test:openclaw -- --version ${supported?.first};`)
    assert.strictEqual(JSON.parse(read("test/openclaw/package.json")).dependencies.openclaw, supported?.last)
  })

  it("have their test results on the page, with no failure at both ends of the supported range", () => {
    const results = readResults()
    assert.strictEqual(read(page), pageWith(read(page), results))
    for (const version of Object.values(testedGatewayVersions).map(showGatewayVersion)) {
      assert.deepInclude(
        results.map(({ failed, version: tested }) => ({ tested, failed })),
        { tested: version, failed: 0 }
      )
    }
  })
})

describe("the page of what the runtime shows of itself", () => {
  const page = read("docs/observability.md")
  const sources = globSync("src/**/*.ts", { cwd: root }).filter((path) => !path.endsWith("TraceAttributes.ts"))
  const code = sources.map(read).join("\n")
  const ownSpans = /\b(?:RunExecution|ControlPlane|AgentEndpoints|AgentSync|ProfileSync|Runtime|Presence)\.[a-z]\w+/g

  it("has the table of attributes as the code has it", () => {
    assert.include(page, `\n\n${traceAttributesTable}\n\n`)
  })

  it("tells of attributes that are set, and of no other", () => {
    const names = Object.keys(traceAttributes)
    for (const name of names) assert.include(code, `"${name}"`, `${name} is set nowhere`)
    const told = [...page.matchAll(/\b(?:gen_ai|mission_control|error)\.[a-z_.]*[a-z]/g)].map(([name]) => name)
    assert.isAbove(told.length, names.length)
    for (const name of told) assert.include(names, name)
  })

  it("names spans that there are", () => {
    const told = [...new Set([...page.matchAll(ownSpans)].map(([name]) => name))]
    assert.isAbove(told.length, 10)
    // Those of the control plane's client share their prefix.
    const isMade = (name: string) =>
      code.includes(`"${name}"`) ||
      (name.startsWith("ControlPlane.") && code.includes(`part("${name.slice("ControlPlane.".length)}"`))
    assert.deepStrictEqual(
      told.filter((name) => !isMade(name)),
      []
    )
  })
})

describe("the states of a notification", () => {
  const states = notificationState.members.map((member) => member.value)

  it("are drawn in the architecture as the schema has them", () => {
    const drawn = blocksOf("docs/architecture.md", "text").find((block) => block.includes("claimed"))
    // Rows of people are no runtime's, so they have no place in the picture.
    for (const state of states) if (state !== "unread") assert.include(drawn, state)
  })

  it("are reached and left as the table of the architecture says, each at least once", () => {
    const moves = rowsOf("docs/architecture.md").filter(
      ([from = ""]) => from === "-" || from.split(", ").every((each) => states.includes(each as never))
    )
    const reached = new Set(moves.flatMap(([, to = ""]) => to.split(", ")))
    assert.sameMembers([...reached], states)
  })
})

describe("the life of the process", () => {
  it("is told with every reason for which it may not be ready", () => {
    const concerns = /export type Concern =\n((?:  \| "[a-z-]+"\n)+)/.exec(read("src/services/Lifecycle.ts"))?.[1] ?? ""
    const names = [...concerns.matchAll(/"([a-z-]+)"/g)].map((match) => match[1] ?? "")
    assert.isAbove(names.length, 5)
    for (const name of names) assert.include(read("docs/architecture.md"), `\`${name}\``)
  })
})

describe("the invariants", () => {
  it("are those that the simulation looks for breaches of", () => {
    const told = rowsOf("docs/architecture.md").flatMap(([name = ""]) => (/^I\d+$/.test(name) ? [name] : []))
    const watched = globSync("test/simulation/*.ts", { cwd: root }).flatMap((path) =>
      [...read(path).matchAll(/violate\(\s*"(I\d+)"/g)].map((match) => match[1] ?? "")
    )
    assert.sameMembers(told, [...new Set(watched)])
  })
})

describe("the page of how it is tested", () => {
  const measured = readMeasured()

  it("is as `node test/simulation/measure.ts --page` writes it", () => {
    assert.strictEqual(read("docs/how-it-is-tested.md"), pageOf(measured))
  })

  it("has results of a run that met every cell, found every mistake and no violation", () => {
    assert.deepStrictEqual(
      expectedCells.filter((cell) => (measured.cells[cell] ?? 0) === 0),
      []
    )
    assert.sameMembers(
      Object.keys(measured.foundAt),
      plantedMistakes.map(({ name }) => name)
    )
    assert.notInclude(Object.values(measured.foundAt), null)
    assert.strictEqual(measured.violations, 0)
  })
})

describe("the failures", () => {
  it("stand in the architecture's table, each with a row", () => {
    const classes = [...Object.keys(turnFailures), ...Object.keys(controlPlaneFailures)].filter((name) =>
      /^[A-Z]/.test(name)
    )
    assert.isAbove(classes.length, 10)
    const told = rowsOf("docs/architecture.md").flatMap(([name = ""]) => name.split(", "))
    assert.includeMembers(told, classes)
  })
})

/** What the services of the words need; nothing of it is called. */
const surroundings = Layer.mergeAll(Redactor.layer, Metrics.layer, Layer.mock(ControlPlane, { bootId: "boot" })).pipe(
  Layer.provideMerge(RuntimeConfig.layerTest())
)

/** The value that `Name` or `Service.method` stands for in a module. */
const valueOf = (file: string, name: string): Effect.Effect<unknown> =>
  Effect.gen(function* () {
    const module: Record<string, any> = yield* Effect.promise(() => import(join(root, file)))
    const [first = "", method] = name.split(".")
    const value = module[first]
    if (method === undefined) return value
    const layer = value.layer as Layer.Layer<unknown, never, Layer.Success<typeof surroundings>>
    const context = yield* Layer.build(Layer.provide(layer, surroundings))
    return (Context.getUnsafe(context as never, value) as Record<string, unknown>)[method]
  }).pipe(Effect.scoped)

describe("the words of the release notes", () => {
  const path = "docs/decisions/0002-words-of-the-release-notes.md"
  const rows = rowsOf(path).filter(([, file]) => file?.includes("](") === true)
  // The second table has the words that are no function, or have another name.
  const second = rows.findIndex(([word]) => word === "taskStatusTool")
  const words = rows.slice(0, second)
  const others = rows.slice(second)

  it("are all accounted for", () => {
    const page = read(path)
    for (const word of [
      "initGateway",
      "sendToOpenClaw",
      "shutdownGateway",
      "executeAgentTool",
      "formatNotificationMessage",
      "buildHttpCapabilityLabels",
      "shouldDeliverToAgent",
      "canAgentMarkDone",
      "taskStatusTool",
      "taskUpdateTool",
      "taskDeleteTool",
      "createTaskFromAgent",
      "documentUpsert",
      "updateAgentHeartbeat"
    ]) {
      assert.include(page, `\`${word}\``)
    }
    assert.isAtLeast(words.length, 6)
  })

  for (const [word = "", link = "", name = ""] of words) {
    it.effect(`${word} is a function where the page says`, () =>
      Effect.gen(function* () {
        assert.strictEqual(name.split(".").at(-1), word)
        const file = /\[([^\]]+)\]/.exec(link)?.[1] ?? ""
        assert.isFunction(yield* valueOf(file, name))
      })
    )
  }

  for (const [word = "", link = "", name = ""] of others) {
    it(`${word} is where the page says`, async () => {
      const file = /\[([^\]]+)\]/.exec(link)?.[1] ?? ""
      const [first = "", method = ""] = name.split(".")
      const module: Record<string, unknown> = await import(join(root, file))
      assert.isDefined(module[first])
      assert.include(read(file), method)
    })
  }
})
