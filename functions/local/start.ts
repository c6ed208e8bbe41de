import process from "node:process";
import { externalDatabase } from "./database.ts";
import { parseStartOptions, shownPath, START_HELP } from "./options.ts";
import { runProgram } from "./refusal.ts";
import { startStack } from "./stack.ts";
import type { Stack } from "./stack.ts";

await runProgram(async () => {
  const options = parseStartOptions(process.argv.slice(2));
  if (!options) return console.log(START_HELP);
  const startedMs = performance.now();
  const elapsed = () => `${((performance.now() - startedMs) / 1_000).toFixed(1)} s`;
  const say = (line: string) => console.log(`  ${elapsed().padStart(6)}  ${line}`);
  const stopping = stopSignal();
  console.log("Innkeep is starting");
  const externalUrl = externalDatabase()?.connectionString;
  const stack = await startStack({ options, externalUrl, say, isCancelled: stopping.isAsked });
  if (stack) {
    say("ready");
    console.log(summary(stack));
    await stopping.asked;
    console.log("\nInnkeep is stopping");
    await stack.stop();
  }
  console.log("Innkeep has stopped");
  process.exit(0);
});

/**
 * The first Ctrl-C (or SIGTERM) asks to stop; a later one ends this process at once, and the next start
 * cleans up. npm passes on what the terminal has already sent, so repeats within a second are one.
 */
function stopSignal(): { readonly asked: Promise<void>; readonly isAsked: () => boolean } {
  let askedAtMs: number | null = null;
  const promise = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        if (askedAtMs !== null && performance.now() - askedAtMs > 1_000) process.exit(130);
        askedAtMs ??= performance.now();
        resolve();
      });
    }
  });
  return { asked: promise, isAsked: () => askedAtMs !== null };
}

function summary({ info, dataDir }: Stack): string {
  const path = info.tenantId ? "/v1/tenants?limit=3" : "/v1/me";
  return `
  API       ${info.url}
  OpenAPI   ${info.url}/openapi.json
  Data      ${shownPath(dataDir)} (local.json holds a token for each role)

  Try:
  curl -s '${info.url}${path}' -H 'Authorization: Bearer ${info.tokens.superAdmin}'

  Ctrl-C stops everything.
`;
}
