import { expect, it } from "vitest"
import { installedOpenClaw } from "../../local/openclaw/install.ts"
import { compareConfig, readConfigSchema } from "./configSchema.ts"
import { setting } from "./sharedGateway.ts"

it("the configuration's schema has every setting that the runtime writes", () => {
  const schema = readConfigSchema(installedOpenClaw(setting("OPENCLAW_TEST_VERSION"))!)
  expect(compareConfig(schema, schema)).toEqual({ broken: [], removed: [], added: [] })
})
