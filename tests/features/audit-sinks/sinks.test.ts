import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Services } from "../../../shared/container.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { isInnkeepError } from "../../../shared/kernel/errors.ts";
import { openIntegrations } from "../integrations/support.ts";

const TOKEN = "token-0123456789";
const URL = "https://siem.example/collector";
let opened: Awaited<ReturnType<typeof openIntegrations>>;
let services: Services;
beforeAll(async () => {
  opened = await openIntegrations();
  services = opened.over(opened.store);
});
afterAll(() => opened.close());
beforeEach(async () => {
  for (const { id } of (await services.AuditSinkService.list()).data) await services.AuditSinkService.delete(id);
  opened.network.requests.length = 0;
  opened.network.next = { status: 200 };
  opened.clock.advance(600_000);
});

const bodies = () => opened.network.requests.map(({ body }) => new TextDecoder().decode(body));
const entriesSent = () => bodies().flatMap((text) => (JSON.parse(text) as { readonly entries: JsonObject[] }).entries);
const run = async () => {
  opened.clock.advance(60_000);
  return await services.JobService.run("audit-sinks");
};
const log = (tenantId: string, count: number) =>
  Promise.all(Array.from({ length: count }, (_, i) => opened.context.AuditService.log("room.opened", "room", `${i}`, { tenantId })));
const sink = (more: object = {}) => services.AuditSinkService.create({ name: "SIEM", kind: "http", url: URL, token: TOKEN, ...more });

