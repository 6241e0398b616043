export type CheckStatus = "ok" | "warn" | "fail" | "skip"

export type CheckGroup = "Variables" | "Machine" | "Control plane" | "Gateway"

/** One check's result; the ids are stable. */
export interface Check {
  readonly id: string
  readonly group: CheckGroup
  readonly status: CheckStatus
  /** One line for each finding. */
  readonly message: string
  /** How to fix it, in one line; null if nothing is wrong. */
  readonly fix: string | null
}

export type Verdict = Omit<Check, "id" | "group">

export const ok = (message: string): Verdict => ({ status: "ok", message, fix: null })
export const warn = (message: string, fix: string): Verdict => ({ status: "warn", message, fix })
export const fail = (message: string, fix: string): Verdict => ({ status: "fail", message, fix })
export const skip = (message: string): Verdict => ({ status: "skip", message, fix: null })

/** Judges the findings. */
export type Rule<A> = (found: A) => Verdict

/** The checks of a group. Without findings, because the variables are invalid, all are skipped. */
export const judge = <A>(
  group: CheckGroup,
  rules: ReadonlyArray<readonly [string, Rule<A>]>,
  found: A | null
): ReadonlyArray<Check> =>
  rules.map(([id, rule]) => ({ id, group, ...(found === null ? skip("fix the variables first") : rule(found)) }))
