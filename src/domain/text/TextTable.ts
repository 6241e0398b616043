import { singleLine } from "./Text.ts"

/** A table with titles in capitals, and columns as wide as their widest cell and two spaces apart; empty without rows. */
export const textTable = (header: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const clean = rows.map((row) => row.map((cell) => singleLine(cell)))
  const widths = header.map((title, column) => Math.max(title.length, ...clean.map((row) => row[column]?.length ?? 0)))
  const line = (cells: ReadonlyArray<string>) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd()
  return clean.length === 0 ? "" : [header.map((title) => title.toUpperCase()), ...clean].map(line).join("\n")
}
