import fc from "fast-check";
import { expect, test } from "vitest";
import { JsonSizes } from "../../shared/kernel/bounded-json.ts";
import { findUnstorable } from "../../shared/kernel/json.ts";
import type { JsonValue } from "../../shared/kernel/json.ts";
import { withClient } from "../support/client.ts";
import { freshDatabase } from "../support/postgres.ts";
import { seededRandom } from "../support/random.ts";

/** The text of a jsonb value without the white space after commas and colons. */
const BYTES = `select octet_length(regexp_replace($1::jsonb::text, '("(?:[^"\\\\]|\\\\.)*")|([,:]) ', '\\1\\2', 'g')) as bytes`;

test("K21: the computed size of any value equals the size of its jsonb text", async () => {
  const value = fc.jsonValue({ stringUnit: "binary", depthSize: "medium" }).map((made) => JSON.parse(JSON.stringify(made)) as JsonValue)
    .filter((made) => findUnstorable(made) === null);
  const numbers = fc.array(fc.oneof(fc.double({ min: -1e-5, max: 1e-5, noNaN: true }), fc.double({ min: -1e6, max: 1e6, noNaN: true })))
    .map((made) => JSON.parse(JSON.stringify(made)) as JsonValue);
  const odd: JsonValue[] = [{}, [], [{}], { a: {} }, "", '\u0001\b\f\n\r\t"\\/\u007f\u2028', -0, 5e-324, -1.5e-7, 123456789.125, [[], [
    null,
    true,
    false,
  ]]];
  const database = await freshDatabase();
  try {
    await withClient(database.ownerUrl, async (client) => {
      const check = async (made: JsonValue) => {
        const { rows: [row] } = await client.query<{ bytes: number }>(BYTES, [JSON.stringify(made)]);
        expect(new JsonSizes().of(made).bytes, JSON.stringify(made)).toBe(row?.bytes);
      };
      for (const made of odd) await check(made);
      await fc.assert(fc.asyncProperty(fc.oneof(value, numbers), check), { seed: seededRandom("sizes of values").seed, numRuns: 1_000 });
    });
  } finally {
    await database.drop();
  }
});
