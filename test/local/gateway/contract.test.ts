import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe } from "vitest"
import { knownVersions } from "../../../local/gateway/release.ts"
import { ScriptedGateway } from "../../../local/gateway/server.ts"
import { startModel } from "../../../local/model/server.ts"
import { gatewayContract } from "../../gateway-contract/suite.ts"
import type { Target, Variant, VariantOptions } from "../../gateway-contract/target.ts"
import { gatewayConfig } from "../../openclaw/gatewayConfig.ts"

const token = "contract-token"
const folder = mkdtempSync(join(tmpdir(), "gateway-contract-"))
const open: Array<AsyncDisposable> = []
afterAll(async () => {
  for (const each of open) await each[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

describe.each(knownVersions)("the scripted gateway as %s", (version) => {
  gatewayContract(async () => {
    const model = await startModel()
    open.push(model)
    const configPath = join(folder, `openclaw-${version}.json`)
    const agents = ["alpha", "beta"]
    const config = gatewayConfig({ version, port: 18_789, token, modelUrl: model.url, root: folder, agents })
    writeFileSync(configPath, JSON.stringify(config))

    const targetOf = (gateway: ScriptedGateway): Target => ({
      url: gateway.url,
      token,
      modelUrl: model.url,
      version,
      configPath,
      real: false,
      variant
    })
    const variant = async (options: VariantOptions): Promise<Variant> => {
      const gateway = await ScriptedGateway.start({
        token,
        version,
        modelUrl: `${model.url}/v1`,
        agents: options.agents ?? agents,
        toolSearch: options.toolSearch,
        maxConcurrent: options.maxConcurrent,
        timeScale: options.timeScale ?? 0.01
      })
      return {
        target: targetOf(gateway),
        drain: () => gateway.drain(),
        [Symbol.asyncDispose]: () => gateway.stop()
      }
    }

    const gateway = await ScriptedGateway.start({
      port: 0,
      config: configPath,
      version,
      modelUrl: `${model.url}/v1`,
      timeScale: 0.01
    })
    open.push(gateway)
    return targetOf(gateway)
  })
})
