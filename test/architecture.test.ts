import { globSync, readFileSync } from "node:fs"
import { basename, dirname, extname, join, relative, resolve, sep } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { parseSync, Visitor } from "rolldown/utils"

const root = resolve(import.meta.dirname, "..")

/** What one source file reaches for: what it imports, in values or types, and the globals it names. */
interface Source {
  readonly path: string
  /** Files of this repository, by their path from its root. */
  readonly files: ReadonlyArray<string>
  /** Packages and Node's own modules. */
  readonly packages: ReadonlyArray<string>
  /** `object.member` where the object is a plain name, and plain names that are called or constructed. */
  readonly names: ReadonlySet<string>
  /** The variables read from `process.env` by a literal name, and `*` for any other use of it. */
  readonly environment: ReadonlyArray<string>
  /** Those of both that are imported when the code runs, and not when it is loaded. */
  readonly lazy: ReadonlyArray<string>
  /** Files imported by `import type` alone: nothing of them is loaded. */
  readonly typesOnly: ReadonlyArray<string>
  /** Imports whose path only a run would tell. */
  readonly computedImports: number
}

const parseSource = (path: string, text: string): Source => {
  const { errors, program } = parseSync(path, text)
  assert.deepStrictEqual(errors, [], path)
  const specifiers: Array<string> = []
  const lazy: Array<string> = []
  const types: Array<string> = []
  const values: Array<string> = []
  const names = new Set<string>()
  const environment = new Map<number, string>()
  let computedImports = 0
  const literal = (node: { readonly type: string; readonly value?: unknown } | null) => {
    if (node === null) return
    if (node.type === "Literal") specifiers.push(String(node.value))
    else computedImports += 1
  }
  const isProcessEnv = (node: unknown): boolean => {
    const { object, property, type } = node as {
      type: string
      object?: { type: string; name?: string }
      property?: { name?: string; value?: unknown }
    }
    return (
      type === "MemberExpression" &&
      object?.type === "Identifier" &&
      object.name === "process" &&
      (property?.name === "env" || property?.value === "env")
    )
  }
  new Visitor({
    ImportDeclaration: (node) => {
      literal(node.source)
      ;(node.importKind === "type" ? types : values).push(node.source.value)
    },
    ExportAllDeclaration: (node) => literal(node.source),
    ExportNamedDeclaration: (node) => literal(node.source),
    ImportExpression: (node) => {
      literal(node.source)
      if (node.source.type === "Literal") lazy.push(String(node.source.value))
    },
    TSImportType: (node) => literal(node.source),
    NewExpression: (node) => {
      if (node.callee.type === "Identifier") names.add(node.callee.name)
    },
    CallExpression: (node) => {
      if (node.callee.type === "Identifier") names.add(node.callee.name)
    },
    MemberExpression: (node) => {
      if (node.object.type === "Identifier" && node.property.type === "Identifier") {
        names.add(`${node.object.name}.${node.property.name}`)
      }
      // The parent is visited first and says by which name the inner `process.env` is read.
      if (isProcessEnv(node.object)) {
        const { property } = node
        const isNamed = property.type === "Literal" || (property.type === "Identifier" && !node.computed)
        environment.set(node.object.start, !isNamed ? "*" : "name" in property ? property.name : String(property.value))
      }
      if (isProcessEnv(node) && !environment.has(node.start)) environment.set(node.start, "*")
    }
  }).visit(program)
  const isRelative = (specifier: string) => specifier.startsWith(".")
  const fromRoot = (specifier: string) =>
    isRelative(specifier)
      ? relative(root, resolve(root, dirname(path), specifier))
          .split(sep)
          .join("/")
      : specifier
  return {
    path,
    files: specifiers.filter(isRelative).map(fromRoot),
    lazy: lazy.map(fromRoot),
    typesOnly: types.filter((specifier) => !values.includes(specifier)).map(fromRoot),
    packages: specifiers.filter((specifier) => !isRelative(specifier)),
    names,
    environment: [...environment.values()],
    computedImports
  }
}

const sourcesOf = (...folders: ReadonlyArray<string>): ReadonlyArray<Source> =>
  folders
    .flatMap((folder) => globSync(`${folder}/**/*.ts`, { cwd: root }))
    .map((path) => path.split(sep).join("/"))
    .filter((path) => !path.startsWith("convex/_generated/"))
    .toSorted()
    .map((path) => parseSource(path, readFileSync(join(root, path), "utf8")))

const src = sourcesOf("src")
const convex = sourcesOf("convex")
const local = sourcesOf("local")

/** The rooms in the order of the arrows: each imports from itself and from those after it. */
const rooms = ["main", "commands", "programs", "services", "layers", "domain"] as const
const roomOf = (path: string): (typeof rooms)[number] => rooms.find((room) => path.startsWith(`src/${room}/`)) ?? "main"

