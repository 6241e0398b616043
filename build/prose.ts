#!/usr/bin/env node
/** Checks the words of documents, and of the comments and strings in the code, by the terms in .textlintrc.json. */
import { createLinter, loadLinterFormatter, loadTextlintrc } from "textlint"
import { sourceTree } from "./sourceText.ts"

/** Documents, and the code that follows the word list. */
const files = ["**/*.md", "{build,local}/**/*.ts", "convex/{app,model,scheduled,service,tables}/**/*.ts", "src/**/*.ts"]

/** textlint's plugin for code. */
class Processor {
  availableExtensions = () => [".ts"]
  processor = () => ({
    preProcess: (text: string, path = "source.ts") => sourceTree(path, text),
    postProcess: (messages: [], filePath = "source.ts") => ({ messages, filePath })
  })
}

const descriptor = await loadTextlintrc()
const plugins = [...descriptor.plugin.toKernelPluginsFormat(), { pluginId: "source", plugin: { Processor } }]
const linter = createLinter({ descriptor: descriptor.shallowMerge({ plugins }) })
const results = (await linter.lintFiles(files)).filter(({ messages }) => messages.length > 0)
if (results.length > 0) {
  process.stdout.write((await loadLinterFormatter({ formatterName: "stylish" })).format(results))
  process.exitCode = 1
}
