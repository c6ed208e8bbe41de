import { expect, test } from "vitest";
import { emptyDatabase, migrate } from "../support/postgres.ts";
import { seededRandom } from "../support/random.ts";
import { freshStore } from "../support/store.ts";

const LOCALES: Readonly<Record<string, string>> = {
  C: "template template0 encoding 'UTF8' locale 'C'",
  "ICU en-US": "template template0 encoding 'UTF8' locale_provider icu icu_locale 'en-US' locale 'C'",
  "ICU sv": "template template0 encoding 'UTF8' locale_provider icu icu_locale 'sv-SE' locale 'C'",
};

test("K16: databases with different locales return the same lists, pages, counts, queries and prefixes", async () => {
  const random = seededRandom("K16");
  // `.` and `..` are not segments.
  const segment = () => random.text(1 + random.below(6), "aAbBzZ09._~@+-").replace(/^\.\.?$/, "...");
  const keys = [...new Set(Array.from({ length: 800 }, () => `word:${segment()}:${segment()}`))];
  const prefixes = keys.slice(0, 40).map((key) => key.split(":").slice(0, 2).join(":"));
  const answers: unknown[] = [];
  for (const options of Object.values(LOCALES)) {
    const database = await emptyDatabase(options);
    await migrate(database.ownerUrl);
    const opened = await freshStore({ driver: "postgres", database });
    const { store } = opened;
    await store.mset(keys.map((key) => [key, key]));
    const first = await store.list({ prefix: "word", limit: 300 });
    const second = await store.list({ prefix: "word", limit: 300, cursor: first.cursor ?? "" });
    answers.push({
      all: await store.getByPrefix("word"),
      pages: [...first.entries, ...second.entries].map((entry) => entry.key),
      reverse: (await store.list({ prefix: "word", limit: 500, reverse: true })).entries.map((entry) => entry.key),
      prefixes: await Promise.all(prefixes.map((prefix) => store.getByPrefix(prefix))),
      range: (await store.list({ prefix: "word", start: "word:B", end: "word:a", limit: 500 })).entries.map((entry) => entry.key),
      counts: await Promise.all(prefixes.map((prefix) => store.count(prefix))),
    });
    await opened.close();
    await database.drop();
  }
  const [reference, ...others] = answers;
  expect((reference as { all: string[] }).all).toEqual([...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  for (const other of others) expect(other).toEqual(reference);
});
