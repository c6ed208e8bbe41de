import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  areAlive,
  call,
  callUntil,
  cleanUp,
  finish,
  partsOf,
  pidIn,
  ready,
  run,
  runLocal,
  startStack,
  stopStack,
  temporaryFolder,
  unusedPort,
} from "./stack.ts";
import type { Stack } from "./stack.ts";

/** One data directory, started, killed and started again through the whole file. */
let dataDir: string;
let port: string;
let stack: Stack;

const again = (args: readonly string[] = []) => startStack(dataDir, ["--port", port, ...args]);
const hotels = async () => (await call(stack.info, "GET", "/v1/tenants/stats")).body as { readonly total: number };

beforeAll(async () => {
  dataDir = join(await temporaryFolder(), "data");
  port = String(await unusedPort());
  stack = await ready(run("npm", ["start", "--", "--data", dataDir, "--port", port]), dataDir);
});
afterAll(cleanUp);

describe("the local stack", () => {
  test("O01: npm start on an empty folder answers with a seeded platform, and prints how to call it", async () => {
    expect(stack.output()).toContain(`${stack.info.url}/openapi.json`);
    expect(stack.output()).toContain(`-H 'Authorization: Bearer ${stack.info.tokens.superAdmin}'`);
    expect(await call(stack.info, "GET", "/ready")).toMatchObject({ status: 200 });
    expect(await hotels()).toMatchObject({ total: 12 });
  });

  test("R12: what is secret in the data directory is readable by its owner alone", async () => {
    const files = (await readdir(dataDir)).filter((name) => name.endsWith(".json"));
    expect(files.sort()).toEqual(["innkeep.json", "local.json", "secrets.json"]);
    const modes = await Promise.all(files.map(async (name) => (await stat(join(dataDir, name))).mode & 0o777));
    expect(modes).toEqual([0o600, 0o600, 0o600]);
    expect((await stat(join(dataDir, "postgres"))).mode & 0o777).toBe(0o700);
  });

  test("a second start on the same directory is refused and disturbs nothing", async () => {
    const { code, output } = await finish(runLocal("start", ["--data", dataDir, "--port", String(await unusedPort())]));
    expect(code).toBe(1);
    expect(output).toContain("is in use by another start");
    expect(output).toContain(stack.info.url);
    expect(await call(stack.info, "GET", "/ready")).toMatchObject({ status: 200 });
  });

  test("Ctrl-C stops everything and leaves no process", async () => {
    const parts = await partsOf(dataDir);
    expect(await areAlive(parts)).toEqual([true, true]);
    stack.killGroup("SIGINT");
    await stack.ended;
    expect(stack.output()).toContain("Innkeep has stopped");
    expect(await areAlive(parts)).toEqual([false, false]);
    expect((await readdir(dataDir)).filter((name) => name.endsWith(".pid"))).toEqual([]);
  });

  test("the next start has everything, makes nothing anew, and old tokens still hold", async () => {
    const { tokens, tenantId, databaseUrl } = stack.info;
    stack = await again();
    expect(stack.output()).toContain("migrations are up to date");
    expect(stack.output()).not.toContain("making a database");
    expect(stack.info).toMatchObject({ tenantId, databaseUrl });
    stack = { ...stack, info: { ...stack.info, tokens } };
    expect(await hotels()).toMatchObject({ total: 12 });
  });

  test("a killed API is started again, and so is a killed PostgreSQL; nothing acknowledged is lost", async () => {
    const create = (subdomain: string) =>
      call(stack.info, "POST", "/v1/tenants", { name: subdomain, subdomain, plan: "Basic", owner: "o@x.example", ownerName: "O" });
    expect(await create("before-api-kill")).toMatchObject({ status: 201 });
    process.kill(await pidIn(dataDir, "api.pid"), "SIGKILL");
    await stack.waitFor("the API runs again");
    expect(await callUntil(stack.info, "GET", "/v1/tenants/resolve?subdomain=before-api-kill")).toMatchObject({ status: 200 });
    expect(await create("before-postgres-kill")).toMatchObject({ status: 201 });
    process.kill(await pidIn(dataDir, "postgres/postmaster.pid"), "SIGKILL");
    await stack.waitFor("PostgreSQL runs again");
    expect(await callUntil(stack.info, "GET", "/v1/tenants/resolve?subdomain=before-postgres-kill")).toMatchObject({ status: 200 });
  });

  test("after a kill -9 of the start itself the next one ends what was left and loses nothing", async () => {
    const parts = await partsOf(dataDir);
    stack.kill("SIGKILL");
    await stack.ended;
    expect(await areAlive(parts)).toEqual([true, true]);
    stack = await again();
    expect(await areAlive(parts)).toEqual([false, false]);
    expect(stack.output()).toContain("the last run was killed");
    expect(await hotels()).toMatchObject({ total: 14 });
  });

  test("after a kill -9 of all parts at once the next start recovers and loses nothing", async () => {
    const parts = await partsOf(dataDir);
    for (const pid of [stack.pid, ...parts]) process.kill(pid, "SIGKILL");
    await stack.ended;
    stack = await again();
    expect(await hotels()).toMatchObject({ total: 14 });
    expect(await call(stack.info, "GET", `/v1/audit/verify?tenantId=${String(stack.info.tenantId)}`)).toMatchObject({ body: { ok: true } });
    await stopStack(stack);
  });

  test("R14: bootstrap makes the first super_admin of an empty platform, and is closed from then on", async () => {
    const folder = join(await temporaryFolder(), "data");
    const first = await finish(runLocal("bootstrap-admin", ["--data", folder, "--email", "first@innkeep.example", "--user-id", "first"]));
    expect(first).toMatchObject({
      code: 0,
      output: expect.stringContaining("first (first@innkeep.example) is super_admin; plans made: Trial, Basic, Pro, Enterprise"),
    });
    const second = await finish(runLocal("bootstrap-admin", ["--data", folder], {
      INNKEEP_BOOTSTRAP_ADMIN_EMAIL: "second@innkeep.example",
      INNKEEP_BOOTSTRAP_ADMIN_USER_ID: "second",
    }));
    expect(second).toMatchObject({ code: 1, output: expect.stringContaining("An enabled super_admin already exists.") });
  });

  test("an ephemeral stack leaves neither a process nor its directory", async () => {
    const folder = join(await temporaryFolder(), "data");
    const ephemeral = await startStack(folder, ["--ephemeral", "--seed", "none"]);
    const parts = await partsOf(folder);
    expect(ephemeral.info.tenantId).toBeNull();
    expect(await call(ephemeral.info, "GET", "/v1/me")).toMatchObject({ status: 200 });
    expect(await call(ephemeral.info, "GET", "/v1/plans")).toMatchObject({ body: { pagination: { total: 4 } } });
    expect(await call(ephemeral.info, "GET", "/v1/tenants")).toMatchObject({ body: { pagination: { total: 0 } } });
    await stopStack(ephemeral);
    expect(await areAlive(parts)).toEqual([false, false]);
    expect(existsSync(folder)).toBe(false);
  });
});