/** Domain files that the control plane shares. They import nothing but the parser of Markdown, which runs anywhere. */
const shared = globSync("src/domain/shared/*.ts", { cwd: root }).map((path) => path.split(sep).join("/"))

const isWithin = (path: string, ...folders: ReadonlyArray<string>): boolean =>
  folders.some((folder) => path === folder || path.startsWith(`${folder}/`))

/** `a -> b` for each import that breaks the rule, so that a failure names the line to look for. */
const offences = (
  sources: ReadonlyArray<Source>,
  kind: "files" | "packages",
  isAllowed: (imported: string, by: string) => boolean
): ReadonlyArray<string> =>
  sources.flatMap(({ path, ...source }) =>
    source[kind].filter((imported) => !isAllowed(imported, path)).map((imported) => `${path} -> ${imported}`)
  )

const ofPackage = (name: string) => (imported: string) => imported === name || imported.startsWith(`${name}/`)
const isConvex = ofPackage("convex")
const isUndici = ofPackage("undici")

describe("the reading of sources", () => {
  it("sees imports of values, types, whole modules and at run time, and skips comments and strings", () => {
    const source = parseSource(
      "src/services/Example.ts",
      [
        'import { a } from "../layers/A.ts"',
        'import type { B } from "../domain/B.ts"',
        'export * from "undici"',
        'const c = await import("node:fs")',
        'type D = import("convex/values").Value',
        '// import "commented"',
        "const text = 'import \"quoted\"'"
      ].join("\n")
    )
    assert.deepStrictEqual(source.files, ["src/layers/A.ts", "src/domain/B.ts"])
    assert.sameMembers([...source.packages], ["undici", "node:fs", "convex/values"])
    assert.deepStrictEqual(source.lazy, ["node:fs"])
    assert.deepStrictEqual(source.typesOnly, ["src/domain/B.ts"])
  })

  it("sees which variables of the environment are read, and globals that are named", () => {
    const source = parseSource(
      "src/layers/Example.ts",
      'const a = process.env["A"]; const b = process.env.B; const c = { ...process.env }; Date.now(); new Date(); setTimeout(f)'
    )
    assert.sameMembers([...source.environment], ["A", "B", "*"])
    assert.includeMembers([...source.names], ["Date.now", "Date", "setTimeout"])
  })

  it("finds sources in every folder", () => {
    for (const sources of [src, convex, local]) assert.isAbove(sources.length, 10)
    for (const room of rooms) assert.isTrue(src.some(({ path }) => roomOf(path) === room))
  })
})

describe("the arrows of src", () => {
  it("go from main to commands, programs, services, layers and domain, and never back", () => {
    const order = (path: string) => rooms.indexOf(roomOf(path))
    assert.deepStrictEqual(
      offences(src, "files", (imported, by) => !isWithin(imported, "src") || order(imported) >= order(by)),
      []
    )
  })

  it("leave src for package.json, and for the generated API's types in the lists of functions", () => {
    const lists = ["src/domain/controlPlane/ConvexFunctions.ts"]
    const api = "convex/_generated/api.js"
    assert.deepStrictEqual(
      offences(
        src,
        "files",
        (imported, by) => isWithin(imported, "src", "package.json") || (lists.includes(by) && imported === api)
      ),
      []
    )
    for (const list of lists) assert.deepStrictEqual(src.find(({ path }) => path === list)?.typesOnly, [api])
  })

  it("are all written down: nothing is imported by a computed path", () => {
    assert.deepStrictEqual(
      [...src, ...convex].filter(({ computedImports }) => computedImports > 0).map(({ path }) => path),
      []
    )
  })

  it("form no cycle among the layers", () => {
    const layers = src.filter(({ path }) => isWithin(path, "src/layers"))
    const importsOf = new Map(layers.map(({ files, path }) => [path, files]))
    const cyclic = (path: string, trail: ReadonlyArray<string>): ReadonlyArray<string> | null => {
      if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path]
      if (acyclic.has(path)) return null
      for (const imported of importsOf.get(path) ?? []) {
        const cycle = cyclic(imported, [...trail, path])
        if (cycle !== null) return cycle
      }
      acyclic.add(path)
      return null
    }
    const acyclic = new Set<string>()
    assert.deepStrictEqual(
      layers.flatMap(({ path }) => cyclic(path, []) ?? []),
      []
    )
  })

  it("end in the domain, which knows no input and output and no client library", () => {
    assert.deepStrictEqual(
      offences(
        src.filter(({ path }) => roomOf(path) === "domain"),
        "packages",
        // Addresses are values: parsing and comparing them opens no socket.
        (imported, by) =>
          imported === "effect" ||
          imported === "effect/net" ||
          (imported === "markdown-it" && by === "src/domain/shared/Mention.ts")
      ),
      []
    )
  })

  it("do not begin in the domain files that the control plane shares, one of which uses a parser of Markdown", () => {
    const files = src.filter(({ path }) => shared.includes(path))
    assert.lengthOf(files, shared.length)
    assert.deepStrictEqual(
      files.flatMap(({ files, packages }) => [...files, ...packages]),
      ["markdown-it"]
    )
  })

  const isConvexClient = (path: string) => path === "src/layers/ConvexClient.ts" || isWithin(path, "src/layers/convex")
  const isPersonClient = (path: string) => path === "src/layers/people/PersonClient.ts"
  const isGateway = (path: string) => path === "src/layers/Gateway.ts" || isWithin(path, "src/layers/gateway")

  it("reach Convex's client through ConvexClient and PersonClient, and undici through ConvexClient and Gateway", () => {
    assert.deepStrictEqual(
      offences(src, "packages", (imported, by) => !isConvex(imported) || isConvexClient(by) || isPersonClient(by)),
      []
    )
    assert.deepStrictEqual(
      offences(src, "packages", (imported, by) => !isUndici(imported) || isConvexClient(by) || isGateway(by)),
      []
    )
  })
})

