import { type Container, createBackend, createContainer, loadServices, type Services } from "../../shared/container.ts";
import type { Actions } from "../../shared/core/actions.ts";
import { knownRootKeys } from "../../shared/core/root-keys.ts";
import { actions } from "../../shared/features/index.ts";
import { registry } from "../../shared/features/registry.ts";
import type { Actor, Context } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import { familyOf } from "../../shared/kv/define.ts";
import type { Entry, Store } from "../../shared/kv/store.ts";
import type { StoredTenant, TenantCreate } from "../../shared/features/tenants/service.ts";
import { ROOT_KEY } from "./root-key.ts";
import { freshStore } from "./store.ts";
import type { OpenStore } from "./store.ts";

/** The server's key of the HMAC of API keys. */
export const API_KEY_SECRET = "the key of the tests, of 32 or more";
export const ADMIN: Actor = { type: "admin", id: "admin-1", email: "ada@innkeep.example" };

/** The settings of every container of the tests. */
export const KEYS = {
  apiKeySecret: API_KEY_SECRET,
  rootKeys: knownRootKeys(ROOT_KEY),
  actions: {
    ...actions,
    "room.opened": { means: "A room was opened.", data: "any" },
    "room.closed": "A room was closed.",
    "platform.ticked": "A clock has ticked.",
  } satisfies Actions,
};

/** The services of a platform admin on a new database, with the default metrics and plans. */
export interface TestContext extends OpenStore {
  readonly container: Container;
  /** The services for another caller. */
  as(caller?: Partial<Context>): Services;
  /** The services over another store, such as that of another process. */
  over(store: Store, caller?: Partial<Context>): Services;
  /** Creates a tenant with a unique subdomain. */
  tenant(data?: Partial<TenantCreate>): Promise<StoredTenant>;
  /** Every entry of the store, or below a prefix such as a family. */
  dump(prefix?: string): Promise<Entry[]>;
  /** Audit entries of a scope (null: the platform's), oldest first. */
  auditOf(tenantId: string | null): Promise<JsonObject[]>;
}

export async function openTestContext(): Promise<TestContext & Services> {
  const opened = await freshStore({ driver: "postgres" });
  const { store, clock } = opened;
  const contextOf = (caller: Partial<Context>): Context => ({ actor: ADMIN, tenantId: null, requestId: "req_test", clock, ...caller });
  const container = await createContainer({ store, clock, logger: silentLogger, ...KEYS });
  const servicesOf = await loadServices();
  const over: TestContext["over"] = (other, caller = {}) =>
    servicesOf(createBackend({ store: other, clock, logger: silentLogger, ...KEYS }).bind(contextOf(caller)));
  const services = over(store);
  await services.MetricService.seedDefaults();
  await services.PlanService.seedDefaults();
  let made = 0;
  const dump: TestContext["dump"] = async (prefix) => {
    const prefixes = prefix ? [prefix] : [...new Set(registry.map(familyOf))];
    const entries: Entry[] = [];
    for (const each of prefixes) for await (const entry of store.entries({ prefix: each })) entries.push(entry);
    return entries;
  };
  return {
    ...opened,
    ...services,
    container,
    as: (caller) => over(store, caller),
    over,
    dump,
    tenant: (data = {}) => services.TenantService.create({ ...hotel(`hotel-${++made}`), ...data }),
    auditOf: async (tenantId) => {
      const entries = (await dump(tenantId === null ? "audit" : `audit:${tenantId}`)).filter((entry) => entry.tenantId === tenantId).map((
        { value },
      ) => value as JsonObject);
      return entries.sort((a, b) => Number(a["seq"]) - Number(b["seq"]));
    },
  };
}

export function hotel(subdomain: string): TenantCreate {
  return {
    name: `Hotel ${subdomain}`,
    subdomain,
    plan: "Pro",
    status: "active",
    owner: `owner@${subdomain}.example`,
    ownerName: "Ada Auer",
  };
}

/** A tenant's own user. */
export function userOf(tenantId: string, id = "user-1"): Partial<Context> {
  return { actor: { type: "user", id }, tenantId };
}
