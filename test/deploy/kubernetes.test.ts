import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { parse } from "yaml"
import { allVariables, variables } from "../../src/domain/settings/Variables.ts"

const manifest = parse(readFileSync(new URL("../../docs/kubernetes.yaml", import.meta.url), "utf8")) as any
const pod = manifest.spec.template.spec
const [container] = pod.containers

describe("the Kubernetes manifest", () => {
  it("sets only variables that there are", () => {
    const known = allVariables.flatMap(([name, { kind }]) => (kind === "secret" ? [name, `${name}_FILE`] : [name]))
    for (const { name } of container.env) expect(known).toContain(name)
  })

  it("asks liveness of the process alone, readiness of what it needs", () => {
    expect(container.livenessProbe.httpGet.path).toBe("/livez")
    expect(container.startupProbe.httpGet.path).toBe("/livez")
    expect(container.readinessProbe.httpGet.path).toBe("/readyz")
  })

  it("leaves the drain its time", () => {
    const drainSeconds = variables.DRAIN_TIMEOUT_MS.usual / 1_000
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(drainSeconds + 18)
  })

  it("runs without rights, without a writable image, and with secrets as files", () => {
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } })
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] }
    })
    const mount = container.volumeMounts.find((each: any) => each.name === "secrets")
    const secrets = container.env.filter((each: any) => each.name.endsWith("_FILE"))
    expect(secrets).toHaveLength(2)
    for (const { value } of secrets) expect(value).toMatch(new RegExp(`^${mount.mountPath}/`))
  })

  it("selects the pods that it makes", () => {
    expect(manifest.spec.template.metadata.labels).toMatchObject(manifest.spec.selector.matchLabels)
  })
})
