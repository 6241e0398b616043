import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { parse } from "yaml"
import { allVariables } from "../../src/domain/settings/Variables.ts"

const root = resolve(import.meta.dirname, "../..")
const read = (path: string): string => readFileSync(join(root, path), "utf8")

type WrittenFile = { readonly path: string; readonly content: string; readonly permissions?: string }

const text = read("deploy/droplet/cloud-init.yaml")
const { write_files: files } = parse(text) as { readonly write_files: ReadonlyArray<WrittenFile> }
const fileAt = (path: string): WrittenFile => {
  const file = files.find((each) => each.path === path)
  assert.isDefined(file, path)
  return file!
}
const runtimeUnit = fileAt("/etc/systemd/system/mission-control-runtime.service").content

describe("a Droplet's cloud-init", () => {
  it("is one, and brings the script that is tested", () => {
    assert.match(text, /^#cloud-config\n/)
    const script = fileAt("/usr/local/lib/mission-control/apply-upgrade.sh")
    assert.strictEqual(script.content.trimEnd(), read("deploy/apply-upgrade.sh").trimEnd())
    assert.strictEqual(script.permissions, "0755")
  })

  it("sets variables that there are, and holds no secret, since agents can read it", () => {
    const known = new Set(allVariables.flatMap(([name]) => [name, `${name}_FILE`]))
    const names = [...fileAt("/etc/mission-control/runtime.env").content.matchAll(/^(\w+)=/gm)].map(([, name]) => name!)
    assert.isAbove(names.length, 8)
    assert.deepStrictEqual(
      names.filter((name) => !known.has(name) || name.endsWith("TOKEN")),
      []
    )
    assert.deepStrictEqual(
      files.filter(({ path }) => path.includes("secrets") || path.includes("token")),
      []
    )
    assert.include(runtimeUnit, "--volume /etc/mission-control/secrets:/run/secrets:ro ")
    assert.include(runtimeUnit, "ConditionPathExists=/etc/mission-control/secrets/service_token\n")
  })

  it("applies the upgrade that the runtime leaves before each start, and starts the image that it names", () => {
    const before = runtimeUnit.indexOf(
      "ExecStartPre=/usr/local/lib/mission-control/apply-upgrade.sh /var/lib/mission-control/upgrade/upgrade.json /etc/mission-control/versions.env"
    )
    const start = runtimeUnit.indexOf("ExecStart=")
    assert.isTrue(before >= 0 && before < start)
    assert.include(runtimeUnit, "--volume /var/lib/mission-control/upgrade:/upgrade ")
    assert.include(fileAt("/etc/mission-control/runtime.env").content, "UPGRADE_FILE=/upgrade/upgrade.json\n")
    // The gateway's container, in which agents run programs, does not see that folder.
    assert.notInclude(fileAt("/etc/systemd/system/mission-control-openclaw.service").content, "/upgrade")
    assert.include(runtimeUnit, "${RUNTIME_IMAGE}:${RUNTIME_TAG}\n")
    assert.include(runtimeUnit, "RestartForceExitStatus=75\n")
    assert.include(runtimeUnit, "RestartPreventExitStatus=64 77 78\n")
    assert.match(runtimeUnit, /--stop-timeout 50 /)
    assert.include(runtimeUnit, "TimeoutStartSec=900\n", "a pull that is cut off would not be tried again")
  })

  it("starts when the token comes, and not again by itself whatever the runtime has ended for", () => {
    const { content } = fileAt("/etc/systemd/system/mission-control-runtime.path")
    assert.deepStrictEqual(content.match(/^Path\w+=.*$/gm), ["PathChanged=/etc/mission-control/secrets/service_token"])
    const { runcmd } = parse(text) as { readonly runcmd: ReadonlyArray<ReadonlyArray<string> | string> }
    assert.deepInclude(runcmd, ["systemctl", "enable", "--now", "mission-control-runtime.path"])
    assert.deepInclude(runcmd, ["systemctl", "enable", "mission-control-runtime.service"])
  })
})
