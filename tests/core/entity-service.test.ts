import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { EntityService, TenantEntityService } from "../../shared/core/entity-service.ts";
import { byServer, changedInstant, createdInstant, createOnly, generated, platformOnly } from "../../shared/core/fields.ts";
import { instant, segment } from "../../shared/core/values.ts";
import type { Context } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import { createBackend } from "../../shared/container.ts";
import { defineEntity } from "../../shared/kv/define.ts";
import type { UnitOfWork } from "../../shared/core/unit-of-work.ts";
import { ADMIN, openTestContext, type TestContext, userOf } from "../support/test-context.ts";

const times = { createdAt: createdInstant(instant), updatedAt: changedInstant(instant.optional()) };

/** A tenant's connection to a provider. The caller chooses its id, which is its full key. */
const link = defineEntity({
  name: "link",
  summary: "Declared for this test.",
  key: "link:{tenantId}:{provider}",
  schema: z.looseObject({
    id: byServer(z.string()),
    tenantId: byServer(segment),
    provider: byServer(segment),
    url: z.string(),
    note: z.string().optional(),
    limit: platformOnly(z.int().default(1)),
    ...times,
  }),
  owner: "tenant",
  naturalKey: true,
  sortable: ["createdAt"],
  example: {
    id: "link:tn_1:mews",
    tenantId: "tn_1",
    provider: "mews",
    url: "https://mews.example",
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

/** Its path contains no tenant: the platform sends the tenant in the body, a tenant's own user may omit it. */
const hook = defineEntity({
  name: "hook",
  summary: "Declared for this test.",
  key: "hook:{id}",
  schema: z.looseObject({ id: generated("webhook", segment), tenantId: createOnly(segment.optional()), url: z.string(), ...times }),
  owner: "tenant",
  sortable: ["createdAt"],
  example: { id: "webhook_1", url: "https://hotel.example", createdAt: "2026-01-01T00:00:00.000Z" },
});

class LinkService extends TenantEntityService<typeof link> {
  constructor(work: UnitOfWork) {
    super(work, link);
  }
}

class HookService extends EntityService<typeof hook> {
  constructor(work: UnitOfWork) {
    super(work, hook);
  }
}

let context: TestContext;
let own: string;
let other: string;

function workOf(caller: Partial<Context> = {}): UnitOfWork {
  const { store, clock } = context;
  return createBackend({ store, clock, logger: silentLogger }).bind({ actor: ADMIN, tenantId: null, requestId: "req_1", clock, ...caller });
}

const links = (caller?: Partial<Context>) => new LinkService(workOf(caller));

beforeAll(async () => {
  context = await openTestContext();
  [own, other] = [(await context.tenant()).id, (await context.tenant()).id];
});
afterAll(() => context.close());

describe("a record of a tenant", () => {
  test("A05: is created by a put, with its full key as id, its times, one audit entry and one event", async () => {
    const { record, created } = await links().put(own, "mews", { url: "https://mews.example" });
    expect(created).toBe(true);
    expect(record).toMatchObject({ id: `link:${own}:mews`, tenantId: own, provider: "mews", limit: 1, createdAt: context.clock.iso() });
    const [entry] = (await context.auditOf(own)).slice(-1);
    expect(entry).toMatchObject({ action: "link.created", resource: "link", resourceId: record.id, tenantId: own });
    const events = (await context.dump("outbox")).filter(({ value }) => (value as { type?: string }).type === "link.created");
    expect(events.map(({ tenantId }) => tenantId)).toEqual([own]);
  });

  test("a put replaces what the caller may set and keeps the rest, fields of a newer version included", async () => {
    await links().put(own, "opera", { url: "a", note: "first", limit: 5 });
    const key = `link:${own}:opera`;
    const before = await context.store.get(key);
    await context.store.set(key, { ...before?.value as object, fromTheFuture: [1] }, { tenantId: own });
    context.clock.advance(1_000);
    const { record, created } = await links(userOf(own)).put(own, "opera", { url: "b" });
    expect(created).toBe(false);
    expect(record).toMatchObject({
      url: "b",
      limit: 5,
      fromTheFuture: [1],
      createdAt: context.clock.iso(-1_000),
      updatedAt: context.clock.iso(),
    });
    expect(record).not.toHaveProperty("note");
    expect((await links().put(own, "opera", { url: "b" })).record.limit).toBe(1);
  });

  test("R11: a put by a tenant's own user changes no field that only the platform may set", async () => {
    await expect(links(userOf(own)).put(own, "cloudbeds", { url: "c", limit: 9 })).rejects.toMatchObject({ code: "forbidden" });
  });

  test("T02: is found by short id and by full key, of its tenant and never of another", async () => {
    await links().put(own, "apaleo", { url: "own" });
    await links().put(other, "apaleo", { url: "other" });
    expect((await links().get(own, "apaleo"))?.url).toBe("own");
    expect((await links().get(`tenant:${own}`, `link:${own}:apaleo`))?.url).toBe("own");
    expect(await links().get(own, `link:${other}:apaleo`)).toBeNull();
    expect(await links(userOf(own)).get(other, "apaleo")).toBeNull();
    expect(await links().update(own, `link:${other}:apaleo`, { url: "taken" })).toBeNull();
    expect(await links().delete(own, `link:${other}:apaleo`)).toBe(false);
    expect((await links().list(other)).data.map(({ url }) => url)).toEqual(["other"]);
  });

  test("K23: a put creates the record of its id, and never one of another tenant or of no tenant", async () => {
    const before = (await context.store.getByPrefix("link")).length;
    for (const id of [`link:${other}:protel`, `link:tn_none:protel`, "a:b", "a b", "", context.clock.iso()]) {
      await expect(links().put(own, id, { url: "x" }), id).rejects.toMatchObject({ code: "invalid_key" });
    }
    expect((await context.store.getByPrefix("link")).length).toBe(before);
    expect((await links().put(own, `link:${own}:protel`, { url: "x" })).record).toMatchObject({ tenantId: own, provider: "protel" });
  });

  test("K23: needs a tenant that exists", async () => {
    const missing = { code: "not_found", message: expect.stringContaining("tn_none") };
    await expect(links().put("tn_none", "mews", { url: "a" })).rejects.toMatchObject(missing);
    await expect(links().create("tn_none", { url: "a" })).rejects.toMatchObject(missing);
    await expect(links().list("tn_none")).rejects.toMatchObject(missing);
  });
});

describe("a record that names its tenant in its body", () => {
  test("T14: belongs to the tenant of the user who creates it, and to no other", async () => {
    const hooks = new HookService(workOf(userOf(own)));
    expect((await hooks.create({ url: "a" })).tenantId).toBe(own);
    expect((await hooks.create({ url: "b", tenantId: own })).tenantId).toBe(own);
    await expect(hooks.create({ url: "c", tenantId: other })).rejects.toMatchObject({ code: "not_found" });
    expect((await hooks.list()).data.map(({ tenantId }) => tenantId)).toEqual([own, own]);
  });

  test("may belong to the platform if the platform creates it", async () => {
    const hooks = new HookService(workOf());
    expect((await hooks.create({ url: "p" })).tenantId).toBeUndefined();
    expect((await hooks.create({ url: "t", tenantId: other })).tenantId).toBe(other);
  });
});
