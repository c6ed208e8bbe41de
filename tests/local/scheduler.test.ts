import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { startScheduler } from "../../functions/local/scheduler.ts";

test("O10: the local stack stops at once while a job runs, and reports no problem", async () => {
  const calls: (string | undefined)[] = [];
  const server = createServer(({ headers }) => void calls.push(headers.authorization));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const said: string[] = [];
  const { port } = server.address() as AddressInfo;
  const stop = startScheduler({ url: `http://127.0.0.1:${port}/jobs`, secret: "scheduler-secret" }, (line) => said.push(line));
  try {
    await expect.poll(() => calls).toEqual(["Bearer scheduler-secret"]);
    expect(await Promise.race([stop(), sleep(5_000, "still waiting")])).toBeUndefined();
    expect(said).toEqual([]);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});
