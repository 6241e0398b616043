import { type App, type AppFunction } from "./app.ts"

/** The app's functions as convex-test imports them; each call goes through `enter`. */
export const modulesOf = (
  app: App,
  enter: (known: AppFunction, context: unknown, input: unknown) => Promise<unknown>
): Record<string, () => Promise<Record<string, unknown>>> => {
  const modules = new Map<string, Record<string, unknown>>([["_generated/api", {}]])
  for (const known of app.functions.values()) {
    const [module = "", name = ""] = known.path.split(":")
    const exports = modules.get(module) ?? {}
    modules.set(module, exports)
    const { registered } = known
    const args = registered.exportArgs()
    exports[name] = {
      isQuery: registered.isQuery,
      isMutation: registered.isMutation,
      isAction: registered.isAction,
      exportArgs: () => args,
      // The return value is checked by `enter`, before the transaction commits.
      exportReturns: () => "null",
      _handler: (context: unknown, input: unknown) => enter(known, context, input)
    }
  }
  return Object.fromEntries([...modules].map(([module, exports]) => [`./${module}.js`, () => Promise.resolve(exports)]))
}
