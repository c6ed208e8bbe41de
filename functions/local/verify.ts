import process from "node:process";
import { parse } from "./options.ts";
import { Refusal, runProgram } from "./refusal.ts";
import { stopSignal } from "./stop-signal.ts";
import { CHECKS, runTools } from "./tools.ts";

const HELP = `npm run verify -- [options]     runs npm run check and, if it passes, npm test, as CI does

  --reporter R          reporter of vitest; can be repeated
  --outputFile.json F   output file of the reporter json
  --project P           run the tests only on this PostgreSQL: pg18 or pg17
  --bail N              stop after N failures
  -h, --help            print this text

To run one test file: npm test -- tests/http/lists.test.ts`;

await runProgram(async () => {
  const args = process.argv.slice(2);
  const forVitest = ["reporter", "outputFile.json", "project", "bail"];
  const values = parse(args, Object.fromEntries(forVitest.map((name) => [name, { type: "string" as const }])));
  if (values["help"]) return console.log(HELP);
  // vitest would refuse the project only after the checks, and would ignore the limit.
  const { project, bail } = values;
  if (project !== undefined && project !== "pg18" && project !== "pg17") {
    throw new Refusal(`--project must be pg18 or pg17, not ${String(project)}`);
  }
  if (bail !== undefined && !/^[1-9]\d{0,5}$/.test(String(bail))) throw new Refusal(`--bail must be a number from 1, not ${String(bail)}`);
  const stopping = stopSignal();
  await runTools(CHECKS, stopping);
  await runTools([{ program: "vitest", args: ["run", ...args] }], stopping);
});
