import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { startScheduler } from "../../functions/local/scheduler.ts";

test("O10: the local stack stops at once while a job runs, and reports no problem", async () => {
  const calls: string[] = [];
  const server = createServer(({ url, headers }) => void calls.push(`${url} ${headers.authorization}`));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const said: string[] = [];
  const { port } = server.address() as AddressInfo;
  const stop = startScheduler({ url: `http://127.0.0.1:${port}/jobs`, secret: "scheduler-secret" }, (line) => said.push(line));
  try {
    await expect.poll(() => [...calls].sort()).toEqual(["/jobs Bearer scheduler-secret", "/jobs/webhooks Bearer scheduler-secret"]);
    expect(await Promise.race([stop(), sleep(5_000, "still waiting")])).toBeUndefined();
    expect(said).toEqual([]);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

test("O10: the local stack delivers events every 2 seconds, and does not report that another process is doing so", async () => {
  let deliveries = 0;
  const server = createServer(({ url }, response) => {
    const isDelivery = url === "/jobs/webhooks";
    if (isDelivery) deliveries++;
    const [status, body] = isDelivery ? [409, { code: "job_running", detail: "Another process is running the job." }] : [200, { data: [] }];
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const said: string[] = [];
  const { port } = server.address() as AddressInfo;
  const stop = startScheduler({ url: `http://127.0.0.1:${port}/jobs`, secret: "scheduler-secret" }, (line) => said.push(line));
  try {
    await expect.poll(() => deliveries, { timeout: 6_000 }).toBe(2);
    expect(said).toEqual([]);
  } finally {
    await stop();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});
