import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBackend, loadServices } from "../../../shared/container.ts";
import type { Outbound, OutboundRequest, OutboundResult } from "../../../shared/core/outbound.ts";
import { DEFAULT_OUTBOUND_RULES } from "../../../shared/core/outbound.ts";
import { scopes as catalogue } from "../../../shared/features/index.ts";
import { handleDue } from "../../../shared/features/webhooks/due.ts";
import type { Webhook } from "../../../shared/features/webhooks/entity.ts";
import { isSubscribed } from "../../../shared/features/webhooks/matching.ts";
import { open, signingOf } from "../../../shared/features/webhooks/secret.ts";
import type { WebhookCreate } from "../../../shared/features/webhooks/service.ts";
import { type Context, systemContext } from "../../../shared/kernel/context.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { withClient } from "../../support/client.ts";
import { codeOf } from "../../support/store.ts";
import { ADMIN, KEYS, openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => {
  context = await openTestContext();
});
afterAll(() => context.close());

const DAY_MS = 86_400_000;
const hooks = (caller?: Partial<Context>) => context.as(caller).WebhookService;
const asRole = (tenantId: string, role: "viewer" | "owner"): Partial<Context> => ({
  ...userOf(tenantId),
  scopes: catalogue.ofTenant(role),
});
const body = (given: Partial<WebhookCreate> = {}): WebhookCreate => ({
  url: "https://hooks.example.com/in",
  events: ["tenant.*"],
  ...given,
});
const work = () => context.container.bind(systemContext(context.clock));
const stored = async (id: string) => (await context.store.get(`webhook:${id}`))?.value as unknown as Webhook;
const signing = async (id: string) => await signingOf(work(), await stored(id));

/** Services whose requests to others get this result. */
async function withOutbound(result: OutboundResult) {
  const sent: OutboundRequest[] = [];
  const outbound: Outbound = { rules: DEFAULT_OUTBOUND_RULES, send: (request) => Promise.resolve((sent.push(request), result)) };
  const { store, clock } = context;
  const servicesOf = await loadServices();
  const caller: Context = { actor: ADMIN, tenantId: null, requestId: "req_test", clock };
  const backend = createBackend({ store, clock, logger: silentLogger, ...KEYS, outbound });
  return { sent, hooks: servicesOf(backend.bind(caller)).WebhookService };
}

