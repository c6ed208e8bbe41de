import { createBackend, loadServices, type Services } from "../../../shared/container.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import type { Store } from "../../../shared/kv/store.ts";
import type { TestApi } from "../../http/support/api.ts";
import { KEYS } from "../../support/test-context.ts";

export const DAY = 86_400_000;

/** The services of a process whose store differs in one method. */
export async function processWith<M extends "query" | "commit">(api: TestApi, method: M, replaced: Store[M]): Promise<Services> {
  const get = (store: Store, name: keyof Store): unknown => {
    if (name === method) return replaced;
    const member = store[name];
    return typeof member === "function" ? member.bind(store) : member;
  };
  const store = new Proxy(api.open.store, { get } as ProxyHandler<Store>);
  const backend = createBackend({ store, clock: api.clock, logger: silentLogger, ...KEYS });
  return (await loadServices())(backend.bind(systemContext(api.clock)));
}

/** A tenant with records of many kinds, among them secrets. */
export async function fullTenant({ services, tenant }: TestApi): Promise<string> {
  const { id } = await tenant();
  await services.UsageService.increment(id, "bookings", 950);
  await services.InvoiceService.create(id, { lineItems: [{ description: "=SUM(A1)", quantity: 1, unitAmount: 100 }] });
  await services.GrantService.create(id, { kind: "limit", key: "rooms", value: 5, source: "grant" });
  await services.WebhookService.create({ tenantId: id, url: "https://hooks.example/innkeep", events: ["*"] });
  await services.ApiKeyService.generate("Reader", ["read:usage"], { tenantId: id });
  await services.IntegrationService.connect(id, "hubspot", { credentials: { accessToken: "secret-token-4711" } });
  return id;
}
