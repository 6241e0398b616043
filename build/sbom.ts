#!/usr/bin/env node
/** `npm run sbom`: prints the bill of materials. */
import { join } from "node:path"
import { billText } from "./billOfMaterials.ts"

process.stdout.write(billText(join(import.meta.dirname, "..")))
