import { afterAll, beforeAll, expect } from "vitest";
import { type Api, createApi } from "../../../functions/api/app.ts";
import type { Route } from "../../../shared/core/route.ts";
import { createTokenVerifier } from "../../../shared/adapters/token-verifier.ts";
import { type Container, createContainer, type Services } from "../../../shared/container.ts";
import { ADMIN_ROLES, type AdminRole, type TenantRole } from "../../../shared/core/scopes.ts";
import { auditEntry } from "../../../shared/core/audit-entry.ts";
import type { RateLimits } from "../../../shared/core/caller.ts";
import { NO_OUTBOUND, type Outbound } from "../../../shared/core/outbound.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { jsonLogger } from "../../../shared/kernel/logger.ts";
import type { StoredTenant, TenantCreate } from "../../../shared/features/tenants/service.ts";
import { KEYS } from "../../support/test-context.ts";
import { freshStore, type OpenStore, type TestClock, testClock } from "../../support/store.ts";
import type { Store } from "../../../shared/kv/store.ts";
import type { TestDatabase } from "../../support/postgres.ts";
import { type Contract, contractOf } from "./contract.ts";
import { AUDIENCE, ISSUER, makeSigner, type Signer } from "./tokens.ts";

export interface Sent {
  readonly token?: string | undefined;
  /** Sent as JSON. `raw` is sent unchanged. */
  readonly json?: unknown;
  readonly raw?: BodyInit;
  readonly headers?: Record<string, string>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // deno-lint-ignore no-explicit-any -- a test fails when a member that it reads is missing
  readonly body: any;
  readonly text: string;
}

export interface TestApi {
  readonly routes: readonly Route[];
  readonly contract: Contract;
  readonly container: Container;
  readonly services: Services;
  readonly clock: TestClock;
  readonly signer: Signer;
  readonly open: OpenStore;
  readonly logs: Record<string, unknown>[];
  /** Sends a request to the app in this process and checks the response against the OpenAPI file. */
  send(method: string, path: string, sent?: Sent): Promise<Answer>;
  /** The same app over another store, which represents another process. */
  over(store: Store): Promise<TestApi["send"]>;
  admin(role: AdminRole): string;
  /** The secret of a new API key: of a tenant, or of the platform. */
  key(scopes: readonly string[], tenantId?: string): Promise<string>;
  user(tenantId: string, role?: TenantRole, subject?: string): Promise<string>;
  tenant(given?: Partial<TenantCreate>): Promise<StoredTenant>;
  auditCount(): Promise<number>;
}

export interface ApiOptions {
  readonly corsOrigins?: readonly string[];
  readonly baseDomain?: string | null;
  readonly apiHosts?: readonly string[];
  /** Default: requests are not limited. */
  readonly rateLimits?: RateLimits | null;
  /** Default: every call to another system fails. */
  readonly outbound?: Outbound;
  /** Audits refused requests. Gets the work in the background. Default: they are not audited. */
  readonly denials?: { readonly background: (work: Promise<unknown>) => void };
  /** Another database than one on the server of the test run. */
  readonly database?: () => Promise<TestDatabase>;
}

/** One app on a new database for the test file, closed after the file. */
export function useApi(options: ApiOptions = {}): TestApi {
  const holder: { api?: TestApi } = {};
  beforeAll(async () => {
    holder.api = await openApi(options);
  });
  afterAll(async () => {
    await holder.api?.open.close();
  });
  return new Proxy({} as TestApi, {
    get: (_, name) => {
      if (!holder.api) throw new Error("the app is there from beforeAll on");
      return holder.api[name as keyof TestApi];
    },
  });
}

/** The file depends on the routes alone, so the apps of all test files of a worker have the same one. */
let known: Promise<Contract> | undefined;

async function contractFrom(app: Api): Promise<Contract> {
  const answer = await app.fetch(new Request("http://localhost/openapi.json"));
  return contractOf(await answer.json() as Record<string, unknown>);
}

