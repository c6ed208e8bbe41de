import { SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apiFrom } from "../../functions/api/start.ts";
import { jobsFrom } from "../../functions/jobs/start.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { nodeFiles } from "../support/files.ts";
import { localSockets } from "../support/node-sockets.ts";
import { freshDatabase, type TestDatabase } from "../support/postgres.ts";
import { seededRandom } from "../support/random.ts";
import { type Receiver, startReceiver } from "../support/receiver.ts";
import { PlantedSecrets } from "./support/planted.ts";

const ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789";
const ISSUER = "https://auth.example";
const ADMIN = "user-root";

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

interface Sent {
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  /** Default: that of a super_admin. Null: none. */
  readonly token?: string | null;
  /** Members of the response's body with secrets that are shown once. They are planted from then on. */
  readonly once?: readonly string[];
  readonly shown?: number;
}

const secrets = new PlantedSecrets();
const { text: random } = seededRandom("planted secrets");
const made = (name: string, length = 40) => secrets.plant(name, random(length, ALPHABET));

let database: TestDatabase;
let receiver: Receiver;
let token: string;
let call: (method: string, path: string, sent?: Sent) => Promise<Answer>;
let runJob: (name: string) => Promise<Answer>;
let routes: readonly string[];

beforeAll(async () => {
  database = await freshDatabase();
  receiver = await startReceiver();
  receiver.script(({ headers, text }) => ({ status: 500, body: JSON.stringify({ headers, text }) }));
  const jwtSecret = made("INNKEEP_JWT_SECRET");
  const jobsSecret = made("JOBS_SECRET");
  const env = {
    DATABASE_URL: database.appUrl,
    INNKEEP_JWT_ISSUER: ISSUER,
    INNKEEP_JWT_SECRET: jwtSecret,
    INNKEEP_API_KEY_SECRET: made("INNKEEP_API_KEY_SECRET"),
    INNKEEP_API_KEY_SECRET_PREVIOUS: made("INNKEEP_API_KEY_SECRET_PREVIOUS"),
    INNKEEP_AUDIT_KEY: made("INNKEEP_AUDIT_KEY"),
    INNKEEP_ROOT_KEY: secrets.plant("INNKEEP_ROOT_KEY", rootKey()),
    INNKEEP_ROOT_KEY_PREVIOUS: secrets.plant("INNKEEP_ROOT_KEY_PREVIOUS", rootKey()),
    INNKEEP_RATE_LIMITS: "off",
    INNKEEP_OUTBOUND_LOCAL: "true",
    INNKEEP_BOOTSTRAP_ADMIN_USER_ID: ADMIN,
    INNKEEP_BOOTSTRAP_ADMIN_EMAIL: "root@innkeep.example",
    JOBS_SECRET: jobsSecret,
  };
  const write = (line: string) => secrets.saw("the log", line);
  const surroundings = { clock: systemClock, fetch, files: nodeFiles, sockets: localSockets, write };
  const [api, jobs] = [apiFrom(env, surroundings), jobsFrom(env, surroundings)];
  if (!api || !jobs) throw new Error("the environment of this test is wrong");
  routes = (await api.routes()).map(({ method, path }) => `${method} ${path}`);
  token = secrets.plant("the signature of a token", await signed(jwtSecret), (await signed(jwtSecret)).lastIndexOf(".") + 1);
  call = async (method, path, sent = {}) => await answerOf(`${method} ${path}`, api.fetch(requestOf(method, path, sent)), sent);
  runJob = async (name) => {
    const headers = { authorization: `Bearer ${jobsSecret}` };
    return await answerOf(`POST ${name}`, await jobs.fetch(new Request(`http://localhost${name}`, { method: "POST", headers })), {});
  };
  for (let tries = 0; (await call("GET", "/v1/me")).status !== 200; tries++) {
    if (tries > 200) throw new Error("there is no administrator");
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
});
afterAll(async () => {
  await receiver.close();
  await database.drop();
});

function rootKey(): string {
  return Buffer.from(random(32, ALPHABET)).toString("base64");
}

async function signed(secret: string): Promise<string> {
  const claims = { iss: ISSUER, aud: "authenticated", sub: ADMIN, exp: 4_102_444_800 };
  return await new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(secret));
}