describe("a webhook", () => {
  test("W01: is created, read, changed and deleted with everything its owner can set", async () => {
    const { id: tenantId } = await context.tenant();
    const all = { description: "Booking engine", payload: "thin", maxConcurrency: 2, maxPerSecond: 50, events: ["*"] } as const;
    const made = await hooks().create(body({ tenantId, ...all, events: ["*"], headers: { "X-Environment": "test" } }));
    expect(made).toMatchObject({ ...all, tenantId, enabled: true, status: "active", headerNames: ["x-environment"] });
    expect(await hooks().get(made.id)).toMatchObject({ id: made.id, secretLast4: made.secret?.slice(-4) });
    const changed = await hooks().update(made.id, {
      url: "https://hooks.example.com/v2",
      maxPerSecond: null,
      headers: { "x-a": "1", "X-B": "2" },
    });
    expect(changed).toMatchObject({ url: "https://hooks.example.com/v2", headerNames: ["x-a", "x-b"], maxConcurrency: 2 });
    expect(changed).not.toHaveProperty("maxPerSecond");
    expect((await signing(made.id)).headers).toEqual({ "x-a": "1", "x-b": "2" });
    expect(await hooks().update(made.id, { headers: null })).toMatchObject({ headerNames: [] });
    expect(await signing(made.id)).toEqual({ secrets: [made.secret], headers: {} });
    expect([await hooks().delete(made.id), await hooks().get(made.id), await hooks().delete(made.id)]).toEqual([true, null, false]);
    const actions = (await context.auditOf(tenantId)).map(({ action }) => String(action)).filter((action) => action.startsWith("webhook"));
    expect(actions).toEqual(["webhook.created", "webhook.updated", "webhook.updated", "webhook.deleted"]);
  });

  test.each<[string, Partial<WebhookCreate>, string]>([
    ["plain http", { url: "http://hooks.example.com/" }, "/url invalid_url"],
    ["a private address", { url: "https://10.0.0.7/" }, "/url invalid_url"],
    ["an address in hexadecimal", { url: "https://0x7f000001/" }, "/url invalid_url"],
    ["credentials in its URL", { url: "https://ada:x@hooks.example.com/" }, "/url invalid_url"],
    ["another port", { url: "https://hooks.example.com:8443/" }, "/url invalid_url"],
    ["a name of a cloud's metadata", { url: "https://metadata.google.internal/" }, "/url invalid_url"],
    ["an unknown event", { events: ["tenant.created", "tenant.exploded"] }, "/events/1 unknown_event_type"],
    ["no events", { events: [] }, "/events too_small"],
    ["a header that Innkeep sets", { headers: { "webhook-id": "evt_1" } }, "/headers/webhook-id invalid"],
    ["too many requests at the same time", { maxConcurrency: 17 }, "/maxConcurrency too_big"],
    ["an id of its own", { id: "webhook_mine" } as Partial<WebhookCreate>, "/id unknown_field"],
    ["a secret of its own", { secret: "whsec_x" } as Partial<WebhookCreate>, "/secret unknown_field"],
  ])("W01, W07, W08: with %s is refused, by create and by update", async (_, given, fault) => {
    const faults = async (call: Promise<unknown>) => {
      const error = await call.then(() => null, (thrown: { readonly fields?: readonly { path: string; code: string }[] }) => thrown);
      return error?.fields?.map(({ path, code }) => `${path} ${code}`);
    };
    expect(await faults(hooks().create(body(given)))).toEqual([fault]);
    const { id } = await hooks().create(body());
    expect(await faults(hooks().update(id, given))).toEqual([fault]);
    await hooks().delete(id);
  });

  test("W01: gets its url and events only from a caller that may read events", async () => {
    const writer = context.as({ scopes: new Set(["write:webhooks"]) }).WebhookService;
    const made = { url: "https://narrow.example/", events: ["*"] };
    expect(await codeOf(writer.create(made))).toBe("forbidden");
    const { id } = await context.WebhookService.create(made);
    expect(await codeOf(writer.update(id, { url: "https://other.example/" }))).toBe("forbidden");
    expect(await writer.update(id, { description: "narrow" })).toMatchObject({ description: "narrow" });
    expect(await context.as({ scopes: new Set(["write:webhooks", "read:events"]) }).WebhookService.create(made)).toMatchObject(made);
  });

  test("W01: gets no events of API keys through a caller that may not read keys, until another caller directs it", async () => {
    const narrow = context.as({ scopes: new Set(["write:webhooks", "read:events"]) }).WebhookService;
    const url = "https://withheld.example/";
    const { id, withheld } = await narrow.create({ url, events: ["*"] });
    expect(withheld).toEqual(["email-address.*", "compliance-request.*", "api-key.*"]);
    for (const events of [["api-key.*"], ["tenant.*", "api-key.created"]]) {
      expect(await codeOf(narrow.create({ url, events }))).toBe("insufficient_scope");
      expect(await codeOf(narrow.update(id, { events }))).toBe("insufficient_scope");
    }
    expect(await context.WebhookService.update(id, { description: "the same target" })).toMatchObject({ withheld });
    expect(await context.WebhookService.update(id, { url: "https://full.example/" })).not.toHaveProperty("withheld");
    expect(await narrow.update(id, { url })).toMatchObject({ withheld });
    const { id: named } = await context.WebhookService.create({ url, events: ["api-key.created"] });
    expect(await codeOf(narrow.update(named, { url: "https://theirs.example/" }))).toBe("insufficient_scope");
    const types = ["tenant.created", "api-key.created", "api-keys.created"];
    expect(types.map((type) => isSubscribed({ events: ["*"], withheld: ["api-key.*"] }, type))).toEqual([true, false, true]);
    await Promise.all([id, named].map((each) => context.WebhookService.delete(each)));
  });

  test("W01: of a tenant is seen and changed by the tenant alone, and by no other tenant", async () => {
    const [own, other] = [await context.tenant(), await context.tenant()];
    const platform = await hooks().create(body());
    const made = await hooks(asRole(own.id, "owner")).create(body());
    expect(made.tenantId).toBe(own.id);
    expect((await hooks(asRole(own.id, "owner")).list()).data.map(({ id }) => id)).toEqual([made.id]);
    expect((await hooks().list(own.id)).data.map(({ id }) => id)).toEqual([made.id]);
    for (const id of [made.id, platform.id]) {
      const stranger = hooks(asRole(other.id, "owner"));
      const results = [stranger.get(id), stranger.update(id, { enabled: false }), stranger.rotateSecret(id), stranger.enable(id)];
      expect(await Promise.all(results)).toEqual([null, null, null, null]);
      expect(await Promise.all([stranger.delete(id), stranger.deliveries(id), stranger.test(id)])).toEqual([false, null, null]);
    }
    await expect(hooks(asRole(own.id, "owner")).create(body({ tenantId: other.id }))).rejects.toMatchObject({ code: "not_found" });
    await expect(hooks().create(body({ tenantId: "tn_none" }))).rejects.toMatchObject({ code: "not_found" });
    expect((await hooks().get(made.id))?.enabled).toBe(true);
  });

  test("W01: is the last of 20 when 30 are created at once, and a deletion makes room", async () => {
    const { id: tenantId } = await context.tenant();
    const owner = hooks(asRole(tenantId, "owner"));
    const results = await Promise.allSettled(Array.from({ length: 30 }, (_, i) => (i % 2 ? owner : hooks()).create(body({ tenantId }))));
    const faults = results.flatMap((result) => result.status === "rejected" ? [result.reason as { code: string }] : []);
    expect([faults.length, ...new Set(faults.map(({ code }) => code))]).toEqual([10, "validation_failed"]);
    const { data: [first] } = await owner.list(undefined, {}, undefined, { limit: 100 });
    await owner.delete(first?.id ?? "");
    await owner.create(body());
    await expect(owner.create(body())).rejects.toMatchObject({ fields: [{ code: "too_many" }] });
  });

  test("W01: of a tenant cannot subscribe to events of the platform alone, and the error names the entry", async () => {
    const { id: tenantId } = await context.tenant();
    const refused = { fields: [{ path: "/events/1", code: "platform_event_type" }, { path: "/events/2", code: "platform_event_type" }] };
    for (const caller of [undefined, asRole(tenantId, "owner")]) {
      const events = ["*", "plan.created", "admin.*", "invoice.*"];
      await expect(hooks(caller).create(body({ tenantId, events }))).rejects.toMatchObject(refused);
      const { id } = await hooks(caller).create(body({ tenantId, events: ["*", "tenant.created"] }));
      await expect(hooks(caller).update(id, { events })).rejects.toMatchObject(refused);
    }
    expect(await hooks().create(body({ events: ["plan.created", "admin.*"] }))).toMatchObject({ events: ["plan.created", "admin.*"] });
  });

  test("W01: keeps its revision over deliveries, so that they do not refuse an edit, and a change by another editor does", async () => {
    const made = await hooks().create(body());
    const { id, version } = made;
    const deliver = () => context.store.increment(`webhook:${id}`, [{ path: ["failureCount"], by: 1 }], { merge: { dueAt: work().now() } });
    await deliver();
    const seen = await hooks().get(id);
    expect([seen?.revision, seen?.version === version]).toEqual([made.revision, false]);
    const renamed = await hooks().update(id, { description: "First" }, { ifMatch: [version] });
    expect(renamed).toMatchObject({ description: "First", revision: made.revision + 1 });
    await deliver();
    for (const stale of [version, seen?.version ?? ""]) {
      const { version: currentVersion } = await hooks().get(id) ?? {};
      await expect(hooks().update(id, { description: "Second" }, { ifMatch: [stale] })).rejects.toMatchObject({
        code: "precondition_failed",
        details: { currentVersion },
      });
      expect(await codeOf(hooks().delete(id, { ifMatch: [stale] }))).toBe("precondition_failed");
    }
    expect((await hooks().update(id, { description: "First" }))?.revision).toBe(made.revision + 1);
    expect(await hooks().delete(id, { ifMatch: [renamed?.version ?? ""] })).toBe(true);
  });

  test("W12: is disabled by request and enabled again, once", async () => {
    const { id } = await hooks().create(body());
    expect(await hooks().update(id, { enabled: false })).toMatchObject({ status: "disabled", disabledReason: "by_request", dueAt: null });
    const enabled = await hooks().enable(id);
    expect(enabled).toMatchObject({ status: "active", enabled: true, gap: { failed: 0, isComplete: true }, dueAt: work().now() });
    expect((await hooks().enable(id))?.version).toBe(enabled?.version);
    await expect(hooks().update(id, { enabled: false }, { ifMatch: ["1"] })).rejects.toMatchObject({ code: "precondition_failed" });
  });
});

