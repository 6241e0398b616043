import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")
const settings = [...read("deploy/compose/account.env").matchAll(/^#?([A-Z_]+)=(.*)$/gm)].map(
  ([, name = "", value = ""]) => ({ name, value })
)

describe("the files of an account under Compose", () => {
  it("set only what the compose file, Compose or the upgrade reads, and everything that accounts must not share", () => {
    const compose = read("docker-compose.runtime.yml")
    const script = read("deploy/apply-upgrade.sh")
    const names = settings.map(({ name }) => name)
    assert.deepStrictEqual(
      names.filter(
        (name) => !compose.includes(`\${${name}:-`) && !script.includes(name) && !name.startsWith("COMPOSE_PRO")
      ),
      []
    )
    assert.includeMembers(names, ["COMPOSE_PROJECT_NAME", "FILES", "AGENTS_SUBNET", "HEALTH_PORT", "ACCOUNT_ID"])
    // Two projects cannot both have a port or a subnet.
    const taken = [...compose.matchAll(/(?:ports: \[|subnet: )"([^"]*)"/g)].map(([, value]) => value)
    assert.lengthOf(taken, 3)
    for (const value of taken) assert.match(value ?? "", /\$\{(HEALTH_PORT|AGENTS_SUBNET):-/)
  })

  it("apply the request that the runtime writes, with the list of images next to the environment file", () => {
    const files = settings.find(({ name }) => name === "FILES")?.value ?? ""
    const watched = /^PathChanged=(.*)$/m.exec(read("deploy/compose/mission-control-upgrade@.path"))?.[1] ?? ""
    assert.strictEqual(watched.replace("%i", "acme"), `${files}/upgrade/upgrade.json`)
    const service = read("deploy/compose/mission-control-upgrade@.service").replace(/\\\n\s+/g, "")
    const [program, ...args] = (/^ExecStart=(.*)$/m.exec(service)?.[1] ?? "").split(" ")
    assert.strictEqual(program, "/usr/local/lib/mission-control/apply-upgrade.sh")
    assert.deepStrictEqual(args, [
      watched,
      "/etc/mission-control/%i.env",
      "/usr/local/lib/mission-control/docker-compose.runtime.yml"
    ])
    const runtime = read("docker-compose.runtime.yml")
    assert.include(runtime, `"\${FILES:-.}/upgrade:/upgrade"`)
    assert.include(runtime, "UPGRADE_FILE: /upgrade/upgrade.json")
  })
})
