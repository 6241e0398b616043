/** deploy/kubernetes as kustomize builds it: valid for the API, confined, and upgraded by the runtime itself. */
import { execFile } from "node:child_process"
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createServer } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join, relative, resolve } from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { parseAllDocuments } from "yaml"
import { allVariables } from "../../src/domain/settings/Variables.ts"
import { ask, docker, image } from "./docker.ts"

const kubernetes = resolve(import.meta.dirname, "../../deploy/kubernetes")
const run = promisify(execFile)

const folderIn = (parent: string) =>
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(parent, "mission-control-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )

type Manifest = Record<string, any> & { readonly apiVersion: string; readonly kind: string }

const build = (folder: string): Effect.Effect<ReadonlyArray<Manifest>> =>
  Effect.promise(async () => {
    const { stdout } = await run("kustomize", ["build", folder])
    return parseAllDocuments(stdout).map((document) => document.toJS() as Manifest)
  })

const example = build(join(kubernetes, "accounts/acme"))

/** An account's folder without components, for a gateway elsewhere. */
const withoutComponents = Effect.gen(function* () {
  const folder = yield* folderIn(tmpdir())
  writeFileSync(
    join(folder, "kustomization.yaml"),
    `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: mission-control-umbra
resources: [${relative(folder, join(kubernetes, "base"))}]
configMapGenerator:
  - name: mission-control-account
    literals: [ACCOUNT_ID=a, "CONVEX_URL=https://a.convex.cloud", "OPENCLAW_GATEWAY_URL=https://gateway.example.com"]
`
  )
  return yield* build(folder)
})

const only = (manifests: ReadonlyArray<Manifest>, kind: string): Manifest => {
  const found = manifests.filter((manifest) => manifest.kind === kind)
  assert.lengthOf(found, 1, kind)
  return found[0]!
}
const podOf = (manifests: ReadonlyArray<Manifest>) => only(manifests, "StatefulSet")["spec"].template.spec
const containersOf = (pod: any): ReadonlyArray<any> => [...pod.containers, ...(pod.initContainers ?? [])]
const runtimeOf = (pod: any) => pod.containers.find(({ name }: { name: string }) => name === "runtime")

const modelOf = ({ apiVersion, kind }: Manifest): string =>
  apiVersion.startsWith("monitoring.coreos.com/")
    ? `@kubernetes-models/prometheus-operator/${apiVersion}/${kind}`
    : `kubernetes-models/${apiVersion}/${kind}`

/** The API's schemas, which allow unknown fields, and their types, which do not. */
const assertValid = (manifests: ReadonlyArray<Manifest>) =>
  Effect.gen(function* () {
    for (const manifest of manifests) {
      const model = yield* Effect.promise(() => import(modelOf(manifest)))
      new model[manifest.kind](manifest).validate()
    }
    const folder = yield* folderIn(join(import.meta.dirname, "node_modules"))
    const file = join(folder, "manifests.ts")
    writeFileSync(
      file,
      manifests
        .map(
          (manifest, index) =>
            `import type { I${manifest.kind} as I${index} } from "${modelOf(manifest)}"\n` +
            `export const manifest${index}: I${index} = ${JSON.stringify(manifest)}\n`
        )
        .join("")
    )
    const flags = ["--ignoreConfig", "--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext"]
    const problems = yield* Effect.promise(() =>
      run("tsc", [...flags, "--target", "es2024", file]).then(
        () => "",
        ({ stdout }: { stdout: string }) => stdout
      )
    )
    assert.strictEqual(problems, "")
  })

describe("the manifests of an account", () => {
  it.live("are valid for the Kubernetes API, with all components and with none", () =>
    Effect.gen(function* () {
      const manifests = yield* example
      assert.deepStrictEqual(manifests.map(({ kind }) => kind).toSorted(), [
        "ConfigMap",
        "ConfigMap",
        "ConfigMap",
        "Namespace",
        "NetworkPolicy",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PodMonitor",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
        "StatefulSet"
      ])
      yield* assertValid(manifests)
      const plain = yield* withoutComponents
      yield* assertValid(plain)
      assert.lengthOf(containersOf(podOf(plain)), 1)
      const upgrades = [manifests, plain].map((each) =>
        runtimeOf(podOf(each)).env.filter(({ name }: { name: string }) => name === "UPGRADE_COMMAND")
      )
      assert.deepStrictEqual(
        upgrades.map(([{ value }]) => value),
        ["node /upgrades/apply-upgrade.mjs", "false"]
      )
    })
  )

  it.live("are refused with an unknown field", () =>
    Effect.gen(function* () {
      const manifests = yield* example
      podOf(manifests).imagePullSecret = [{ name: "registry" }]
      const refused = yield* Effect.exit(assertValid(manifests))
      assert.strictEqual(refused._tag, "Failure")
    })
  )

  it.live("are all in the account's namespace, which allows only confined pods", () =>
    Effect.gen(function* () {
      const manifests = yield* example
      const { metadata } = only(manifests, "Namespace")
      assert.strictEqual(metadata.labels["pod-security.kubernetes.io/enforce"], "restricted")
      for (const { kind, metadata: each } of manifests.filter((manifest) => manifest.kind !== "Namespace")) {
        assert.strictEqual(each.namespace, metadata.name, kind)
      }
    })
  )

  it.live("name every image by tag and digest, and confine every container", () =>
    Effect.gen(function* () {
      const pod = podOf(yield* example)
      assert.containSubset(pod.securityContext, { runAsNonRoot: true, runAsUser: 10001 })
      assert.deepStrictEqual(pod.securityContext.seccompProfile, { type: "RuntimeDefault" })
      assert.lengthOf(containersOf(pod), 3)
      for (const container of containersOf(pod)) {
        assert.match(container.image, /^[^:@]+:\d[\w.-]*@sha256:[0-9a-f]{64}$/)
        assert.deepStrictEqual(container.securityContext, {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] }
        })
        assert.hasAllKeys(container.resources.requests, ["cpu", "memory"])
        assert.hasAllKeys(container.resources.limits, ["memory"])
      }
    })
  )

  it.live("keep the runtime's id over rollouts, and set only known variables", () =>
    Effect.gen(function* () {
      const manifests = yield* example
      const { env, envFrom } = runtimeOf(podOf(manifests))
      const { valueFrom } = env.find(({ name }: { name: string }) => name === "RUNTIME_ID")
      assert.deepStrictEqual(valueFrom, { fieldRef: { fieldPath: "metadata.name" } })
      const maps = manifests.filter(
        ({ kind, metadata }) => kind === "ConfigMap" && metadata.name === envFrom[0].configMapRef.name
      )
      const names = [...Object.keys(only(maps, "ConfigMap")["data"]), ...env.map(({ name }: { name: string }) => name)]
      const known = allVariables.flatMap(([name, { kind }]) => (kind === "secret" ? [name, `${name}_FILE`] : [name]))
      for (const name of names) assert.include(known, name)
      assert.isFalse(names.some((name) => name.endsWith("TOKEN")))
    })
  )

  it.live("probe only the process for liveness, and give the drain its time", () =>
    Effect.gen(function* () {
      const pod = podOf(yield* example)
      const { env, livenessProbe, readinessProbe, startupProbe } = runtimeOf(pod)
      assert.strictEqual(livenessProbe.httpGet.path, "/livez")
      assert.strictEqual(startupProbe.httpGet.path, "/livez")
      assert.strictEqual(readinessProbe.httpGet.path, "/readyz")
      const { value } = env.find(({ name }: { name: string }) => name === "DRAIN_TIMEOUT_MS")
      assert.isAtLeast(pod.terminationGracePeriodSeconds, Number(value) / 1_000 + 18)
    })
  )

  it.live("give the gateway, where agents run programs, neither the service token nor the API's", () =>
    Effect.gen(function* () {
      const pod = podOf(yield* example)
      const gateway = pod.initContainers.find(({ name }: { name: string }) => name === "openclaw")
      assert.strictEqual(gateway.restartPolicy, "Always", "a sidecar stops after the runtime")
      assert.strictEqual(pod.automountServiceAccountToken, false)
      const volumes = gateway.volumeMounts.map(({ name }: { name: string }) =>
        [...pod.volumes, { name: "openclaw" }].find((volume) => volume.name === name)
      )
      assert.deepStrictEqual(volumes.map(({ name }: { name: string }) => name).toSorted(), [
        "gateway-tmp",
        "gateway-token",
        "openclaw"
      ])
      const { secret } = volumes.find(({ name }: { name: string }) => name === "gateway-token")
      assert.deepStrictEqual(secret.items, [{ key: "gateway-token", path: "gateway_token" }])
    })
  )

  it.live("copy the provider's settings once, into a folder that only the gateway's user can read", () =>
    Effect.gen(function* () {
      const pod = podOf(yield* example)
      const configure = pod.initContainers[0]
      const volume = yield* folderIn(tmpdir())
      // As the kubelet prepares it: the group may write.
      chownSync(volume, 0, 10_001)
      chmodSync(volume, 0o2775)
      const settings = join(volume, "openclaw.json")
      writeFileSync(settings, "{ first: true }", { mode: 0o644 })
      const start = ask(
        "run",
        "--rm",
        "--read-only",
        `--volume=${volume}:/volume`,
        `--volume=${settings}:/run/secrets/openclaw/openclaw.json:ro`,
        `--user=${pod.securityContext.runAsUser}:${pod.securityContext.runAsGroup}`,
        `--entrypoint=${configure.command[0]}`,
        "mission-control-openclaw:2026.9.6",
        ...configure.command.slice(1)
      )
      yield* start
      const { gid, mode, uid } = statSync(join(volume, "openclaw"))
      assert.deepStrictEqual([uid, gid, mode & 0o777], [10_001, 10_001, 0o700])
      const copied = join(volume, "openclaw/openclaw.json")
      assert.strictEqual(statSync(copied).mode & 0o777, 0o600)
      writeFileSync(copied, "{ changed: true }")
      yield* start
      assert.strictEqual(readFileSync(copied, "utf8"), "{ changed: true }")
    })
  )

  it.live("select the runtime's pod, and let it change only its own StatefulSet", () =>
    Effect.gen(function* () {
      const manifests = yield* example
      const set = only(manifests, "StatefulSet")
      const { labels } = set["spec"].template.metadata
      for (const selector of [
        set["spec"].selector.matchLabels,
        only(manifests, "Service")["spec"].selector,
        only(manifests, "PodDisruptionBudget")["spec"].selector.matchLabels,
        only(manifests, "PodMonitor")["spec"].selector.matchLabels
      ]) {
        assert.isNotEmpty(selector)
        assert.containSubset(labels, selector)
      }
      assert.deepStrictEqual(only(manifests, "Role")["rules"], [
        {
          apiGroups: ["apps"],
          resources: ["statefulsets"],
          resourceNames: [set["metadata"].name],
          verbs: ["get", "patch"]
        }
      ])
    })
  )
})

