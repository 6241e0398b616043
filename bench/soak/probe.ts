/**
 * Preloaded (`node --import`) into a soaked runtime. After a garbage collection it reports the process's resources on
 * the Unix socket named by SOAK_PROBE. The runtime itself has no such code.
 */
import { EventEmitter } from "node:events"
import { createServer } from "node:http"
import { queryObjects, setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { Sample } from "./sample.ts"

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

let warnings = 0
process.on("warning", ({ name }) => {
  if (name === "MaxListenersExceededWarning") warnings += 1
})

const counted = (names: ReadonlyArray<string>, name: string): number => names.filter((one) => one === name).length

const sample = (): Sample => {
  // Twice, because finalizers of the first one release garbage for the second.
  collect()
  collect()
  const { arrayBuffers, external, heapUsed, rss } = process.memoryUsage()
  const resources = process.getActiveResourcesInfo()
  const listeners = process.eventNames().reduce((sum, event) => sum + process.listenerCount(event), 0)
  return {
    heap: heapUsed,
    external: external + arrayBuffers,
    resident: rss,
    handles: resources.filter((name) => name !== "Timeout" && name !== "Immediate").length,
    sockets: counted(resources, "TCPSocketWrap"),
    timers: counted(resources, "Timeout"),
    listeners,
    warnings,
    emitters: queryObjects(EventEmitter, { format: "count" }),
    signals: queryObjects(EventTarget, { format: "count" }),
    promises: queryObjects(Promise, { format: "count" })
  }
}

const path = process.env["SOAK_PROBE"]
if (path !== undefined) {
  const server = createServer((_, response) => response.end(JSON.stringify(sample())))
  server.listen(path)
  server.unref()
}
