import { expect, test } from "vitest";
import { filesBelow, read } from "./sources.ts";

const page = read("docs/operations.md");

test("O01: every message that the on-call page quotes is one that a program prints", () => {
  const said = ["shared", "functions", "supabase/schemas"].flatMap(filesBelow).map(read).join("\n");
  const rows = [...page.matchAll(/^\| what (?:`\/ready` says|you see)|^\| the line has/gm)].flatMap(({ index }) =>
    page.slice(index).split("\n\n")[0]?.split("\n").slice(2).map((row) => row.split("|")[1] ?? "") ?? []
  );
  // Only messages: "…" stands for a name, codes and routes are in backticks, and some texts are PostgreSQL's.
  const ofPostgres = /does not exist|permission denied|SQLSTATE/;
  const ofAPerson = /^(nothing|and `|many|lists names|says|in the API's log)/;
  const words = rows.flatMap((row) => row.replaceAll(/`[^`]*`:?/g, "…").split(/…|: |, /)).map((part) => part.trim())
    .filter((part) => part.length > 8 && !ofPostgres.test(part) && !ofAPerson.test(part));
  expect(words.length).toBeGreaterThan(15);
  expect(words.filter((part) => !said.includes(part))).toEqual([]);
});
