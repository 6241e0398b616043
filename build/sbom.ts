#!/usr/bin/env node
/**
 * `npm run sbom`: prints the npm packages that the program needs, as CycloneDX. npm's own `--omit dev` also omits
 * packages that a development dependency uses, such as `effect` and `convex`. So npm lists all, and this removes those
 * that npm marks as for development only.
 */
import { execFileSync } from "node:child_process"

interface Component {
  readonly "bom-ref": string
  readonly properties: ReadonlyArray<{ readonly name: string; readonly value: string }>
}
interface Bill {
  readonly metadata: { readonly component: { readonly name: string; readonly "bom-ref": string } }
  readonly components: ReadonlyArray<Component>
  readonly dependencies: ReadonlyArray<{ readonly ref: string; readonly dependsOn: ReadonlyArray<string> }>
}

const all: Bill = JSON.parse(
  execFileSync("npm", ["sbom", "--package-lock-only", "--sbom-format", "cyclonedx"], {
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024
  })
)
const isOfDevelopment = ({ properties }: Component): boolean =>
  properties.some(({ name, value }) => name === "cdx:npm:package:development" && value === "true")
const out = new Set(all.components.filter(isOfDevelopment).map((component) => component["bom-ref"]))
// npm names the root after its directory.
const { component } = all.metadata
const name = component["bom-ref"].slice(0, component["bom-ref"].lastIndexOf("@"))
const bill: Bill = {
  ...all,
  metadata: { ...all.metadata, component: { ...component, name } },
  components: all.components.filter((component) => !out.has(component["bom-ref"])),
  dependencies: all.dependencies
    .filter(({ ref }) => !out.has(ref))
    .map(({ dependsOn, ref }) => ({ ref, dependsOn: dependsOn.filter((each) => !out.has(each)) }))
}
process.stdout.write(`${JSON.stringify(bill, null, 2)}\n`)
