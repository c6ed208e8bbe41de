import { execFile } from "node:child_process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { SignJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { apiFrom } from "../../../functions/api/start.ts";
import { jobsFrom } from "../../../functions/jobs/start.ts";
import { knownRootKeys } from "../../../shared/core/root-keys.ts";
import { SecretBox } from "../../../shared/core/secret-box.ts";
import type { Sealed } from "../../../shared/core/sealed.ts";
import { webhook } from "../../../shared/features/webhooks/entity.ts";
import { fromBase64 } from "../../../shared/kernel/base64.ts";
import { systemClock } from "../../../shared/kernel/clock.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { read } from "../../architecture/sources.ts";
import { nodeFiles } from "../../support/files.ts";
import { freshStore, type OpenStore } from "../../support/store.ts";

type Environment = Readonly<Record<string, string>>;
const run = promisify(execFile);
const KEY = "webhook:webhook_1767225600000_a1b2c3d4e5f6";
const JWT_SECRET = "the JWT secret of this test";
const ADMIN = "user-root";

let opened: OpenStore;
let server: Server;
/** What answers at the addresses of the page: the functions that were started last. */
let functions: ReturnType<typeof start>;
let address: string;

beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
  server = createServer(({ method = "GET", url = "/", headers }, response) => {
    const target = url.startsWith("/jobs") ? functions.jobs : functions.api;
    const request = new Request(`http://localhost${url}`, { method, headers: { authorization: headers.authorization ?? "" } });
    void Promise.resolve(target.fetch(request)).then(async (answer) => response.writeHead(answer.status).end(await answer.text()));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.close();
  await opened.close();
});

function start(env: Environment) {
  const surroundings = { clock: systemClock, fetch, files: nodeFiles, write: () => undefined };
  const [api, jobs] = [apiFrom(env, surroundings), jobsFrom(env, surroundings)];
  if (!api || !jobs) throw new Error("the functions did not start");
  const status = async () => (await api.fetch(new Request("http://localhost/ready"))).status;
  return { api, jobs, status };
}

/** The shell blocks of the page, from its section on the root key on. */
const [make = "", renew = "", rewrap = "", look = "", remove = ""] = [
  ...read("docs/security.md").split("\n## The root key\n")[1]?.matchAll(/^ *```sh\n([\s\S]*?)^ *```$/gm) ?? [],
].map(([, text = ""]) => text);

/** Runs a block, and returns what it printed and the environment after it. */
async function shell(block: string, env: Environment): Promise<{ readonly output: string; readonly env: Environment }> {
  const { stdout } = await run("bash", ["-c", `set -e\n${block}\nprintf '\\0'; env -0`], { env: { ...process.env, ...env } });
  const [output = "", ...variables] = stdout.split("\0");
  const after = Object.fromEntries(variables.filter(Boolean).map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string]));
  const kept = Object.entries(after).filter(([name]) => name in env || name.startsWith("INNKEEP_"));
  return { output, env: Object.fromEntries(kept) };
}

const opens = async (env: Environment) => {
  const box = new SecretBox(knownRootKeys(fromBase64(env["INNKEEP_ROOT_KEY"] ?? "") ?? new Uint8Array()), systemClock);
  const { sealedSecret } = (await opened.store.get(KEY))?.value as { readonly sealedSecret: Sealed };
  return await box.open(KEY, "sealedSecret", sealedSecret).catch((error: unknown) => (error as { readonly code: string }).code);
};

test("I07: the steps of docs/security.md rotate the root key while the program runs, and then the old key opens nothing", async () => {
  const token = await new SignJWT({ iss: "https://auth.example", aud: "authenticated", sub: ADMIN, exp: 4_102_444_800 })
    .setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(JWT_SECRET));
  const base = {
    DATABASE_URL: opened.database.appUrl,
    INNKEEP_JWT_ISSUER: "https://auth.example",
    INNKEEP_JWT_SECRET: JWT_SECRET,
    INNKEEP_BOOTSTRAP_ADMIN_USER_ID: ADMIN,
    INNKEEP_BOOTSTRAP_ADMIN_EMAIL: "root@innkeep.example",
    JOBS_SECRET: "scheduler-secret-0123456789",
    JOBS_URL: address,
    API_URL: address,
    TOKEN: token,
  };
  const { env: first } = await shell(make, base);
  functions = start(first);
  expect(await functions.status()).toBe(200);
  // The start makes the administrator in the background.
  const isAdmin = async () => (await fetch(`${address}/v1/me`, { headers: { authorization: `Bearer ${token}` } })).ok;
  for (let tries = 0; !await isAdmin() && tries < 400; tries++) await new Promise((resolve) => setTimeout(resolve, 25));
  const before = new SecretBox(knownRootKeys(fromBase64(first["INNKEEP_ROOT_KEY"] ?? "") ?? new Uint8Array()), systemClock);
  const sealedSecret = await before.seal(KEY, "sealedSecret", "a value");
  const { tenantId: _, ...example } = webhook.schema.parse(webhook.example);
  await opened.store.set(KEY, { ...example, sealedSecret, status: "disabled", enabled: false } as JsonObject);

  const { env: both } = await shell(renew, first);
  expect(both["INNKEEP_ROOT_KEY_PREVIOUS"]).toBe(first["INNKEEP_ROOT_KEY"]);
  functions = start(both);
  const keys = async () => {
    const { data } = JSON.parse((await shell(look, both)).output) as { readonly data: readonly Record<string, unknown>[] };
    return Object.fromEntries(data.map(({ state, records, available }) => [state, [records, available]]));
  };
  expect(await keys()).toMatchObject({ current: [0, true], previous: [0, true] });
  expect(await opens(first)).toBe("a value");

  for (let complete = false; !complete;) {
    const report = JSON.parse((await shell(rewrap, both)).output) as { readonly complete: boolean; readonly errors: readonly unknown[] };
    expect(report.errors).toEqual([]);
    complete = report.complete;
  }
  // The secret, and the key of the administrator's personal data in the audit log.
  expect(await keys()).toEqual({ current: [2, true], unused: [0, true] });
  expect([await opens(both), await opens(first)]).toEqual(["a value", "root_key_unavailable"]);

  const { env: last } = await shell(remove, both);
  expect(last).not.toHaveProperty("INNKEEP_ROOT_KEY_PREVIOUS");
  functions = start(last);
  expect(await functions.status()).toBe(200);
  expect(await (start(first)).status()).toBe(503);
}, 30_000);
