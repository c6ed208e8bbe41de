import process from "node:process";
import { parse } from "./options.ts";
import { runProgram } from "./refusal.ts";
import { stopSignal } from "./stop-signal.ts";
import { CHECKS, runTools } from "./tools.ts";

const HELP = `npm run check     checks format, lint and types; needs no database and changes no file

  -h, --help  print this text

It runs ${CHECKS.map(({ program, args }) => [program, ...args].join(" ")).join(", ")},
two at a time. All run to the end, and the last line names those that failed. "npx deno fmt" formats the files.`;

await runProgram(async () => {
  if (parse(process.argv.slice(2), {})["help"]) return console.log(HELP);
  await runTools(CHECKS, stopSignal());
});
