import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../architecture/sources.ts";
import { servicesDocument } from "./services-page.ts";

/** A part of `npm run docs`. */
writeFileSync(join(ROOT, "docs/services.md"), servicesDocument());
console.log("wrote docs/services.md");