describe("OpenTelemetry", () => {
  const folder = "src/layers/telemetry/opentelemetry/"
  const file = `${folder}OpenTelemetry.ts`
  const isOpenTelemetry = (name: string) =>
    name.startsWith("@opentelemetry/") || name.startsWith("@effect/opentelemetry")

  it("is reached through one file, and that by Telemetry alone, when it runs and not when it is loaded", () => {
    assert.deepStrictEqual(
      offences(src, "packages", (imported, by) => !isOpenTelemetry(imported) || by.startsWith(folder)),
      []
    )
    assert.deepStrictEqual(
      offences(
        src,
        "files",
        (imported, by) => !imported.startsWith(folder) || imported === file || by.startsWith(folder)
      ),
      []
    )
    assert.isTrue(src.some(({ packages, path }) => path === file && packages.some(isOpenTelemetry)))
    const importers = src.filter(({ files }) => files.includes(file))
    assert.deepStrictEqual(
      importers.map(({ files, lazy, path }) => [
        path,
        files.filter((name) => name === file).length,
        lazy.includes(file)
      ]),
      [["src/layers/telemetry/Telemetry.ts", 1, true]]
    )
  })
})

describe("the arrows of the other folders", () => {
  it("lead from convex into src only to the files it shares", () => {
    assert.deepStrictEqual(
      offences(convex, "files", (imported) => isWithin(imported, "convex") || shared.includes(imported)),
      []
    )
  })

  it("keep convex free of Node and of its fakes, so that it deploys as it is; of Effect it uses Cron", () => {
    const fromEffect = new Set(["effect/Cron", "effect/Result"])
    assert.deepStrictEqual(
      offences(
        convex,
        "packages",
        (imported) => isConvex(imported) || ofPackage("convex-helpers")(imported) || fromEffect.has(imported)
      ),
      []
    )
  })

  it("lead from local only to convex, the domain and itself", () => {
    assert.deepStrictEqual(
      offences(local, "files", (imported) => isWithin(imported, "local", "convex", "src/domain", "package.json")),
      []
    )
  })
})

describe("src", () => {
  it("reads the environment in Config alone, but for NO_COLOR in Terminal", () => {
    assert.deepStrictEqual(
      src
        .filter(({ path }) => path !== "src/layers/Config.ts")
        .flatMap(({ environment, path }) => environment.map((name) => `${path} reads ${name}`)),
      ["src/layers/host/Terminal.ts reads NO_COLOR"]
    )
  })

  it("takes time and chance from Clock, Schedule and Random", () => {
    const globals = ["Date", "Date.now", "Math.random", "setTimeout", "setInterval", "setImmediate", "performance.now"]
    assert.deepStrictEqual(
      src.flatMap(({ names, path }) => globals.filter((name) => names.has(name)).map((name) => `${path} uses ${name}`)),
      []
    )
  })

  it("holds no file of odds and ends", () => {
    const odds = new Set(["utils", "util", "helpers", "helper", "common", "index", "misc"])
    assert.deepStrictEqual(
      [...src, ...convex, ...local]
        .map(({ path }) => path)
        .filter((path) => odds.has(basename(path, extname(path)).toLowerCase())),
      []
    )
  })

  it("names its files in PascalCase but for main", () => {
    assert.deepStrictEqual(
      src
        .map(({ path }) => path)
        .filter((path) => path !== "src/main.ts" && !/^[A-Z][A-Za-z0-9]*\.ts$/.test(basename(path))),
      []
    )
  })
})
