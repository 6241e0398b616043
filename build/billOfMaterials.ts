/** The npm packages that the program needs, as CycloneDX. */
import { npmIn } from "./npm.ts"

interface Component {
  readonly "bom-ref": string
  readonly name: string
  readonly version: string
  readonly purl: string
  readonly licenses?: ReadonlyArray<{
    readonly license?: { readonly id?: string; readonly name?: string }
    readonly expression?: string
  }>
  readonly properties: ReadonlyArray<{ readonly name: string; readonly value: string }>
}

/** A bill of materials, as far as this project reads it. */
export interface BillOfMaterials {
  readonly bomFormat: string
  readonly metadata: { readonly component: { readonly name: string; readonly "bom-ref": string } }
  readonly components: ReadonlyArray<Component>
  readonly dependencies: ReadonlyArray<{ readonly ref: string; readonly dependsOn: ReadonlyArray<string> }>
}

const isOfDevelopment = ({ properties }: Component): boolean =>
  properties.some(({ name, value }) => name === "cdx:npm:package:development" && value === "true")

/**
 * Reads the lock file in `folder`. npm's own `--omit dev` also omits packages that a development dependency uses, such
 * as `effect` and `convex`. So npm lists all, and this removes those that npm marks as for development only. It also
 * removes the random serial number, the time and npm's version, so that one lock file always gives the same bytes.
 */
export const billOfMaterials = (folder: string): BillOfMaterials => {
  const { serialNumber: _, ...all }: BillOfMaterials & { readonly serialNumber: string } = JSON.parse(
    npmIn(folder, "sbom", "--package-lock-only", "--sbom-format", "cyclonedx")
  )
  const out = new Set(all.components.filter(isOfDevelopment).map((component) => component["bom-ref"]))
  // npm names the root after its directory.
  const { component } = all.metadata
  const name = component["bom-ref"].slice(0, component["bom-ref"].lastIndexOf("@"))
  return {
    ...all,
    metadata: { component: { ...component, name } },
    components: all.components.filter((each) => !out.has(each["bom-ref"])),
    dependencies: all.dependencies
      .filter(({ ref }) => !out.has(ref))
      .map(({ dependsOn, ref }) => ({ ref, dependsOn: dependsOn.filter((each) => !out.has(each)) }))
  }
}

/** The bill as the text of a file. */
export const billText = (folder: string): string => `${JSON.stringify(billOfMaterials(folder), null, 2)}\n`
