/**
 * The lines of rows as CSV (RFC 4180). A text that a spreadsheet would read as a formula, because it begins with = + - @ tab or CR,
 * gets a leading apostrophe.
 */
export async function csvLines(rows: readonly (readonly (string | number | boolean | null)[])[]): Promise<string> {
  const { stringify } = await import("csv-stringify/browser/esm/sync");
  return stringify(rows as (string | number | boolean | null)[][], {
    escape_formulas: true,
    record_delimiter: "windows",
    cast: { boolean: (value) => String(value) },
  });
}
