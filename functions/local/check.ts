import process from "node:process";
import { parse } from "./options.ts";
import { runProgram } from "./refusal.ts";
import { stopSignal } from "./stop-signal.ts";
import { CHECKS, runTools } from "./tools.ts";

const HELP = `npm run check     formatting, lint and types; no database, and no file is changed

  -h, --help  this text

It runs ${CHECKS.map(({ program, args }) => [program, ...args].join(" ")).join(", ")},
two at a time, each to its end, and says which failed. "npx deno fmt" formats the files.`;

await runProgram(async () => {
  if (parse(process.argv.slice(2), {})["help"]) return console.log(HELP);
  await runTools(CHECKS, stopSignal());
});
