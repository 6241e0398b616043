import { join } from "node:path"

/** Settings of a gateway that only runs agents' turns: nothing that costs time at its start or calls other servers. */
export const bareSettings = (root: string): object => ({
  browser: { enabled: false },
  cron: { enabled: false },
  discovery: { mdns: { mode: "off" } },
  update: { checkOnStart: false, auto: { enabled: false } },
  logging: { level: "info", file: join(root, "gateway.log"), consoleStyle: "pretty" }
})
