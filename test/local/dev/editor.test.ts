import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, it } from "vitest"

const root = join(import.meta.dirname, "../../..")

it("the editor's launch configurations start files of this checkout", () => {
  const { configurations } = JSON.parse(readFileSync(join(root, ".vscode/launch.json"), "utf8"))
  const files = configurations.flatMap(({ program, runtimeExecutable }: Record<string, string>) => [
    program,
    runtimeExecutable
  ])
  assert.lengthOf(files, 4)
  for (const file of files) assert.isTrue(existsSync(file.replace("${workspaceFolder}", root)), file)
})
