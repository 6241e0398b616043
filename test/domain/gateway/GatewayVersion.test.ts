import { assert, describe, it } from "@effect/vitest"
import {
  judgeGatewayVersion,
  parseGatewayVersion,
  showGatewayVersion
} from "../../../src/domain/gateway/GatewayVersion.ts"

const judged = (text: string) => judgeGatewayVersion(parseGatewayVersion(text))._tag

describe("a gateway's version", () => {
  it("is found in the output of every release", () => {
    for (const [text, version] of [
      ["2026.2.19\n", "2026.2.19"],
      ["OpenClaw 2026.9.6 (eb377ac)", "2026.9.6"],
      ["OpenClaw 2026.10.12-beta.1 (abc)", "2026.10.12"],
      ["note: using Node 24.21.0\nOpenClaw 2026.8.2 (x)", "2026.8.2"]
    ] as const) {
      const parsed = parseGatewayVersion(text)
      assert.isNotNull(parsed, text)
      assert.strictEqual(parsed === null ? "" : showGatewayVersion(parsed), version)
    }
  })

  it("is not read from other numbers", () => {
    for (const text of ["", "v24.21.0", "1.2026.9.6", "2026.9", "<html>2026</html>", "2026.9.6.1"]) {
      assert.isNull(parseGatewayVersion(text), text)
    }
  })

  it("is judged by its number and not by its text", () => {
    for (const [text, verdict] of [
      ["2026.2.19", "Refused"],
      ["2026.4.19", "Refused"],
      ["2026.4.20", "Refused"],
      ["2026.5.27", "Refused"],
      ["2026.5.28", "Older"],
      ["2026.6.11", "Older"],
      ["2026.8.1", "Older"],
      ["2026.8.2", "Supported"],
      ["2026.8.10", "Supported"],
      ["2026.9.6", "Supported"],
      ["2026.9.7", "Newer"],
      ["2026.10.1", "Newer"],
      ["2027.1.1", "Newer"],
      ["", "Unknown"]
    ] as const) {
      assert.strictEqual(judged(text), verdict, text)
    }
  })

  it("that is refused has a reason and names the releases to install", () => {
    assert.match(
      String(judgeGatewayVersion(parseGatewayVersion("2026.4.19")).message),
      /advisories.*2026\.8\.2 to 2026\.9\.6/
    )
    assert.match(
      String(judgeGatewayVersion(parseGatewayVersion("2026.5.1")).message),
      /tool calls.*2026\.8\.2 to 2026\.9\.6/
    )
  })
})