function requestOf(method: string, path: string, { headers = {}, json, token: own = token }: Sent): Request {
  return new Request(`http://localhost${path}`, {
    method,
    headers: {
      ...(own === null ? {} : { authorization: `Bearer ${own}` }),
      ...(json === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
  });
}

/** Reads a response, and keeps it as an output. */
async function answerOf(where: string, answering: Response | Promise<Response>, { once = [], shown = 0 }: Sent): Promise<Answer> {
  const response = await answering;
  const text = await response.text();
  const isJson = /^application\/(problem\+)?json/.test(response.headers.get("content-type") ?? "");
  const body = isJson && text !== "" ? JSON.parse(text) as Answer["body"] : {};
  const own = once.map((member) => String(body[member]));
  for (const [i, secret] of own.entries()) secrets.plant(`${once[i]} of ${where}`, secret, shown);
  const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  secrets.saw(`the response to ${where}`, `${headers}\n${text}`, own);
  return { status: response.status, body };
}

/** The parameters of the paths, by name. */
const params: Record<string, string> = {
  userId: ADMIN,
  planId: "Pro",
  metricId: "rooms",
  metric: "rooms",
  date: "2026-11-01",
  period: "2026-11",
};

/** The credentials of some providers, with what they begin with. */
const PROVIDERS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  hubspot: { accessToken: "" },
  gmail: { accessToken: "", refreshToken: "", clientSecret: "" },
  stripe: { secretKey: "sk_test_" },
  slack: { botToken: "xoxb-" },
};

/** Plants a secret at each place where the program takes or makes one. */
const PLACES: Readonly<Record<string, () => Promise<void>>> = {
  "API keys": async () => {
    const headers = { "idempotency-key": "make-the-key" };
    const json = { name: "A key", scopes: ["read:tenants"], tenantId: params["tenantId"] };
    const first = await call("POST", "/v1/api-keys", { headers, json, once: ["secret"], shown: 14 });
    const { id, secret } = first.body as { readonly id: string; readonly secret: string };
    params["apiKeyId"] = id;
    expect((await call("POST", "/v1/api-keys", { headers, json })).body).not.toHaveProperty("secret");
    const rotated = await call("POST", `/v1/api-keys/${id}/rotate`, { json: { overlapSeconds: 600 }, once: ["secret"], shown: 14 });
    for (const key of [secret, String(rotated.body["secret"])]) {
      expect((await call("GET", "/v1/tenants", { headers: { authorization: `Bearer ${key}` } })).status).toBe(200);
      expect((await call("GET", "/v1/tenants", { token: null, headers: { "x-api-key": key } })).status).toBe(200);
      expect((await call("POST", "/v1/api-keys/verify", { json: { key } })).body).toMatchObject({ code: "VALID" });
      // What a caller does wrong with a key.
      expect((await call("GET", `/v1/tenants?api_key=${key}`)).status).toBe(400);
      expect((await call("GET", "/v1/plans", { headers: { authorization: `Basic ${key}` } })).status).toBe(401);
      expect((await call("GET", "/v1/plans", { headers: { authorization: `Bearer ${key.slice(0, -1)}` } })).status).toBe(401);
      expect((await call("POST", "/v1/api-keys/verify", { json: { key: { key } } })).status).toBe(422);
      expect((await call("DELETE", "/v1/plans/Pro", { headers: { authorization: `Bearer ${key}` } })).status).toBe(403);
    }
  },
  "integrations": async () => {
    for (const [provider, prefixes] of Object.entries(PROVIDERS)) {
      const path = `/v1/tenants/${params["tenantId"]}/integrations/${provider}`;
      const headers = { "idempotency-key": `connect-${provider}` };
      const [json, changed] = [{ credentials: credentialsOf(provider, prefixes) }, {
        credentials: credentialsOf(`changed ${provider}`, prefixes),
      }];
      expect([(await call("PUT", path, { headers, json })).status, (await call("PUT", path, { headers, json })).status]).toEqual([
        201,
        201,
      ]);
      expect((await call("PUT", path, { json: changed })).status).toBe(200);
      const [secret = ""] = Object.values(changed.credentials);
      const error = `401 for the token ${secret}`;
      expect((await call("POST", `${path}/sync`, { json: { status: "failed", error } })).status).toBe(200);
      expect((await call("POST", `${path}/test`)).body).toMatchObject({ outcome: "unreachable" });
      // Mistakes with credentials at hand.
      expect((await call("PUT", path, { json: { credentials: { ...changed.credentials, more: secret } } })).status).toBe(422);
      expect((await call("PUT", path, { json: { config: changed.credentials } })).status).toBe(422);
      const other = Object.fromEntries(Object.entries(changed.credentials).map(([name, text]) => [name, `${text} \n`]));
      expect((await call("PUT", path, { json: { credentials: other } })).status).toBe(422);
    }
    const path = `/v1/tenants/${params["tenantId"]}/integrations`;
    params["provider"] = "stripe";
    expect((await call("PUT", `${path}/nobody`, { json: { credentials: credentialsOf("nobody", { token: "" }) } })).status).toBe(422);
    expect((await call("DELETE", `${path}/hubspot`)).status).toBe(204);
  },
  "webhooks": async () => {
    const [header, changed] = [made("a header of a webhook"), made("a changed header of a webhook")];
    const headers = { "idempotency-key": "make-the-webhook" };
    const json = { url: receiver.url, events: ["*"], headers: { "X-Token": header }, tenantId: params["tenantId"] };
    const first = await call("POST", "/v1/webhooks", { headers, json, once: ["secret"], shown: 6 });
    expect([first.status, (await call("POST", "/v1/webhooks", { headers, json })).status]).toEqual([201, 201]);
    const path = `/v1/webhooks/${params["webhookId"] = String(first.body["id"])}`;
    expect((await call("POST", `${path}/rotate-secret`, { json: {}, once: ["secret"], shown: 6 })).status).toBe(200);
    // A receiver that sends back what it got.
    expect((await call("POST", `${path}/test`, { json: {} })).body).toMatchObject({ statusCode: 500 });
    expect((await call("PATCH", path, { json: { headers: { "X-Token": changed } } })).status).toBe(200);
    await runJob("/jobs/webhooks");
    const { data } = (await call("GET", `${path}/deliveries`)).body as { readonly data: readonly { readonly id: string }[] };
    params["deliveryId"] = data[0]?.id ?? "";
    expect(receiver.received.filter(({ headers }) => [header, changed].includes(headers["x-token"] ?? "")).length).toBeGreaterThan(1);
    // Mistakes with a secret at hand.
    const secret = String(first.body["secret"]);
    expect((await call("PATCH", path, { json: { secret } })).status).toBe(422);
    expect((await call("PATCH", path, { json: { headers: { "X-Token": `${header}\n` } } })).status).toBe(422);
    expect((await call("POST", "/v1/webhooks", { json: { ...json, url: `https://user:${changed}@example.com/` } })).status).toBe(422);
    expect((await call("POST", "/v1/webhooks", { json: { ...json, headers: [header] } })).status).toBe(422);
  },
};

/** Credentials of a provider, planted under their names. */
function credentialsOf(provider: string, prefixes: Readonly<Record<string, string>>): Record<string, string> {
  const planted = Object.entries(prefixes).map(([name, prefix]) => (
    [name, secrets.plant(`${name} of ${provider}`, `${prefix}${random(40, ALPHABET)}`, prefix.length)] as const
  ));
  return Object.fromEntries(planted);
}

describe("planted secrets", () => {
  test("I04, AK02, O11: no response, log line, audit entry, event, export, error or row of the database has one", async () => {
    const json = { name: "Hotel Aurora", subdomain: "aurora", plan: "Pro", owner: "owner@aurora.example", ownerName: "Ada Auer" };
    params["tenantId"] = String((await call("POST", "/v1/tenants", { json })).body["id"]);
    for (const plant of Object.values(PLACES)) await plant();
    // Every read of the API, and every job.
    const reads = routes.filter((route) => route.startsWith("GET ")).map((route) => route.slice(4));
    for (const path of reads) {
      await call("GET", path.replaceAll(/:(\w+)/g, (_, name: string) => params[name] ?? "unknown"));
    }
    for (const header of ["", "Bearer x", `Bearer ${token}x`]) await call("GET", "/v1/tenants", { headers: { authorization: header } });
    const { data: jobs } = (await call("GET", "/v1/jobs")).body;
    for (const { name } of jobs as { readonly name: string }[]) expect((await runJob(`/jobs/${name}`)).status).toBe(200);
    await runJob("/jobs");
    expect(secrets.leaks()).toEqual([]);
    expect(await secrets.leaksOf(database.superUrl)).toEqual([]);
  });

  test("I04: a secret that is put out in any of these forms is found", async () => {
    const probe = new PlantedSecrets();
    const secret = probe.plant("the probe", 'sk_test_51Jabc+/é"quoted"<tail>0000');
    const forms = [
      secret,
      Buffer.from(secret).toString("base64"),
      Buffer.from(secret).toString("hex"),
      encodeURIComponent(secret),
      JSON.stringify(secret),
    ];
    for (const [i, form] of forms.entries()) probe.saw(`form ${i}`, `before ${form} after`);
    probe.saw("its last four characters", "…0000");
    probe.saw("where it is shown once", `{"secret": ${JSON.stringify("x")}, "key": "${secret}"}`, [secret]);
    expect(probe.leaks()).toEqual(forms.map((_, i) => `form ${i} has the probe`));
    expect(await probe.leaksOf(database.superUrl)).toEqual([]);
  });
});
