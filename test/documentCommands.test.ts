import { spawn } from "node:child_process"
import { existsSync, globSync, readFileSync } from "node:fs"
import { delimiter, join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { allVariables } from "../src/domain/settings/Variables.ts"
import { blocksIn, commandsOf, documents } from "./documentCommands.ts"
import type { CommandBlock } from "./documentCommands.ts"

const root = resolve(import.meta.dirname, "..")
const read = (path: string): string => readFileSync(join(root, path), "utf8")
const blocks = documents.flatMap(blocksIn)
const kinds = ["sh", "sh account", "console", "text", "json", "yaml", "ts", "nginx"]
const where = ({ line, path }: CommandBlock): string => `${path}:${line}`

/** Commands that take minutes or would change the checkout: the file whose run is their test, and its words for them. */
const runElsewhere: Readonly<Record<string, readonly [file: string, words: string]>> = {
  "npm ci": [".ci/run", "\nnpm ci\n"],
  "npm test": [".ci/run", "\nnpm test\n"],
  "npm run check": ["package.json", '"test": "npm run check && '],
  "npm run demo": ["test/local/demo/demo.test.ts", 'demo(["--once", "--json"])'],
  "npm run demo -- --live": ["test/openclaw/live.test.ts", 'demo(["--live"'],
  "npx convex codegen --system-udfs --typecheck disable": [
    "test/convex/deployment.test.ts",
    '"codegen", "--system-udfs", "--typecheck", "disable"'
  ]
}

/** Scripts that take up to an hour: that they start with what the page gives them is all a test can show. */
const isLong = (command: string): boolean => /^npm run (bench|soak)\b/.test(command)

const isGate = (command: string): boolean => read(".ci/run").split("\n").includes(command)

const partsOf = (block: CommandBlock): ReadonlyArray<string> => commandsOf(block).flatMap((line) => line.split(" && "))

const inCheckout = blocks.filter(({ kind }) => kind === "sh")

/** The blocks whose commands this file runs: those that nothing else runs. */
const own = inCheckout.filter(
  (block) => !partsOf(block).every((command) => command in runElsewhere || isGate(command) || isLong(command))
)

/** Runs to its end, or ends with all that it started; answers the exit code, and all that was printed. */
const run = (text: string): Promise<{ readonly code: number | null; readonly said: string }> =>
  new Promise((done, fail) => {
    const child = spawn("sh", ["-eu"], {
      cwd: root,
      detached: true,
      env: { PATH: [join(root, "node_modules/.bin"), process.env["PATH"]].join(delimiter), HOME: "/nonexistent" }
    })
    const limit = setTimeout(() => process.kill(-(child.pid ?? 0), "SIGKILL"), 25_000)
    let said = ""
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")))
    }
    child.once("error", fail)
    child.once("close", (code) => {
      clearTimeout(limit)
      done({ code, said })
    })
    child.stdin.end(text)
  })