test("W07, W12: the failures and the pause of a receiver end with its URL, so that another one gets what is due", async () => {
  const { id } = await hooks().create(body());
  const at = (ms: number) => new Date(context.clock.now() + ms).toISOString();
  const failing = { failureCount: 7, failingSince: at(-4 * DAY_MS), pausedUntil: at(DAY_MS), pauseSeconds: 300, dueAt: at(DAY_MS) };
  await context.store.set(`webhook:${id}`, { ...await stored(id), ...failing } as JsonObject);
  expect(await hooks().update(id, { description: "The same receiver" })).toMatchObject(failing);
  const moved = await hooks().update(id, { url: "https://hooks.example.com/v2" });
  expect(moved).toMatchObject({ failureCount: 0, failingSince: null, dueAt: at(0) });
  expect([moved?.pausedUntil, moved?.pauseSeconds]).toEqual([undefined, undefined]);
});

describe("the secret of a webhook", () => {
  test("W04: is shown once, and both sign until the overlap ends, for 24 hours by default", async () => {
    const { id, secret: first } = await hooks().create(body({ headers: { "x-a": "1" } }));
    const rotated = await hooks().rotateSecret(id);
    expect(Date.parse(rotated?.previousSecretExpiresAt ?? "") - context.clock.now()).toBe(DAY_MS);
    expect(await hooks().get(id)).not.toHaveProperty("secret");
    expect(await signing(id)).toEqual({ secrets: [rotated?.secret, first], headers: { "x-a": "1" } });
    context.clock.advance(DAY_MS - 1);
    expect((await signing(id)).secrets).toEqual([rotated?.secret, first]);
    context.clock.advance(1);
    expect((await signing(id)).secrets).toEqual([rotated?.secret]);
    const third = await hooks().rotateSecret(id, { overlapSeconds: 0 });
    expect((await signing(id)).secrets).toEqual([third?.secret]);
    for (const overlapSeconds of [-1, 0.5, 604_801]) {
      await expect(hooks().rotateSecret(id, { overlapSeconds })).rejects.toMatchObject({ code: "validation_failed" });
    }
  });

  test("W04: is not shown by a call that is repeated with its idempotency key", async () => {
    const make = () => hooks().create(body(), { idempotencyKey: "make-hook" });
    const [first, again] = [await make(), await make()];
    expect([again.id, "secret" in first, "secret" in again]).toEqual([first.id, true, false]);
    const roll = () => hooks().rotateSecret(first.id, {}, { idempotencyKey: "roll-hook" });
    const [rolled, repeated] = [await roll(), await roll()];
    expect([repeated?.version, repeated && "secret" in repeated]).toEqual([rolled?.version, false]);
    expect((await signing(first.id)).secrets).toEqual([rolled?.secret, first.secret]);
  });

  test("W04, W08: and the values of headers are in no table of the database", async () => {
    const { id, secret = "" } = await hooks().create(body({ headers: { authorization: "Bearer planted-value-4711" } }));
    const { secret: second = "" } = await hooks().rotateSecret(id) ?? {};
    await hooks().update(id, { headers: { authorization: "Bearer planted-value-4712" } });
    const dump = await withClient(context.database.superUrl, async (client) => {
      const { rows: tables } = await client.query<{ name: string }>(
        "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'kv'",
      );
      const texts: string[] = [];
      for (const { name } of tables) {
        texts.push(...(await client.query<{ row: string }>(`select t::text as row from ${name} t`)).rows.map(({ row }) => row));
      }
      return texts.join("\n");
    });
    expect(dump).toContain(id);
    for (const text of [secret, second, "planted-value", secret.slice(6, 40)]) expect(dump.includes(text)).toBe(false);
    expect((await open(work(), await stored(id))).headers).toEqual({ authorization: "Bearer planted-value-4712" });
  });

  test("W08: the values of headers are not sent to another host than they were given for, until they are sent again", async () => {
    const { id } = await hooks().create(body({ headers: { authorization: "Bearer planted-value-4713" } }));
    for (const url of ["https://evil.example.org/in", "https://hooks.example.com.evil.example.org/in"]) {
      await expect(hooks().update(id, { url })).rejects.toMatchObject({ fields: [{ path: "/headers", code: "required" }] });
    }
    expect((await hooks().get(id))?.url).toBe(body().url);
    expect(await hooks().update(id, { url: "https://HOOKS.example.com:443/v2" })).toMatchObject({ headerNames: ["authorization"] });
    expect(await hooks().update(id, { url: "https://new.example.org/", headers: null })).toMatchObject({ headerNames: [] });
    expect(await hooks().update(id, { url: "https://newer.example.org/" })).toMatchObject({ url: "https://newer.example.org/" });
  });

  test("W08: the token of a header is not kept when a receiver sends it back", async () => {
    const { hooks: echoed } = await withOutbound({
      ok: true,
      status: 200,
      headers: {},
      body: new TextEncoder().encode('{"token":"planted-value-4714"}'),
      truncated: false,
      durationMs: 1,
    });
    const { id } = await echoed.create(body({ headers: { authorization: "Bearer planted-value-4714" } }));
    expect((await echoed.test(id))?.responseBody).toBe('{"token":"[redacted]"}');
  });

  test("W04: that was moved to another webhook is not decrypted", async () => {
    const [a, b] = [await hooks().create(body()), await hooks().create(body())];
    await expect(open(work(), { ...await stored(a.id), id: b.id })).rejects.toMatchObject({ code: "decryption_failed" });
  });

  test("W04: that can no longer be decrypted is retired without it, and replaced by a rotation", async () => {
    const [{ id }, other] = [await hooks().create(body({ headers: { "x-a": "1" } })), await hooks().create(body())];
    await hooks().rotateSecret(id, { overlapSeconds: 60 });
    const { sealedSecret } = await stored(other.id);
    await context.store.increment(`webhook:${id}`, [{ path: ["failureCount"], by: 0 }], { merge: { sealedSecret } });
    context.clock.advance(60_000);
    await handleDue(work(), `webhook:${id}`);
    expect(await hooks().get(id)).not.toHaveProperty("previousSecretExpiresAt");
    expect(await codeOf(hooks().update(id, { headers: { "x-b": "2" } }))).toBe("decryption_failed");
    const rotated = await hooks().rotateSecret(id);
    expect(rotated).toMatchObject({ headerNames: [] });
    expect(rotated).not.toHaveProperty("previousSecretExpiresAt");
    expect(await signing(id)).toEqual({ secrets: [rotated?.secret], headers: {} });
    const [last] = (await context.auditOf(null)).filter(({ action }) => action === "webhook.secret_rotated").slice(-1);
    expect(last).toMatchObject({ data: { overlapSeconds: 0 } });
  });

  test("AK10: is announced 14, 7 and 1 days before it is a year old, once each, and the replaced one is removed", async () => {
    const { id: tenantId } = await context.tenant();
    const { id } = await hooks().create(body({ tenantId }));
    await hooks().rotateSecret(id, { overlapSeconds: 60 });
    const start = context.clock.now();
    const events: unknown[] = [];
    for (const days of [1, 350, 351, 352, 358, 364, 365, 400]) {
      context.clock.advance(start + days * DAY_MS - context.clock.now());
      await handleDue(work(), `webhook:${id}`);
      await handleDue(work(), `webhook:${id}`);
      const found = (await context.dump("outbox")).map(({ value }) =>
        value as { type: string; subject: string; data: Record<string, unknown> }
      );
      const own = found.filter(({ type, subject }) => subject === id && /secret_(expir|retired)/.test(type)).slice(events.length);
      events.push(...own.map(({ type, data }) => `${days}: ${type} ${data["daysLeft"] ?? ""}`.trim()));
    }
    expect(events).toEqual([
      "1: webhook.secret_retired",
      "351: webhook.secret_expiring 14",
      "358: webhook.secret_expiring 7",
      "364: webhook.secret_expiring 1",
      "365: webhook.secret_expired",
    ]);
    expect(await open(work(), await stored(id))).not.toHaveProperty("previous");
    expect((await hooks().rotateSecret(id))?.reminded).toEqual([]);
  });
});

