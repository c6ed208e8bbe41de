import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { dataModelDocument, errorsDocument } from "../../shared/core/documents.ts";
import { registry } from "../../shared/features/registry.ts";
import { parse, PROJECT_DIR } from "./options.ts";
import { runProgram } from "./refusal.ts";

const HELP = `npm run docs     writes the pages computed from the program: docs/data-model.md and docs/errors.md

  -h, --help  this text

A test fails while the files differ from the program.`;

await runProgram(async () => {
  if (parse(process.argv.slice(2), {})["help"]) return console.log(HELP);
  const pages = { "data-model.md": dataModelDocument(registry), "errors.md": errorsDocument() };
  for (const [name, text] of Object.entries(pages)) {
    await writeFile(join(PROJECT_DIR, "docs", name), text);
    console.log(`docs/${name}`);
  }
});