describe("receivers of audit entries", () => {
  test("A14: a tenant's receiver gets every entry of its chain from its creation on, once and in order, over several requests and runs", async () => {
    const [own, other] = [await opened.tenant(), await opened.tenant()];
    const { id } = await sink({ tenantId: own.id });
    await Promise.all([log(own.id, 450), log(other.id, 5)]);
    await run();
    await run();
    await run();
    await log(own.id, 3);
    await run();
    expect(entriesSent().map(({ seq }) => seq)).toEqual(Array.from({ length: 453 }, (_, i) => i + 2));
    expect(new Set(entriesSent().map(({ tenantId }) => tenantId))).toEqual(new Set([own.id]));
    expect(opened.network.requests[0]).toMatchObject({ method: "POST", url: URL, headers: { authorization: `Bearer ${TOKEN}` } });
    const before = opened.network.requests.length;
    await run();
    expect(opened.network.requests).toHaveLength(before);
    expect(await services.AuditSinkService.get(id)).toMatchObject({ sentEntries: 453, failures: 0 });
  });

  test("A14: a deleted tenant's receiver gets the rest of its chain with the deletion, also after a failure, and is then deleted", async () => {
    const { id: tenantId } = await opened.tenant();
    const { id } = await sink({ tenantId });
    await log(tenantId, 3);
    await services.TenantService.delete(tenantId);
    opened.network.next = { status: 503, body: "" };
    await run();
    expect(await services.AuditSinkService.get(id)).toMatchObject({ tenantId, failures: 1 });
    opened.network.next = { status: 200 };
    opened.network.requests.length = 0;
    await run();
    await run();
    expect(entriesSent().map(({ action }) => action)).toEqual(["room.opened", "room.opened", "room.opened", "tenant.deleted"]);
    expect(await services.AuditSinkService.get(id)).toBeNull();
    const noted = (await opened.context.auditOf(null)).filter(({ resourceId }) => resourceId === id).map(({ action }) => action);
    expect(noted).toEqual(["audit-sink.created", "audit-sink.deleted"]);
  });

  test("A14: without a tenant, a receiver gets the entries of all chains once no earlier one can appear, also many of one instant", async () => {
    const [a, b] = [await opened.tenant(), await opened.tenant()];
    opened.clock.advance(1_000);
    await sink();
    await log(a.id, 260);
    await log(b.id, 260);
    opened.clock.advance(1_000);
    await log(b.id, 1);
    await run();
    expect(opened.network.requests).toEqual([]);
    opened.clock.advance(300_000);
    for (let i = 0; i < 4; i++) await run();
    const opened_ = entriesSent().filter(({ action }) => action === "room.opened").map(({ id }) => id);
    expect(opened_).toHaveLength(521);
    expect(new Set(opened_).size).toBe(521);
  });

  test("A14: a failing receiver is tried again later and later, reports its error and lag, and then gets everything", async () => {
    const { id: tenantId } = await opened.tenant();
    const { id } = await sink({ tenantId });
    await log(tenantId, 2);
    const since = opened.clock.iso();
    opened.network.next = { status: 503, body: `no ${TOKEN}` };
    await run();
    await run();
    expect(await services.AuditSinkService.get(id)).toMatchObject({
      failures: 2,
      lastError: "The receiver responded with status 503.",
      behindSince: since,
      sentEntries: 0,
    });
    await run();
    expect(opened.network.requests).toHaveLength(2);
    opened.network.next = "timeout";
    await run();
    expect((await services.AuditSinkService.get(id))?.lastError).toBe("timeout: It failed.");
    opened.network.next = { status: 202 };
    opened.clock.advance(3_600_000);
    await run();
    const after = await services.AuditSinkService.get(id);
    expect(after).toMatchObject({ failures: 0, sentEntries: 2 });
    expect(after).not.toHaveProperty("lastError");
    expect(after).not.toHaveProperty("behindSince");
  });

  test("A14: entries whose position was not stored are sent again", async () => {
    const { id: tenantId } = await opened.tenant();
    await sink({ tenantId });
    await log(tenantId, 2);
    const broken = new Proxy(opened.store, {
      get: (target: Store, name) => {
        if (name === "commit") {
          return (...args: Parameters<Store["commit"]>) =>
            opened.network.requests.length > 0 ? Promise.reject(new Error("killed")) : target.commit(...args);
        }
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    opened.clock.advance(60_000);
    await opened.over(broken).JobService.run("audit-sinks").catch(() => undefined);
    opened.clock.advance(600_000);
    await run();
    expect(entriesSent().map(({ seq }) => seq)).toEqual([2, 3, 2, 3]);
  });

  test("A14: Splunk and Datadog get the forms that they expect", async () => {
    const { id: tenantId } = await opened.tenant();
    await sink({ tenantId, kind: "splunk" });
    await sink({ tenantId, kind: "datadog" });
    await log(tenantId, 2);
    await run();
    const [splunk, datadog] = ["authorization", "dd-api-key"].map((name) => opened.network.requests.find(({ headers }) => headers[name]));
    expect(splunk?.headers["authorization"]).toBe(`Splunk ${TOKEN}`);
    const events = new TextDecoder().decode(splunk?.body).split("\n").map((line) => JSON.parse(line) as JsonObject);
    expect(events.slice(-2)).toMatchObject([
      { sourcetype: "innkeep:audit", event: { seq: 2, action: "room.opened" } },
      { sourcetype: "innkeep:audit", event: { seq: 3, action: "room.opened" } },
    ]);
    expect(new Date(Number(events[0]?.["time"]) * 1_000).toISOString()).toBe((events[0]?.["event"] as JsonObject)["timestamp"]);
    expect(datadog?.headers["dd-api-key"]).toBe(TOKEN);
    expect(JSON.parse(new TextDecoder().decode(datadog?.body))).toMatchObject(
      [2, 3].map((seq) => ({ ddsource: "innkeep", audit: { seq } })),
    );
  });

  test("A14: the token is stored encrypted and never shown, and another URL needs it again", async () => {
    const made = await sink();
    const { AuditSinkService } = services;
    expect(made).toMatchObject({ tokenLast4: "6789", enabled: true });
    expect(JSON.stringify([made, await AuditSinkService.list(), await opened.dump()])).not.toContain(TOKEN);
    const code = (call: Promise<unknown>) =>
      call.then(() => "done", (error: unknown) => isInnkeepError(error) ? error.code : String(error));
    expect(await code(AuditSinkService.update(made.id, { url: "https://other.example/" }))).toBe("validation_failed");
    expect(await code(AuditSinkService.update(made.id, { url: "https://other.example/", token: "another-token" }))).toBe("done");
    expect(await code(sink({ url: "https://10.0.0.1/" }))).toBe("validation_failed");
    expect(await code(sink({ token: "line\nbreak-0123" }))).toBe("validation_failed");
    expect(await code(sink({ tenantId: "tn_none" }))).toBe("not_found");
    expect(await AuditSinkService.update(made.id, { enabled: false })).toMatchObject({ dueAt: null });
  });
});
