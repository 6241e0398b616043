import { Option } from "effect"

/** The value under this name, or no field at all, for a function that takes an optional argument. */
export const ifGiven = <Name extends string, A>(name: Name, value: Option.Option<A>): { readonly [Key in Name]?: A } =>
  Option.match(value, {
    onNone: () => ({}),
    onSome: (some) => ({ [name]: some }) as { readonly [Key in Name]?: A }
  })
