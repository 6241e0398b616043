import type { api, internal } from "../../../convex/_generated/api.js"

/** The functions of a deployment by folder. Only types are imported, so no code of convex/ is loaded. */
type Api = typeof api & Pick<typeof internal, "operator">
type Folder = keyof Api & string

/** The path of a function in one of the folders of convex/, e.g. `service/tasks:get`. */
export type PathIn<In extends Folder> = {
  [Each in In]: {
    [Module in keyof Api[Each] & string]: `${Each}/${Module}:${keyof Api[Each][Module] & string}`
  }[keyof Api[Each] & string]
}[In]

/** The path of a function for runtimes, for people or for operators. */
export type AnyPath = PathIn<"service" | "app" | "operator">

type ReferenceOf<Path> = Path extends `${infer In extends Folder}/${infer Module}:${infer Name}`
  ? Module extends keyof Api[In]
    ? Api[In][Module][Name & keyof Api[In][Module]]
    : never
  : never

/** Those of the paths that name a query or a mutation. */
export type OfKind<Kind extends "query" | "mutation", Path> = Path extends unknown
  ? ReferenceOf<Path> extends { readonly _type: Kind }
    ? Path
    : never
  : never

/** A value as it is sent: read-only, with the ids of tables as strings. */
type Sent<A> = A extends string & { readonly __tableName: unknown }
  ? string
  : A extends ReadonlyArray<infer Item>
    ? ReadonlyArray<Sent<Item>>
    : A extends object
      ? { readonly [Key in keyof A]: Sent<A[Key]> }
      : A

type Args<Path> = ReferenceOf<Path> extends { readonly _args: infer Given } ? Given : never
type Returns<Path> = ReferenceOf<Path> extends { readonly _returnType: infer Answer } ? Answer : never

/** The arguments of a function. Runtimes' and people's clients add the account and the token. */
export type ArgumentsOf<Path> = Sent<
  Path extends PathIn<"operator"> ? Args<Path> : Omit<Args<Path>, "accountId" | "serviceToken">
>

/** The answer of a function. */
export type AnswerOf<Path> = Sent<Returns<Path>>
