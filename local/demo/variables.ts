import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import type { Account } from "../account.ts"
import type { Launched, LaunchedPlane } from "../launcher.ts"
import { identityOf } from "../person.ts"

/** Variables for the commands of operators and people in another terminal, in a file that only this user can read. */
export const writeVariables = (folder: string, account: Account, plane: LaunchedPlane, runtime: Launched) =>
  Effect.sync(() => {
    const file = join(folder, "you.env")
    const lines = [
      `CONVEX_URL=${plane.url}`,
      `ACCOUNT_ID=${account.accountId}`,
      `SERVICE_TOKEN=${account.serviceToken}`,
      `HEALTH_PORT=${new URL(runtime.url).port}`,
      `CONVEX_DEPLOY_KEY=${plane.adminKey}`,
      `MISSION_CONTROL_IDENTITY=${JSON.stringify(identityOf("Pat"))}`
    ]
    writeFileSync(file, `${lines.join("\n")}\n`, { mode: 0o600 })
    return file
  })

/** A command to copy, which uses the variables in this file. */
export const commandLine = (file: string): string => `  npx node --env-file=${file} src/main.ts tasks list`