type Call = {
  readonly method: string
  readonly url: string
  readonly type: string
  readonly token: string
  readonly body: string
}

/** The part of the Kubernetes API that the runtime uses, over TLS, with the example's StatefulSet. */
const startApi = Effect.gen(function* () {
  const folder = yield* folderIn(tmpdir())
  const account = join(folder, "serviceaccount")
  mkdirSync(account)
  const subject = ["-subj", "/CN=kubernetes", "-addext", "subjectAltName=IP:127.0.0.1"]
  const newKey = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", join(folder, "key")]
  yield* Effect.promise(() => run("openssl", [...newKey, ...subject, "-out", join(account, "ca.crt")]))
  writeFileSync(join(account, "token"), "pod-token\n")
  writeFileSync(join(account, "namespace"), "mission-control-acme")
  const set = only(yield* example, "StatefulSet")
  const calls: Array<Call> = []
  const port = yield* Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
      const tls = { key: readFileSync(join(folder, "key")), cert: readFileSync(join(account, "ca.crt")) }
      const server = createServer(tls, (request, response) => {
        let body = ""
        request.setEncoding("utf8").on("data", (chunk: string) => void (body += chunk))
        request.on("end", () => {
          const { headers, method = "", url = "" } = request
          calls.push({ method, url, type: headers["content-type"] ?? "", token: headers.authorization ?? "", body })
          response.end(JSON.stringify(set))
        })
      })
      server.listen(0, "127.0.0.1", () =>
        resume(Effect.succeed({ port: (server.address() as AddressInfo).port, close: () => void server.close() }))
      )
    }),
    ({ close }) => Effect.sync(close)
  )
  const images = join(folder, "images")
  /** Runs the command of the example in the runtime's image, as the runtime does. */
  const upgrade = (env: Readonly<Record<string, string>>, list: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      writeFileSync(images, list.join("\n"))
      const variables = { KUBERNETES_SERVICE_HOST: "127.0.0.1", KUBERNETES_SERVICE_PORT: String(port.port), ...env }
      const { value } = runtimeOf(podOf([set])).env.find(({ name }: { name: string }) => name === "UPGRADE_COMMAND")
      const [command, ...args] = value.split(" ")
      return yield* docker([
        "run",
        "--rm",
        "--network=host",
        "--hostname=mission-control-runtime-0",
        `--volume=${join(kubernetes, "upgrades/apply-upgrade.mjs")}:/upgrades/apply-upgrade.mjs:ro`,
        `--volume=${images}:/upgrades-allowed/images:ro`,
        `--volume=${account}:/var/run/secrets/kubernetes.io/serviceaccount:ro`,
        ...Object.entries(variables).flatMap(([name, each]) => ["--env", `${name}=${each}`]),
        `--entrypoint=${command}`,
        image,
        ...args
      ])
    })
  return { calls, upgrade }
})

