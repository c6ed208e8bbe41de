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

/** One data directory for the whole file, whose stack is started and killed repeatedly. */
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
  test("O01: npm start in an empty folder seeds the platform and prints how to call it", async () => {
    expect(stack.output()).toContain(`${stack.info.url}/openapi.json`);
    expect(stack.output()).toContain(`-H 'Authorization: Bearer ${stack.info.tokens.superAdmin}'`);
    expect(await call(stack.info, "GET", "/ready")).toMatchObject({ status: 200 });
    expect(await hotels()).toMatchObject({ total: 12 });
  });

  test("R12: only the owner can read the secret files in the data directory", async () => {
    const files = (await readdir(dataDir)).filter((name) => name.endsWith(".json"));
    expect(files.sort()).toEqual(["innkeep.json", "local.json", "secrets.json"]);
    const modes = await Promise.all(files.map(async (name) => (await stat(join(dataDir, name))).mode & 0o777));
    expect(modes).toEqual([0o600, 0o600, 0o600]);
    expect((await stat(join(dataDir, "postgres"))).mode & 0o777).toBe(0o700);
  });

  test("O01: a second start on the same directory is refused and does not affect the first", async () => {
    const { code, output } = await finish(runLocal("start", ["--data", dataDir, "--port", String(await unusedPort())]));
    expect(code).toBe(1);
    expect(output).toContain("is in use by another start");
    expect(output).toContain(stack.info.url);
    expect(await call(stack.info, "GET", "/ready")).toMatchObject({ status: 200 });
  });

  test("O01: Ctrl-C stops everything and leaves no process", async () => {
    const parts = await partsOf(dataDir);
    expect(await areAlive(parts)).toEqual([true, true]);
    stack.killGroup("SIGINT");
    await stack.ended;
    expect(stack.output()).toContain("Innkeep has stopped");
    expect(await areAlive(parts)).toEqual([false, false]);
    expect((await readdir(dataDir)).filter((name) => name.endsWith(".pid"))).toEqual([]);
  });

  test("O01: the next start keeps the data and creates nothing again, and old tokens remain valid", async () => {
    const { tokens, tenantId, databaseUrl } = stack.info;
    stack = await again();
    expect(stack.output()).toContain("migrations are up to date");
    expect(stack.output()).not.toContain("creating a database");
    expect(stack.info).toMatchObject({ tenantId, databaseUrl });
    stack = { ...stack, info: { ...stack.info, tokens } };
    expect(await hotels()).toMatchObject({ total: 12 });
  });

  test("O01: a killed API and a killed PostgreSQL are restarted, and no acknowledged change is lost", async () => {
    const create = (subdomain: string) =>
      call(stack.info, "POST", "/v1/tenants", { name: subdomain, subdomain, plan: "Basic", owner: "o@x.example", ownerName: "O" });
    expect(await create("before-api-kill")).toMatchObject({ status: 201 });
    process.kill(await pidIn(dataDir, "api.pid"), "SIGKILL");
    await stack.waitFor("the API is running again");
    expect(await callUntil(stack.info, "GET", "/v1/tenants/resolve?subdomain=before-api-kill")).toMatchObject({ status: 200 });
    expect(await create("before-postgres-kill")).toMatchObject({ status: 201 });
    process.kill(await pidIn(dataDir, "postgres/postmaster.pid"), "SIGKILL");
    await stack.waitFor("PostgreSQL is running again");
    expect(await callUntil(stack.info, "GET", "/v1/tenants/resolve?subdomain=before-postgres-kill")).toMatchObject({ status: 200 });
  });

  test("O01: after a kill -9 of npm start, the next start ends the remaining processes and loses nothing", async () => {
    const parts = await partsOf(dataDir);
    stack.kill("SIGKILL");
    await stack.ended;
    expect(await areAlive(parts)).toEqual([true, true]);
    stack = await again();
    expect(await areAlive(parts)).toEqual([false, false]);
    expect(stack.output()).toContain("the last run was killed");
    expect(await hotels()).toMatchObject({ total: 14 });
  });

  test("O01: after a kill -9 of all processes at once, the next start recovers and loses nothing", async () => {
    const parts = await partsOf(dataDir);
    for (const pid of [stack.pid, ...parts]) process.kill(pid, "SIGKILL");
    await stack.ended;
    stack = await again();
    expect(await hotels()).toMatchObject({ total: 14 });
    expect(await call(stack.info, "GET", `/v1/audit/verify?tenantId=${String(stack.info.tenantId)}`)).toMatchObject({ body: { ok: true } });
    await stopStack(stack);
  });

  test("R14: bootstrap-admin creates the first super_admin of an empty platform, and is refused from then on", async () => {
    const folder = join(await temporaryFolder(), "data");
    const first = await finish(runLocal("bootstrap-admin", ["--data", folder, "--email", "first@innkeep.example", "--user-id", "first"]));
    expect(first).toMatchObject({
      code: 0,
      output: expect.stringContaining("first (first@innkeep.example) is super_admin; plans created: Trial, Basic, Pro, Enterprise"),
    });
    const second = await finish(runLocal("bootstrap-admin", ["--data", folder], {
      INNKEEP_BOOTSTRAP_ADMIN_EMAIL: "second@innkeep.example",
      INNKEEP_BOOTSTRAP_ADMIN_USER_ID: "second",
    }));
    expect(second).toMatchObject({ code: 1, output: expect.stringContaining("An enabled super_admin already exists.") });
  });

  test("O01: an ephemeral stack leaves neither a process nor its directory", async () => {
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
