import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Container } from "../../../shared/container.ts";
import { erasePerson } from "../../../shared/features/audit/erasure.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { withClient } from "../../support/client.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";

const DAY = 86_400_000;
let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

describe("a legal hold on a tenant", () => {
  test("C09: blocks its deletion, retention and expiry until the last hold is released, and no neighbour's", async () => {
    const { LegalHoldService, TenantService, JobService, store, clock } = context;
    const [{ id }, { id: neighbour }] = [await context.tenant(), await context.tenant()];
    const holds = [
      await LegalHoldService.create({ tenantId: id, reason: "Case 1" }),
      await LegalHoldService.create({ tenantId: `tenant:${id}`, reason: "Case 2" }),
    ];
    expect(holds[1]).toMatchObject({ tenantId: id, status: "active", placedBy: "admin-1" });
    for (const tenantId of [id, neighbour]) {
      const delivery = `notice:${tenantId}:1`;
      await store.set(delivery, { tenantId }, { tenantId, expiresAt: clock.iso(DAY) });
      await context.UsageService.record(tenantId, "rooms", 1, null, "2024-01");
    }
    const rows = async (tenantId: string) =>
      await withClient(context.database.superUrl, async (client) => {
        const found = await client.query("select from kv.entries where key = any($1)", [[
          `notice:${tenantId}:1`,
          `usage:${tenantId}:rooms:2024-01`,
        ]]);
        return found.rowCount;
      });
    clock.advance(800 * DAY);
    await JobService.run("cleanup");
    expect([await rows(id), await rows(neighbour)]).toEqual([2, 0]);
    expect(await codeOf(TenantService.delete(id))).toBe("legal_hold");
    await LegalHoldService.release(holds[0]?.id ?? "");
    expect(await codeOf(TenantService.delete(id))).toBe("legal_hold");
    const released = await LegalHoldService.release(holds[1]?.id ?? "");
    expect(released).toMatchObject({ status: "released", releasedBy: "admin-1" });
    expect(await LegalHoldService.release(holds[1]?.id ?? "")).toEqual(released);
    clock.advance(3_600_000);
    await JobService.run("cleanup");
    expect(await rows(id)).toBe(0);
    expect(await TenantService.delete(id)).toBe(true);
  });

  test("C09: names either a tenant that exists, or a person", async () => {
    const create = (data: { tenantId?: string; userId?: string }) => codeOf(context.LegalHoldService.create({ ...data, reason: "Case" }));
    const { id } = await context.tenant();
    expect([await create({}), await create({ tenantId: id, userId: "u" }), await create({ tenantId: "tn_none" })])
      .toEqual(["validation_failed", "validation_failed", "validation_failed"]);
  });

  test("C09: placed while a deletion is decided makes its commit decide again", async () => {
    const { id } = await context.tenant();
    const racing = new Proxy(context.store, {
      get: (store, name) => {
        const member: unknown = store[name as keyof typeof store];
        if (name !== "commit") return typeof member === "function" ? member.bind(store) : member;
        return async (...call: Parameters<typeof store.commit>) => {
          if (call[1].some(({ op }) => op === "deleteOwner")) await context.LegalHoldService.create({ tenantId: id, reason: "Case" });
          return await store.commit(...call);
        };
      },
    });
    expect(await codeOf(context.over(racing).TenantService.delete(id))).toBe("legal_hold");
    expect(await context.TenantService.get(id)).toMatchObject({ legalHolds: 1 });
  });
});

test("C09: a legal hold on a person blocks the erasure of its data until the release", async () => {
  const work = () => (context.container as Container).bind(systemContext(context.clock));
  const hold = await context.LegalHoldService.create({ userId: "eve-1", reason: "Case 3" });
  expect(await codeOf(erasePerson(work(), { userId: "eve-1" }, "eve-1"))).toBe("legal_hold");
  expect(await codeOf(erasePerson(work(), { userId: "carl-1" }, "carl-1"))).toMatch(/^no error/);
  const email = "eve@aurora.example";
  await context.as({ actor: { type: "admin", id: "eve-1", email } }).TenantService.update((await context.tenant()).id, { name: "By Eve" });
  expect(await codeOf(erasePerson(work(), { emails: [email] }, "an address"))).toBe("legal_hold");
  await context.LegalHoldService.release(hold.id);
  expect(await codeOf(erasePerson(work(), { userId: "eve-1" }, "eve-1"))).toMatch(/^no error/);
  expect(await context.dump("heldperson")).toEqual([]);
});

test("C09: a legal hold on an address blocks the erasure of what is known by it alone, and of its user, until the release", async () => {
  const work = () => (context.container as Container).bind(systemContext(context.clock));
  const { id } = await context.tenant({ owner: "flora@aurora.example" });
  const hold = await context.LegalHoldService.create({ email: "flora@aurora.example", reason: "Case 5" });
  expect(hold).toMatchObject({ tenants: [id] });
  expect(await codeOf(erasePerson(work(), { emails: ["FLORA@aurora.example"] }, "an address"))).toBe("legal_hold");
  await context.as({ actor: { type: "admin", id: "flora-1", email: "flora@aurora.example" } }).TenantService.update(id, {
    name: "Flora's",
  });
  expect(await codeOf(erasePerson(work(), { userId: "flora-1" }, "flora-1"))).toBe("legal_hold");
  expect(await codeOf(erasePerson(work(), { emails: ["carl@aurora.example"] }, "an address"))).toMatch(/^no error/);
  await context.LegalHoldService.release(hold.id);
  expect(await codeOf(erasePerson(work(), { emails: ["flora@aurora.example"] }, "an address"))).toMatch(/^no error/);
  expect(await context.dump("heldperson")).toEqual([]);
});

test("C09: a legal hold on a person extends to the tenants whose records name it, until the release", async () => {
  const { LegalHoldService, TenantService, JobService, store, clock } = context;
  const owned = await context.tenant({ ownerUserId: "olga-1" });
  const other = await context.tenant();
  const hold = await LegalHoldService.create({ userId: "olga-1", reason: "Case 4" });
  expect(hold).toMatchObject({ tenants: [owned.id] });
  expect(await codeOf(TenantService.delete(owned.id))).toBe("legal_hold");
  expect(await TenantService.get(owned.id)).toMatchObject({ legalHolds: 1 });
  await store.set(`notice:${owned.id}:1`, { tenantId: owned.id }, { tenantId: owned.id, expiresAt: clock.iso(DAY) });
  clock.advance(2 * DAY);
  await JobService.run("cleanup");
  const rows = await withClient(
    context.database.superUrl,
    (client) => client.query(`select from kv.entries where key = 'notice:${owned.id}:1'`),
  );
  expect(rows.rowCount).toBe(1);
  expect(await TenantService.delete(other.id)).toBe(true);
  await LegalHoldService.release(hold.id);
  expect(await TenantService.delete(owned.id)).toBe(true);
});
