/** What commit f135eba took, with a session per agent, measured by `npm run bench -- tokens --against <checkout>`. */
export const base: Readonly<Record<"real" | "scripted", Readonly<Record<string, number>>>> = {
  real: {},
  scripted: {}
}
