type OptionalField<Row> = { [Field in keyof Row]-?: {} extends Pick<Row, Field> ? Field : never }[keyof Row]

/** A part of a row to be written; undefined removes a field that may be absent. */
export type Change<Row> = Partial<Omit<Row, OptionalField<Row> | "_id" | "_creationTime">> & {
  [Field in OptionalField<Row>]?: Row[Field] | undefined
}
