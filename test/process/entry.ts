import { join, resolve } from "node:path"

/** The file that process tests run: the bundle, which `npm run test:process` builds; elsewhere the source. */
export const entry = process.env["RUNTIME_ENTRY"] ?? join(resolve(import.meta.dirname, "../.."), "src/main.ts")
