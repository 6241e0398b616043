import { fileURLToPath } from "node:url"
import { demoTeam } from "../account.ts"

/** The script of the demonstration's agents. */
export const demoScript = fileURLToPath(new URL("script.json", import.meta.url))

/** The scripted gateway's arguments: the demo's team and the script of its model. */
export const gatewayArgs: ReadonlyArray<string> = [
  "--agents",
  demoTeam.map(({ slug }) => slug).join(","),
  "--script",
  demoScript
]
