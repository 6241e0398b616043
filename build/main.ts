#!/usr/bin/env node
/** `npm run build`: builds dist/ with its bill of materials, and prints its size. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { billText } from "./billOfMaterials.ts"
import { makeBundle } from "./bundle.ts"

const root = join(import.meta.dirname, "..")
const { eagerBytes, lazyBytes, lazy } = await makeBundle()
writeFileSync(join(root, "dist/sbom.cdx.json"), billText(root))
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`
process.stdout.write(`dist/: ${megabytes(eagerBytes)} loaded at the start, ${megabytes(lazyBytes)} when needed\n`)
if (lazy.length > 0) process.stdout.write(`  when needed: ${lazy.join(", ")}\n`)
