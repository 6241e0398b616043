/** The kinds of variables, and the groups in which documents list them. */

/** The sections of docs/configuration.md, in order. */
export const variableGroups = [
  "Account",
  "Endpoints",
  "Delivery",
  "Gateway",
  "Profiles",
  "Life of the process",
  "Logs",
  "Where it runs",
  "Traces and logs",
  "Commands for people"
] as const
export type VariableGroup = (typeof variableGroups)[number]

interface Described {
  readonly group: VariableGroup
  readonly meaning: string
}

/** A whole number, in milliseconds if its meaning says so. `usual` is the default. */
export interface IntegerVariable extends Described {
  readonly kind: "integer"
  readonly usual: number
  /** The variable whose value is the default. `usual` is that variable's default. */
  readonly usualFrom?: string
  readonly least: number
  readonly most: number
}

/** One of a fixed set of words. */
export interface ChoiceVariable<A extends string = string> extends Described {
  readonly kind: "choice"
  readonly usual: A
  readonly allowed: ReadonlyArray<A>
}

/** Free text, with its rule and its default in words. `usual` is null if the variable is required. */
export interface TextVariable extends Described {
  readonly kind: "text"
  readonly usual: string | null
  readonly rule: string
}

/** A value that is never shown, set directly or by `NAME_FILE`, the path of a file that contains it. */
export interface SecretVariable extends Described {
  readonly kind: "secret"
  readonly usual: string | null
  readonly rule: string
}

export type Variable = IntegerVariable | ChoiceVariable | TextVariable | SecretVariable

export const DAY_MILLIS = 86_400_000

export const integer = (
  group: VariableGroup,
  usual: number,
  least: number,
  most: number,
  meaning: string
): IntegerVariable => ({ kind: "integer", group, usual, least, most, meaning })

export const choice = <const A extends string>(
  group: VariableGroup,
  usual: NoInfer<A>,
  allowed: ReadonlyArray<A>,
  meaning: string
): ChoiceVariable<A> => ({ kind: "choice", group, usual, allowed, meaning })

export const text = <const A extends string | null>(
  group: VariableGroup,
  usual: A,
  rule: string,
  meaning: string
): TextVariable & { readonly usual: A } => ({
  kind: "text",
  group,
  usual,
  rule,
  meaning
})

export const secret = (group: VariableGroup, usual: string | null, rule: string, meaning: string): SecretVariable => ({
  kind: "secret",
  group,
  usual,
  rule,
  meaning
})

export const yesOrNo = ["true", "false"] as const
