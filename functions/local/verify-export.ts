import { createReadStream } from "node:fs";
import { access } from "node:fs/promises";
import process from "node:process";
import { createInterface } from "node:readline";
import { showsEntry } from "../../shared/features/audit/csv.ts";
import { csvRows } from "../../shared/features/audit/csv-rows.ts";
import { type ExportedEntry, type KnownHead, verifyExport } from "../../shared/features/audit/exported.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import { parse } from "./options.ts";
import { Refusal, runProgram } from "./refusal.ts";

const HELP = `npm run verify-export -- FILE [--head HEAD]       verifies exported audit entries, without a database

  FILE        an export of the audit log without filters, by GET /v1/audit/export or the job: NDJSON, or CSV if its name ends in .csv
  --head      the last entry that a chain must have, as SCOPE:SEQ:HASH, such as from a checkpoint; finds a file that was cut
  -h, --help  print this text

It prints a line for each chain, and ends with 1 if an entry is changed, missing, inserted or moved.`;

await runProgram(async () => {
  const [file, ...rest] = process.argv.slice(2);
  const isNamed = file !== undefined && !file.startsWith("-");
  const values = parse(isNamed ? rest : process.argv.slice(2), { head: { type: "string" } });
  if (values["help"]) return console.log(HELP);
  if (!isNamed) throw new Refusal("name the exported file: npm run verify-export -- FILE");
  const heads = values["head"] === undefined ? [] : [headOf(String(values["head"]))];
  await access(file).catch((error: unknown) => {
    throw new Refusal(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  });
  const { chains, firstBroken } = await verifyExport(file.endsWith(".csv") ? csvEntries(file) : ndjsonEntries(file), heads);
  for (const { scope, from, to, hash } of chains) console.log(`${scope}: entries ${from} to ${to}, ${hash}`);
  if (firstBroken) throw new Refusal(`line ${firstBroken.line}, ${firstBroken.scope}: ${firstBroken.reason}`);
  if (chains.length === 0) throw new Refusal(`${file} has no audit entries`);
});

function headOf(text: string): KnownHead {
  const [, scope, seq, hash] = /^([^:]+):(\d+):([0-9a-f]{64})$/.exec(text) ?? [];
  if (scope === undefined || hash === undefined) throw new Refusal("--head must be SCOPE:SEQ:HASH, with global as the platform's scope");
  return { scope, seq: Number(seq), hash };
}

function linesOf(file: string) {
  return createInterface({ input: createReadStream(file), crlfDelay: Infinity });
}

async function* ndjsonEntries(file: string) {
  let line = 0;
  for await (const text of linesOf(file)) {
    line++;
    if (text !== "") yield { line, entry: entryIn(text, line) };
  }
}

async function* csvEntries(file: string) {
  for await (const { line, row } of csvRows(linesOf(file))) {
    const entry = entryIn(row["entry"] ?? "", line);
    const isShown = showsEntry(row, entry as unknown as ExportedEntry);
    yield { line, entry, ...(isShown ? {} : { fault: "the cells differ from the entry of their row" }) };
  }
}

function entryIn(text: string, line: number): JsonObject {
  try {
    return JSON.parse(text) as JsonObject;
  } catch {
    throw new Refusal(`line ${line} is not an audit entry as JSON`);
  }
}
