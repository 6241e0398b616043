/**
 * UPGRADE_COMMAND of the runtime under Kubernetes: changes the images of the pod's own StatefulSet to the requested
 * versions. The list of images has a line name:tag@sha256:digest for each version that may start. Kubernetes then
 * replaces the pod, and the node pulls the images by these digests. The last line of an error is the request's message.
 */
import { readFileSync } from "node:fs"
import { request } from "node:https"
import { hostname } from "node:os"

const IMAGES = "/upgrades-allowed/images"
const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
const TIMEOUT_MS = 30_000

const { KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT, UPGRADE_OPENCLAW_VERSION, UPGRADE_RUNTIME_VERSION } =
  process.env
const read = (path) => readFileSync(path, "utf8")

/** Calls the cluster's API about the pod's StatefulSet, whose pods are named after it with a number. */
const call = (method, query, body, contentType) =>
  new Promise((resolve, reject) => {
    const name = hostname().replace(/-\d+$/, "")
    const path = `/apis/apps/v1/namespaces/${read(`${ACCOUNT}/namespace`).trim()}/statefulsets/${name}`
    const call = request(
      {
        host: KUBERNETES_SERVICE_HOST,
        port: KUBERNETES_SERVICE_PORT,
        method,
        path: path + query,
        ca: read(`${ACCOUNT}/ca.crt`),
        headers: {
          authorization: `Bearer ${read(`${ACCOUNT}/token`).trim()}`,
          ...(body === undefined ? {} : { "content-type": contentType })
        },
        timeout: TIMEOUT_MS
      },
      (response) => {
        let text = ""
        response.setEncoding("utf8").on("data", (chunk) => (text += chunk))
        response.on("error", reject)
        response.on("end", () =>
          response.statusCode === 200
            ? resolve(JSON.parse(text))
            : reject(new Error(`${method} ${path}: ${response.statusCode} ${text.slice(0, 200)}`))
        )
      }
    )
    call.on("timeout", () => call.destroy(new Error(`${method} ${path}: no answer in ${TIMEOUT_MS / 1000} s`)))
    call.on("error", reject)
    call.end(body)
  })

/** The name of an image without tag and digest. The name may begin with a registry's port. */
const nameOf = (image) => image.replace(/@.*$/, "").replace(/:[^/:]*$/, "")

const main = async () => {
  const { spec } = (await call("GET", "")).spec.template
  const lists = { containers: spec.containers, initContainers: spec.initContainers ?? [] }
  const change = { containers: [], initContainers: [] }
  for (const [part, version] of [
    ["runtime", UPGRADE_RUNTIME_VERSION],
    ["openclaw", UPGRADE_OPENCLAW_VERSION]
  ]) {
    if (!version) continue
    const current = [...lists.containers, ...lists.initContainers].find(({ name }) => name === part)
    if (current === undefined) throw new Error(`The pod has no container ${part}, so its version cannot be changed.`)
    const name = nameOf(current.image)
    const image = read(IMAGES)
      .split("\n")
      .find((line) => line.startsWith(`${name}:${version}@sha256:`))
    if (image === undefined)
      throw new Error(`The list of images has no digest of ${name}:${version}. Add it and apply.`)
    for (const [list, containers] of Object.entries(lists)) {
      const same = containers.filter((container) => nameOf(container.image) === name)
      change[list].push(...same.map((container) => ({ name: container.name, image: image.trim() })))
    }
    console.log(`${part}: ${current.image} -> ${image}`)
  }
  // As an owner of its own, so that `kubectl apply --server-side` reports images that the account's folder does not have.
  await call(
    "PATCH",
    "?fieldManager=mission-control-upgrades",
    JSON.stringify({ spec: { template: { spec: change } } }),
    "application/strategic-merge-patch+json"
  )
}

try {
  await main()
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
