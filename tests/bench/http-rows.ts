import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createSigningKey, issuerOf, signToken } from "../../functions/local/tokens.ts";
import type { SigningKey } from "../../functions/local/tokens.ts";
import { createTokenVerifier } from "../../shared/adapters/token-verifier.ts";
import { admin as adminUser } from "../../shared/features/admins/entity.ts";
import { entitlements } from "../../shared/features/entitlements/entity.ts";
import { DEFAULT_METRICS } from "../../shared/features/metrics/default-metrics.ts";
import { metric } from "../../shared/features/metrics/entity.ts";
import { plan } from "../../shared/features/plans/entity.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import type { Store } from "../../shared/kv/store.ts";
import { freePort } from "../support/cluster.ts";
import { byName, interleave, median, ratio } from "./measure.ts";
import { ms, rate } from "./report.ts";
import type { Row } from "./report.ts";
import { ROOT_KEY_TEXT } from "../support/root-key.ts";

const ENTRY = fileURLToPath(new URL("../../functions/api/index.ts", import.meta.url));
const PROJECT = fileURLToPath(new URL("../../", import.meta.url));

const PLANS = ["Trial", "Basic", "Pro", "Enterprise"];
/** As many as the largest default plan has. */
const FEATURES = Array.from({ length: 11 }, (_, i) => `feature-${i}`);
const tenantId = (i: number) => `tn_${String((i * 7919) % 100_000).padStart(7, "0")}`;

/** The API under Deno on the large data set. */
export async function httpRows(store: Store, databaseUrl: string, report: (row: Row) => void): Promise<void> {
  const key = await createSigningKey();
  const userId = "bench-admin";
  await store.mset([[`admin:${userId}`, { ...adminUser.example, userId } as JsonObject]]);
  await store.mset(PLANS.map((id) => [`plan:${id}`, { ...plan.example, id, name: id } as JsonObject] as const));
  const entitled = Array.from({ length: 100 }, (_, i) => {
    const record = { ...entitlements.example, tenantId: tenantId(i), planFeatures: FEATURES };
    return [`entitlements:${tenantId(i)}`, record as JsonObject] as const;
  });
  await store.mset(entitled);
  await store.mset(DEFAULT_METRICS.map((each) => [`metric:${each.id}`, { ...metric.example, ...each } as JsonObject] as const));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const token = await signToken(key, url, { userId, email: "bench@innkeep.example", appMetadata: {}, expiresInSeconds: 3_600 });
  const api = await start(port, environment(key, url, databaseUrl));
  try {
    await requests(url, token, report);
  } finally {
    await api.stop();
  }
  await repeatedToken(key, url, token, report);
  await coldStart(key, databaseUrl, report, { path: "/health", to: "its first answer", target: 50 });
  // 401 without a token: everything of the route is loaded, but neither `jose` nor the database's library.
  await coldStart(key, databaseUrl, report, { path: "/v1/tenants", to: "its first answer of a feature's route", target: null });
}

async function requests(url: string, token: string, report: (row: Row) => void): Promise<void> {
  const ask = async (path: string, method = "GET"): Promise<Response> => {
    const response = await fetch(url + path, { method, headers: { authorization: `Bearer ${token}` } });
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
    return response;
  };
  const call = async (path: string, method?: string) => void await (await ask(path, method)).arrayBuffer();
  const list = "/v1/tenants?limit=20&sort=-mrr";
  const { data, pagination } = await (await ask(list)).json() as { data: unknown[]; pagination: { total: number } };
  if (data.length !== 20 || pagination.total < 100_000) throw new Error(`${list}: ${data.length} tenants of ${pagination.total}`);
  const of = byName(
    await interleave([
      { name: "tenant", run: (i) => call(`/v1/tenants/${tenantId(i)}`) },
      { name: "few", run: (i) => call(`/v1/tenants/${tenantId(i % 100)}`) },
      { name: "entitlements", run: (i) => call(`/v1/tenants/${tenantId(i % 100)}/entitlements`) },
      { name: "check", run: (i) => call(`/v1/tenants/${tenantId(i % 100)}/entitlements/check?key=feature-3`) },
      { name: "usage", run: (i) => call(`/v1/tenants/${tenantId(i % 100)}/usage/api_calls/increment`, "POST") },
      { name: "list", run: () => call(list) },
      { name: "constant", run: () => call("/health") },
    ], {
      callers: 64,
      operations: { tenant: 6_000, few: 6_000, entitlements: 6_000, check: 6_000, usage: 4_000, list: 1_500, constant: 6_000 },
      rounds: 7,
    }),
  );
  const rows = [
    ["tenant", "HTTP GET /v1/tenants/:id with JWT and scope check, Deno", 0.4],
    ["usage", "HTTP POST …/usage/:metric/increment over 100 tenants", 0.25],
    ["list", "HTTP GET /v1/tenants?limit=20&sort=-mrr with its total", 0.1],
  ] as const;
  for (const [name, operation, target] of rows) {
    report({
      operation,
      callers: 64,
      store: rate(of(name)),
      against: "constant answer",
      other: rate(of("constant")),
      ratio: ratio(of(name), of("constant")),
      target,
    });
  }
  entitlementRows(of, report);
}

