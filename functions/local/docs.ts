import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { dataModelDocument, errorsDocument } from "../../shared/derive/documents.ts";
import { registry } from "../../shared/entities/registry.ts";
import { PROJECT_DIR } from "./options.ts";

// The pages computed from the program; a test fails while the files differ.
const PAGES = { "data-model.md": dataModelDocument(registry), "errors.md": errorsDocument() };

for (const [name, text] of Object.entries(PAGES)) {
  await writeFile(join(PROJECT_DIR, "docs", name), text);
  console.log(`docs/${name}`);
}
