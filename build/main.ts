#!/usr/bin/env node
/** `npm run build`: builds dist/ and prints its size. */
import { makeBundle } from "./bundle.ts"

const { eagerBytes, lazyBytes, lazy } = await makeBundle()
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`
process.stdout.write(`dist/: ${megabytes(eagerBytes)} loaded at the start, ${megabytes(lazyBytes)} when needed\n`)
if (lazy.length > 0) process.stdout.write(`  when needed: ${lazy.join(", ")}\n`)
