import { describe } from "vitest"
import { gatewayContract } from "../gateway-contract/suite.ts"

const required = (name: string): string => {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is not set: run these tests with \`npm run test:openclaw\``)
  return value
}

describe("the real gateway", () => {
  gatewayContract(async () => ({
    url: required("OPENCLAW_TEST_URL"),
    token: required("OPENCLAW_TEST_TOKEN"),
    modelUrl: required("OPENCLAW_TEST_MODEL_URL"),
    version: required("OPENCLAW_TEST_VERSION"),
    configPath: required("OPENCLAW_TEST_CONFIG_PATH"),
    real: true
  }))
})