describe("the commands of the documents", () => {
  it("stand in blocks that say who runs them: sh a test, sh account a test with stand-ins, console nobody", () => {
    assert.deepStrictEqual(
      blocks.filter(({ kind }) => !kinds.includes(kind)).map((block) => `${where(block)}: ${block.kind}`),
      []
    )
    assert.isNotEmpty(blocks.filter(({ kind }) => kind === "sh account"))
  })

  it("are run by the gate or by a test of their own where they take minutes", () => {
    for (const [command, [file, words]] of Object.entries(runElsewhere)) {
      assert.isTrue(existsSync(join(root, file)), `${command}: ${file}`)
      assert.include(read(file), words, command)
    }
  })

  it("name a test where npm runs them, so that nothing long is begun by chance", () => {
    assert.deepStrictEqual(
      own.flatMap((block) =>
        partsOf(block)
          .filter((command) => /\bnpm\b/.test(command) && !(command in runElsewhere))
          .map((command) => `${where(block)}: ${command}: add it to runElsewhere, or write sh account`)
      ),
      []
    )
  })

  it.each(own.filter((block) => !/\bnpm\b/.test(block.text)).map((block) => [where(block), block] as const))(
    "run: %s",
    async (_, { text }) => {
      const { code, said } = await run(text)
      assert.strictEqual(code, 0, said)
    }
  )

  it.each([...new Set(inCheckout.flatMap(partsOf).filter(isLong))])("starts as written: %s", async (command) => {
    const { code, said } = await run(`${command}${command.includes(" -- ") ? "" : " --"} --help`)
    assert.strictEqual(code, 0, said)
    assert.match(said, /usage: npm run (bench|soak)/)
  })

  it("would not start with a name that is no bench", async () => {
    const { code, said } = await run("npm run bench -- delivry --help")
    assert.strictEqual(code, 64, said)
    assert.include(said, "unknown delivry")
  })

  it("prints what the package is made of, and nothing that only its development needs", async () => {
    const { code, said } = await run("npm run --silent sbom")
    assert.strictEqual(code, 0, said)
    const { bomFormat, components, metadata } = JSON.parse(said.slice(said.indexOf("{"))) as {
      readonly bomFormat: string
      readonly metadata: { readonly component: { readonly name: string } }
      readonly components: ReadonlyArray<{ readonly purl: string }>
    }
    assert.strictEqual(bomFormat, "CycloneDX")
    // Of the package, whatever the folder of the checkout is called.
    assert.strictEqual(metadata.component.name, JSON.parse(read("package.json")).name)
    const names = components.map(({ purl }) => decodeURIComponent(/^pkg:npm\/(.+)@/.exec(purl)?.[1] ?? ""))
    assert.includeMembers(names, Object.keys(JSON.parse(read("package.json")).dependencies))
    assert.notIncludeMembers(names, ["vitest"])
  })

  it("replays a seed of the simulation", async () => {
    const { code, said } = await run("npm run --silent simulate -- --seed 1")
    assert.strictEqual(code, 0, said)
    assert.match(said, /^trace [0-9a-f]{16}; [1-9]\d* notifications, \d+ turns, 0 violations$/m)
  })

  it("that nobody runs are of a kind that no test could run", () => {
    const needs = [
      /^npx convex (deploy|dev|env set|export|import)\b/,
      // What a deploy needs.
      /^npm ci$/,
      /^export CONVEX_DEPLOY_KEY='<deploy key>'$/,
      /^ssh /,
      /^sudo (systemctl|install) /,
      /^cd \/usr\/local\/lib\/mission-control$/,
      // A cluster. `npm run test:container` builds and checks what they apply.
      /^kubectl /,
      // An engine: `npm run test:container` brings one, builds the images and does the same.
      /^(?:[A-Z_]+=\S.* )?docker (compose|build|push|buildx imagetools inspect) /,
      /^cosign sign /,
      // A deployment of the reader's: test/process/convexDeployment.test.ts does the same with the local plane.
      /^CONVEX_DEPLOY_KEY='[^']+' npm run test:convex\b/,
      // They leave something on the machine: test/process/package.test.ts does the same in a folder of its own.
      /^npm (pack|install --global)\b/,
      // A clone that is clean: test/process/release.test.ts makes one.
      /^\.ci\/run$/,
      /^npm run release\b/
    ]
    const others = blocks
      .filter(({ kind }) => kind === "console")
      .flatMap((block) => commandsOf(block).map((command) => `${where(block)}: ${command}`))
      .filter((line) => !needs.some((need) => need.test(line.slice(line.indexOf(": ") + 2))))
    assert.deepStrictEqual(others, [])
  })

  it("call commands of the runtime that exist, also within sentences", () => {
    const made = new Set(
      globSync("src/commands/**/*.ts", { cwd: root }).flatMap((path) =>
        [...read(path).matchAll(/Command\.make\(\s*"([a-z-]+)"/g)].map((match) => match[1] ?? "")
      )
    ).add("start")
    const called = documents.flatMap((path) =>
      [...read(path).matchAll(/(?:node src\/main\.ts|mission-control-runtime) ([a-z][a-z-]+)/g)].map((match) => ({
        path,
        name: match[1] ?? ""
      }))
    )
    assert.isAbove(called.length, 10)
    assert.deepStrictEqual(
      called.filter(({ name }) => !made.has(name)),
      []
    )
  })

  it("and their variables are known to the program, the control plane, a script or the tests", () => {
    const known = new Set<string>(allVariables.map(([name]) => name))
    for (const [name] of allVariables) known.add(`${name}_FILE`)
    const sources = globSync(
      ["{src,convex,local,bench,deploy,test}/**/*", "docs/runtime/*.sh", "Dockerfile", "*.yml"],
      {
        cwd: root,
        exclude: ["**/node_modules/**", "**/*.md", "test/document*", "**/_generated/**"]
      }
    ).filter((path) => /\.(ts|sh|ya?ml|service|json)$|Dockerfile$/.test(path))
    const words = new Set(sources.flatMap((path) => read(path).match(/\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g) ?? []))
    const named = documents.flatMap((path) =>
      [...read(path).matchAll(/(?:`|\$\{?|export )([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\b/g)].map((match) => ({
        path,
        name: match[1] ?? ""
      }))
    )
    assert.isAbove(named.length, 100)
    // Those that the convex command, Node.js and OpenTelemetry's SDK read themselves, which no file of ours names.
    const foreign = [
      "CONVEX_SELF_HOSTED_URL",
      "CONVEX_SELF_HOSTED_ADMIN_KEY",
      "NODE_EXTRA_CA_CERTS",
      "OTEL_BSP_SCHEDULE_DELAY",
      "OTEL_EXPORTER_OTLP_TIMEOUT",
      "OTEL_EXPORTER_OTLP_COMPRESSION",
      "OTEL_EXPORTER_OTLP_CERTIFICATE"
    ]
    assert.deepStrictEqual(
      named.filter(({ name }) => !known.has(name) && !words.has(name) && !foreign.includes(name)),
      []
    )
  })
})

describe("the symptoms in docs/operations.md", () => {
  it("are the words that the program prints, `…` apart", () => {
    const page = read("docs/operations.md")
    const rows = page
      .slice(page.indexOf("## Troubleshooting by symptom"))
      .split("\n")
      .filter((line) => line.startsWith("| ") && !/^\| (-+|you see) /.test(line))
    assert.isAbove(rows.length, 20)
    const source = globSync(["src/**/*.ts", "convex/**/*.ts", "docs/runtime/worktree.sh"], { cwd: root })
      .map(read)
      .join("\n")
      // A value within a text is what varies.
      .replaceAll(/\$\{(?:[^{}]|\{[^{}]*\})*\}/g, "…")
    const quoted = rows.flatMap((row) =>
      [...(row.split("|")[1] ?? "").matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? "")
    )
    // Node's own words, and names that stand in tables of their own.
    const notOurs = ['Unknown file extension ".ts"']
    const missing = quoted
      .filter((words) => words.includes(" ") && !notOurs.includes(words) && !/^[a-z]+ --/.test(words))
      .flatMap((words) => words.split("…").map((part) => part.replace(/:\s*$/, "").trim()))
      .filter((part) => part.length > 3 && !source.includes(part))
    assert.deepStrictEqual(missing, [])
  })
})