const digest = (digit: string) => `sha256:${digit.repeat(64)}`

describe("an upgrade under Kubernetes", () => {
  it.live("changes the images of the requested parts to the listed digests", () =>
    Effect.gen(function* () {
      const { calls, upgrade } = yield* startApi
      const [runtime, gateway] = [
        `registry.example.com/mission-control-runtime:1.1.0@${digest("1")}`,
        `registry.example.com/mission-control-openclaw:2026.9.7@${digest("2")}`
      ]
      const both = { UPGRADE_RUNTIME_VERSION: "1.1.0", UPGRADE_OPENCLAW_VERSION: "2026.9.7" }
      const { code, err } = yield* upgrade(both, [runtime, gateway])
      assert.strictEqual(code, 0, err)
      const path = "/apis/apps/v1/namespaces/mission-control-acme/statefulsets/mission-control-runtime"
      assert.deepStrictEqual(
        calls.map(({ method, token, url }) => [method, url, token]),
        [
          ["GET", path, "Bearer pod-token"],
          ["PATCH", `${path}?fieldManager=mission-control-upgrades`, "Bearer pod-token"]
        ]
      )
      assert.strictEqual(calls[1]?.type, "application/strategic-merge-patch+json")
      assert.deepStrictEqual(JSON.parse(calls[1]?.body ?? ""), {
        spec: {
          template: {
            spec: {
              containers: [{ name: "runtime", image: runtime }],
              initContainers: [
                { name: "configure", image: gateway },
                { name: "openclaw", image: gateway }
              ]
            }
          }
        }
      })
    })
  )

  it.live("fails with a message that says what to do if the list has no digest, and changes nothing", () =>
    Effect.gen(function* () {
      const { calls, upgrade } = yield* startApi
      const { code, err } = yield* upgrade({ UPGRADE_RUNTIME_VERSION: "1.1.0", UPGRADE_OPENCLAW_VERSION: "" }, [
        `registry.example.com/mission-control-runtime:1.1.0`,
        `registry.example.com/other:1.1.0@${digest("1")}`
      ])
      assert.strictEqual(code, 1)
      assert.match(
        err.trim().split("\n").at(-1) ?? "",
        /no digest of registry.example.com\/mission-control-runtime:1.1.0\./
      )
      assert.deepStrictEqual(
        calls.map(({ method }) => method),
        ["GET"]
      )
    })
  )
})