/** The time of a read of entitlements, as a multiple of a read of a tenant by its id. */
function entitlementRows(of: ReturnType<typeof byName>, report: (row: Row) => void): void {
  const rows = [["entitlements", "HTTP GET …/entitlements over 100 tenants"], [
    "check",
    "HTTP GET …/entitlements/check?key= over 100 tenants",
  ]];
  for (const [name = "", operation = ""] of rows) {
    report({
      operation,
      callers: 64,
      store: rate(of(name)),
      against: "GET /v1/tenants/:id",
      other: rate(of("few")),
      ratio: ratio(of("few"), of(name)),
      target: 1.5,
      atMost: true,
    });
  }
}

async function repeatedToken(key: SigningKey, url: string, token: string, report: (row: Row) => void): Promise<void> {
  const verifier = createTokenVerifier({
    issuer: issuerOf(url),
    audience: "authenticated",
    jwks: { keys: [{ kty: "EC", ...key.publicJwk }] },
    clock: systemClock,
    fetch,
  });
  const first = performance.now();
  await verifier.verify(token);
  const verified = performance.now() - first;
  const rounds = await Promise.all(Array.from({ length: 9 }, async () => {
    const started = performance.now();
    for (let i = 0; i < 20_000; i++) await verifier.verify(token);
    return (performance.now() - started) / 20;
  }));
  report({
    operation: "a repeated JWT, in µs",
    callers: 1,
    store: `${median(rounds).toFixed(2)} µs`,
    against: "its first verification",
    other: ms(verified),
    ratio: median(rounds),
    target: 5,
    atMost: true,
  });
}

async function coldStart(
  key: SigningKey,
  databaseUrl: string,
  report: (row: Row) => void,
  { path, to, target }: { readonly path: string; readonly to: string; readonly target: number | null },
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "innkeep-bench-"));
  const empty = join(folder, "empty.ts");
  await writeFile(empty, `Deno.serve(() => new Response("ok"));\n`);
  const took = { api: [] as number[], empty: [] as number[] };
  for (let round = -1; round < 11; round++) {
    for (const [name, entry] of [["empty", empty], ["api", ENTRY]] as const) {
      const port = await freePort();
      const started = performance.now();
      const server = await start(port, environment(key, `http://127.0.0.1:${port}`, databaseUrl), { entry, path });
      if (round >= 0) took[name].push(performance.now() - started);
      await server.stop();
    }
  }
  await rm(folder, { recursive: true, force: true });
  const over = median(took.api.map((time, i) => time - (took.empty[i] ?? 0)));
  report({
    operation: `cold start of \`api\` to ${to}, over an empty Deno program, in ms`,
    callers: 1,
    store: ms(median(took.api)),
    against: "empty program",
    other: ms(median(took.empty)),
    ratio: over,
    target,
    atMost: true,
  });
}

/** Starts a program under Deno, by default the API, and waits until it answers. */
export async function start(port: number, env: Readonly<Record<string, string>>, { entry = ENTRY, path = "/health" } = {}) {
  const child = spawn(process.execPath, ["run", "-A", "--no-check", entry], {
    cwd: PROJECT,
    stdio: "ignore",
    env: { ...env, DENO_SERVE_ADDRESS: `tcp:127.0.0.1:${port}` },
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const deadline = performance.now() + 20_000;
  for (;;) {
    const response = await fetch(`http://127.0.0.1:${port}${path}`).catch(() => null);
    await response?.arrayBuffer();
    if (response?.ok || response?.status === 401) break;
    if (performance.now() > deadline) throw new Error("the server did not respond");
    await sleep(1);
  }
  return {
    async stop() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

export function environment(key: SigningKey, url: string, databaseUrl: string): Record<string, string> {
  const kept = ["PATH", "HOME", "DENO_DIR"].map((name) => [name, process.env[name] ?? ""]);
  return {
    ...Object.fromEntries(kept),
    SUPABASE_URL: url,
    DATABASE_URL: databaseUrl,
    SUPABASE_JWKS: JSON.stringify({ keys: [key.publicJwk] }),
    INNKEEP_ROOT_KEY: ROOT_KEY_TEXT,
    // All requests are of one caller.
    INNKEEP_RATE_LIMITS: "off",
  };
}
