/** Makes the bundle: the command line and everything it needs, without node_modules. */
import { chmodSync, existsSync, globSync, readFileSync, writeFileSync } from "node:fs"
import { isBuiltin } from "node:module"
import { dirname, join } from "node:path"
import { rolldown } from "rolldown"
import type { OutputChunk } from "rolldown"
import { inAscii } from "./ascii.ts"

const root = join(import.meta.dirname, "..")
const ENTRY = "main.js"

/**
 * How the kernel starts the bundle, and the only place that names its flags. The optimising compiler takes 10 MB for
 * undici's WebAssembly without a benefit for an idle runtime. 2 MB for young objects cost no more processor time than
 * 4 MB, which keep 3 MB more when idle; 1 MB saves 2 MB more and costs 8 % more processor time.
 */
export const HASHBANG = "#!/usr/bin/env -S node --liftoff-only --max-semi-space-size=2\n"

/** What the bundle consists of. */
export type Bundle = {
  readonly entry: string
  /** Bytes of code that `start` loads. */
  readonly eagerBytes: number
  /** Bytes of code that is loaded when it is first needed. */
  readonly lazyBytes: number
  /** The lazy files by name, without folder. */
  readonly lazy: ReadonlyArray<string>
}

/** The files that these load before they run, themselves included. */
const closureOf = (chunks: ReadonlyMap<string, OutputChunk>, names: ReadonlyArray<string>): ReadonlySet<string> => {
  const reached = new Set<string>()
  const visit = (name: string): void => {
    const chunk = chunks.get(name)
    if (chunk === undefined || reached.has(name)) return
    reached.add(name)
    chunk.imports.forEach(visit)
  }
  names.forEach(visit)
  return reached
}

/** The licences of all packages of which something is in the bundle, as they ask for. */
const licencesOf = (chunks: Iterable<OutputChunk>): string => {
  const folders = new Set<string>()
  for (const chunk of chunks) {
    for (const id of Object.keys(chunk.modules)) {
      const [, folder] = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(id) ?? []
      if (folder !== undefined) folders.add(folder)
    }
  }
  return [...folders]
    .toSorted()
    .map((folder) => {
      const { license, name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
        readonly [key in "license" | "name" | "version"]: string
      }
      const [file] = globSync("{LICENSE,LICENCE,license,licence}*", { cwd: folder }).toSorted()
      const text = file === undefined ? "" : `\n\n${readFileSync(join(folder, file), "utf8").trim()}`
      return `${name} ${version}: ${license}${text}\n`
    })
    .join(`\n${"-".repeat(80)}\n\n`)
}

/** Writes the bundle to dist/ and says what it consists of; what was there before is removed. */
export const makeBundle = async (): Promise<Bundle> => {
  const bundler = await rolldown({
    input: join(root, "src/main.ts"),
    cwd: root,
    platform: "node",
    resolve: { alias: { undici$: join(root, "build/undici.js") } },
    onLog: (level, log) => {
      if (level === "warn") throw new Error(`rolldown: ${log.message}`)
    }
  })
  const dist = join(root, "dist")
  const { output } = await bundler.write({
    dir: dist,
    cleanDir: true,
    format: "esm",
    sourcemap: true,
    // Names stay, for stack traces that can be read without the maps.
    minify: { compress: true, mangle: false, codegen: { removeWhitespace: true } },
    entryFileNames: ENTRY,
    // One folder deep: docs/runtime is two above, as it is for the files of src/layers.
    chunkFileNames: "chunks/[name].js"
  })
  await bundler.close()
  const chunks = new Map(output.flatMap((file) => (file.type === "chunk" ? [[file.fileName, file] as const] : [])))
  const foreign = [...chunks.values()].flatMap(({ dynamicImports, imports }) =>
    [...imports, ...dynamicImports].filter((name) => !chunks.has(name) && !isBuiltin(name))
  )
  if (foreign.length > 0) throw new Error(`the bundle needs ${foreign.join(", ")}, which it does not contain`)

  for (const { code, fileName, map } of chunks.values()) {
    if (map === null || !/[^\0-\x7f]/.test(code)) continue
    const narrow = inAscii(code, map.mappings)
    const file = join(dist, fileName)
    const comment = readFileSync(file, "utf8").slice(code.length)
    writeFileSync(file, narrow.code + comment)
    writeFileSync(`${file}.map`, JSON.stringify({ ...map, mappings: narrow.mappings }))
  }
  const entry = join(dist, ENTRY)
  // In place of the sources' own, whose line it keeps, so that the map stays true.
  writeFileSync(entry, readFileSync(entry, "utf8").replace(/^#!.*\n/, HASHBANG))
  chmodSync(entry, 0o755)
  writeFileSync(join(dist, "LICENSES.txt"), licencesOf(chunks.values()))

  const chunkOf = (source: string): string => {
    const found = [...chunks.values()].find(({ modules }) => join(root, source) in modules)
    if (found === undefined) throw new Error(`the bundle lacks ${source}`)
    return found.fileName
  }
  const settings = chunkOf("src/layers/Config.ts")
  if (!existsSync(join(dist, dirname(settings), "../../docs/runtime/AGENTS.md"))) {
    throw new Error(`${settings} does not find docs/runtime`)
  }
  const eager = closureOf(chunks, [ENTRY, chunkOf("src/Start.ts"), chunkOf("src/MainProgram.ts")])
  const lazy = [...chunks.keys()].filter((name) => !eager.has(name))
  const bytes = (names: Iterable<string>): number =>
    [...names].reduce((sum, name) => sum + Buffer.byteLength(chunks.get(name)!.code), 0)
  return {
    entry,
    eagerBytes: bytes(eager),
    lazyBytes: bytes(lazy),
    lazy: lazy.map((name) => name.replace("chunks/", ""))
  }
}
