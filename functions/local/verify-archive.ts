import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { partOfPath, verifyArchive } from "../../shared/features/audit/archive.ts";
import { parse } from "./options.ts";
import { Refusal, runProgram } from "./refusal.ts";

const HELP = `npm run verify-archive -- DIR       verifies archived audit entries, without a database

  DIR         the directory of the archive, or a copy of the bucket: the folder that contains audit/
  -h, --help  print this text

The signatures of checkpoints are verified with INNKEEP_AUDIT_KEY, or INNKEEP_AUDIT_KEY_PREVIOUS, if they are set.
It prints a line for each chain, and ends with 1 if a chain is not complete and valid.`;

await runProgram(async () => {
  const [directory, ...rest] = process.argv.slice(2);
  const isNamed = directory !== undefined && !directory.startsWith("-");
  const values = parse(isNamed ? rest : process.argv.slice(2), {});
  if (values["help"]) return console.log(HELP);
  if (!isNamed) throw new Refusal("name the directory of the archive: npm run verify-archive -- DIR");
  const chains = await chainsIn(directory);
  if (chains.size === 0) throw new Refusal(`${directory} contains no archived audit entries: name the folder that contains audit/`);
  const keys = { auditKey: process.env["INNKEEP_AUDIT_KEY"] ?? null, previousAuditKey: process.env["INNKEEP_AUDIT_KEY_PREVIOUS"] ?? null };
  let broken = 0;
  for (const [scope, paths] of [...chains].sort()) {
    const { from, to, files, hash, firstBroken } = await verifyArchive(paths, async (path) => await readFile(join(directory, path)), keys);
    if (firstBroken) broken++;
    console.log(
      firstBroken
        ? `${scope}: ${firstBroken.path}: ${firstBroken.reason}`
        : `${scope}: entries ${from} to ${to} in ${files} files, ${hash}`,
    );
  }
  if (keys.auditKey === null) console.log("signatures were not verified: INNKEEP_AUDIT_KEY is not set");
  if (broken > 0) throw new Refusal(`${broken} of ${chains.size} chains are not valid; the reasons are above`);
});

/** The files of each chain. */
async function chainsIn(directory: string): Promise<Map<string, string[]>> {
  const names = await readdir(directory, { recursive: true }).catch((error: unknown) => {
    throw new Refusal(`${directory} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  });
  const chains = new Map<string, string[]>();
  for (const name of names.map((each) => each.replaceAll("\\", "/"))) {
    const scope = partOfPath(name)?.scope;
    if (scope !== undefined) chains.set(scope, [...chains.get(scope) ?? [], name]);
  }
  return chains;
}
