import process from "node:process";
import { parse } from "./options.ts";
import { runProgram } from "./refusal.ts";
import { stopSignal } from "./stop-signal.ts";
import { CHECKS, runTools } from "./tools.ts";

const HELP = `npm run verify -- [options]     npm run check, and where that passes npm test: all that CI runs

  --reporter R          passed on to vitest, as are the next three; may be repeated
  --outputFile.json F   where the reporter json writes to
  --project P           pg18 or pg17: on that PostgreSQL alone
  --bail N              stop after so many failures
  -h, --help            this text

One test file: npm test -- tests/http/lists.test.ts`;

await runProgram(async () => {
  const args = process.argv.slice(2);
  const forVitest = ["reporter", "outputFile.json", "project", "bail"];
  const values = parse(args, Object.fromEntries(forVitest.map((name) => [name, { type: "string" as const }])));
  if (values["help"]) return console.log(HELP);
  const stopping = stopSignal();
  await runTools(CHECKS, stopping);
  await runTools([{ program: "vitest", args: ["run", ...args] }], stopping);
});
