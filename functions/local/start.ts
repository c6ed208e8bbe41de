import process from "node:process";
import { LineWriter } from "../../shared/kernel/line-writer.ts";
import { externalDatabase } from "./database.ts";
import { asWritten, forPeople } from "./log-lines.ts";
import { parseStartOptions, shownPath, START_HELP } from "./options.ts";
import { runProgram } from "./refusal.ts";
import { standardOutput } from "./runtime.ts";
import { startStack } from "./stack.ts";
import type { Stack } from "./stack.ts";
import { asked, stopSignal } from "./stop-signal.ts";

await runProgram(async () => {
  const options = parseStartOptions(process.argv.slice(2));
  if (!options) return console.log(START_HELP);
  const startedMs = performance.now();
  const elapsed = () => `${((performance.now() - startedMs) / 1_000).toFixed(1)} s`;
  const output = new LineWriter(standardOutput(), (count, reason) => `(up to ${count} lines were lost: ${reason})`);
  const say = (line: string) => output.line(`  ${elapsed().padStart(6)}  ${line}`);
  const format = process.stdout.isTTY ? forPeople({ colours: !process.env["NO_COLOR"] }) : asWritten;
  const log = (line: string) => {
    const shown = format(line);
    if (shown !== null) output.line(shown);
  };
  const stopping = stopSignal();
  output.line("Innkeep is starting");
  const externalUrl = externalDatabase()?.connectionString;
  try {
    const stack = await startStack({ options, externalUrl, say, stopping, log });
    if (stack) {
      say("ready");
      output.line(summary(stack));
      await asked(stopping);
      output.line("\nInnkeep is stopping");
      await stack.stop();
    }
    output.line("Innkeep has stopped");
  } finally {
    await output.flush();
  }
  process.exit(0);
});

function summary({ info, dataDir }: Stack): string {
  const path = info.tenantId ? "/v1/tenants?limit=3" : "/v1/me";
  return `
  API       ${info.url} (open it in a browser for tenants, tokens and the API reference)
  OpenAPI   ${info.url}/openapi.json
  Data      ${shownPath(dataDir)} (local.json contains a token for each role)

  Try:
  curl -s '${info.url}${path}' -H 'Authorization: Bearer ${info.tokens.superAdmin}'

  Ctrl-C stops everything.
`;
}
