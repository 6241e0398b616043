type OptionalField<Row> = { [Field in keyof Row]-?: {} extends Pick<Row, Field> ? Field : never }[keyof Row]

/** A patch for a row. Undefined removes an optional field. */
export type Change<Row> = Partial<Omit<Row, OptionalField<Row> | "_id" | "_creationTime">> & {
  [Field in OptionalField<Row>]?: Row[Field] | undefined
}
