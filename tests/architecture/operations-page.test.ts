import { expect, test } from "vitest";
import { filesBelow, read } from "./sources.ts";

const page = read("docs/operations.md");

test("O01: what the on-call page says the programs say, they say", () => {
  const said = ["shared", "functions", "supabase/schemas"].flatMap(filesBelow).map(read).join("\n");
  const rows = [...page.matchAll(/^\| what (?:`\/ready` says|you see)|^\| the line has/gm)].flatMap(({ index }) =>
    page.slice(index).split("\n\n")[0]?.split("\n").slice(2).map((row) => row.split("|")[1] ?? "") ?? []
  );
  // A message's own words: what stands for a name is "…", codes and routes are in backticks, and PostgreSQL says some itself.
  const ofPostgres = /does not exist|permission denied|SQLSTATE/;
  const ofAPerson = /^(nothing|and `|many|lists names|says|in the API's log)/;
  const words = rows.flatMap((row) => row.replaceAll(/`[^`]*`:?/g, "…").split(/…|: |, /)).map((part) => part.trim())
    .filter((part) => part.length > 8 && !ofPostgres.test(part) && !ofAPerson.test(part));
  expect(words.length).toBeGreaterThan(15);
  expect(words.filter((part) => !said.includes(part))).toEqual([]);
});
