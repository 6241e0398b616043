/** Process tests run the bundle, which is what ships, and which starts in a third of the time. */
import { makeBundle } from "../../build/bundle.ts"

export const setup = async (): Promise<void> => {
  process.env["RUNTIME_ENTRY"] = (await makeBundle()).entry
}
