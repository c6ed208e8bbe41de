import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { dataMapDocument, dataModelDocument, errorsDocument } from "../../shared/core/documents.ts";
import { registry } from "../../shared/features/registry.ts";
import { parse, PROJECT_DIR } from "./options.ts";
import { runProgram } from "./refusal.ts";

const HELP = `npm run docs     writes the generated pages docs/data-model.md, docs/data-map.md,
  docs/errors.md and docs/services.md

  -h, --help  print this text

A test fails if the files are out of date.`;

await runProgram(async () => {
  if (parse(process.argv.slice(2), {})["help"]) return console.log(HELP);
  const pages = {
    "data-model.md": dataModelDocument(registry),
    "data-map.md": dataMapDocument(registry),
    "errors.md": errorsDocument(),
  };
  for (const [name, text] of Object.entries(pages)) {
    await writeFile(join(PROJECT_DIR, "docs", name), text);
    console.log(`wrote docs/${name}`);
  }
});