describe("a test of a webhook", () => {
  const response = (status: number, text = ""): OutboundResult => (
    { ok: true, status, headers: {}, body: new TextEncoder().encode(text), truncated: false, durationMs: 12 }
  );

  test.each<[string, OutboundResult, object]>([
    ["a receiver that accepts it", response(204), { outcome: "success", statusCode: 204, durationMs: 12 }],
    ["one that redirects", response(302), { outcome: "rejected", statusCode: 302 }],
    ["one that fails", response(500, "no"), { outcome: "rejected", statusCode: 500, responseBody: "no" }],
    ["one that hangs", { ok: false, code: "timeout", message: "It took too long.", durationMs: 15_000 }, { outcome: "unreachable" }],
  ])("W19: names the outcome of %s", async (_, result, expected) => {
    const { sent, hooks } = await withOutbound(result);
    const { id, secret } = await hooks.create(body({ headers: { "x-environment": "test" } }));
    const tested = await hooks.test(id, { type: "plan.created" });
    expect(tested).toMatchObject({ type: "plan.created", ...expected });
    expect(secret).toBeDefined();
    const [request] = sent;
    const headers = { "x-environment": "test", "webhook-id": tested?.id, "content-type": "application/json" };
    expect(request).toMatchObject({ method: "POST", url: "https://hooks.example.com/in", headers });
    const payload = JSON.parse(new TextDecoder().decode(request?.body)) as Record<string, unknown>;
    expect(payload).toMatchObject({ id: tested?.id, type: "plan.created", timestamp: work().now() });
    expect([tested?.id.startsWith("test_"), sent.length]).toEqual([true, 1]);
    expect((await hooks.deliveries(id))?.data).toEqual([]);
  });

  test("W18, W19: sends a thin event to a thin webhook, the first of its types by default, and refuses an unknown type", async () => {
    const { sent, hooks } = await withOutbound(response(200));
    const { id: tenantId } = await context.tenant();
    const { id } = await hooks.create(body({ tenantId, payload: "thin", events: ["invoice.*"] }));
    const tested = await hooks.test(id);
    expect(tested?.type.startsWith("invoice.")).toBe(true);
    expect(JSON.parse(new TextDecoder().decode(sent[0]?.body))).toMatchObject({ data: {}, tenantId });
    const { id: all } = await hooks.create(body({ tenantId, events: ["*"] }));
    const { jsonSchema } = context.EventService.types([(await hooks.test(all))?.type ?? ""]).data[0] ?? { jsonSchema: {} };
    const first = JSON.parse(new TextDecoder().decode(sent.at(-1)?.body)) as object;
    expect(new Ajv2020({ strict: false, validateFormats: false }).validate(jsonSchema, first)).toBe(true);
    expect(first).toMatchObject({ tenantId });
    await expect(hooks.test(all, { type: "admin.created" })).rejects.toMatchObject({ fields: [{ code: "unknown_event_type" }] });
    await expect(hooks.test(id, { type: "invoice.exploded" })).rejects.toMatchObject({ fields: [{ code: "unknown_event_type" }] });
  });
});