async function openApi(
  {
    corsOrigins = ["https://admin.example"],
    baseDomain = "innkeep.example",
    apiHosts = [],
    rateLimits = null,
    outbound = NO_OUTBOUND,
    denials,
    database,
  }: ApiOptions,
): Promise<TestApi> {
  const clock = testClock();
  const open = await freshStore({ driver: "postgres", clock, ...(database ? { database: await database() } : {}) });
  const logs: Record<string, unknown>[] = [];
  const logger = jsonLogger((line) => logs.push(JSON.parse(line) as Record<string, unknown>), clock.now);
  const containerOver = (store: Store) =>
    createContainer({ store, clock, logger, hosts: { baseDomain, apiHosts }, ...KEYS, rateLimits, outbound });
  const container = await containerOver(open.store);
  const signer = await makeSigner(clock);
  const verifier = createTokenVerifier({ issuer: ISSUER, audience: AUDIENCE, jwks: signer.jwks, clock, fetch });
  const appOver = (backend: Container) =>
    createApi({ logger, corsOrigins }, () => ({ backend, verifier, ...(denials ? { denials } : {}) }));
  const app = appOver(container);
  const routes = await app.routes();
  const services = container.services(systemContext(clock));
  await services.MetricService.seedDefaults();
  await services.PlanService.seedDefaults();
  const admins = new Map<AdminRole, string>();
  for (const role of ADMIN_ROLES) {
    await services.AdminUserService.create({
      userId: `user-${role}`,
      email: `${role.replace("_", "-")}@innkeep.example`,
      name: role,
      role,
    });
    admins.set(role, await signer.sign(`user-${role}`));
  }
  const contract = await (known ??= contractFrom(app));
  const sendTo = (to: Api): TestApi["send"] => async (method, path, sent = {}) => {
    const answer = await request(to, method, path, sent);
    contract.check(method, path, answer);
    return answer;
  };
  let made = 0;
  return {
    routes,
    contract,
    container,
    services,
    clock,
    signer,
    open,
    logs,
    send: sendTo(app),
    over: async (store) => sendTo(appOver(await containerOver(store))),
    admin: (role) => admins.get(role) ?? "",
    key: async (granted, tenantId) => {
      const { secret } = await services.ApiKeyService.generate("Key of a test", granted, tenantId === undefined ? {} : { tenantId });
      return secret ?? "";
    },
    user: (tenantId, role = "viewer", subject = `user-of-${tenantId}`) =>
      signer.sign(subject, { email: "guest@hotel.example", app_metadata: { tenant_id: tenantId, tenant_role: role } }),
    tenant: (given = {}) => {
      made += 1;
      return services.TenantService.create({
        name: `Hotel ${made}`,
        subdomain: `hotel-${made}`,
        plan: "Pro",
        owner: "owner@hotel.example",
        ownerName: "Ada Auer",
        status: "active",
        ...given,
      });
    },
    auditCount: () => open.store.count({ entity: auditEntry }),
  };
}

async function request(app: Api, method: string, path: string, { token, json, raw, headers = {} }: Sent): Promise<Answer> {
  const body = raw ?? (json === undefined ? undefined : JSON.stringify(json));
  const response = await app.fetch(
    new Request(new URL(path, "http://localhost"), {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(json === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body }),
    }),
  );
  const text = await response.text();
  const isJson = /\bjson\b/.test(response.headers.get("content-type") ?? "");
  return { status: response.status, headers: response.headers, text, body: isJson && text !== "" ? JSON.parse(text) : undefined };
}

/** Expects a problem with this status and code and all standard members. */
export function expectProblem(answer: Answer, status: number, code: string): void {
  expect({ status: answer.status, code: answer.body?.code }, answer.text).toEqual({ status, code });
  expect(answer.headers.get("content-type")).toBe("application/problem+json");
  expect(answer.body.requestId).toBe(answer.headers.get("x-request-id"));
}
