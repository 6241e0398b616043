import { describe } from "vitest"
import { gatewayContract } from "../gateway-contract/suite.ts"
import { setting, sharedGateway } from "./sharedGateway.ts"

describe("the real gateway", () => {
  gatewayContract(async () => ({
    ...sharedGateway(),
    modelUrl: setting("OPENCLAW_TEST_MODEL_URL"),
    version: setting("OPENCLAW_TEST_VERSION"),
    configPath: setting("OPENCLAW_TEST_CONFIG_PATH"),
    real: true
  }))
})
