import { afterAll, beforeAll, expect, it } from "vitest";
import { createBackend, createContainer, loadServices } from "../../../shared/container.ts";
import { knownRootKeys } from "../../../shared/core/root-keys.ts";
import { erasePerson } from "../../../shared/features/audit/erasure.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { ROOT_KEY } from "../../support/root-key.ts";
import { codeOf } from "../../support/store.ts";
import { KEYS, openTestContext } from "../../support/test-context.ts";

const servicesOf = await loadServices();
let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const CARL = {
  actor: { type: "user" as const, id: "carl-1", email: "Carl@Aurora.example" },
  ipAddress: "203.0.113.9",
  userAgent: "Carl's phone",
};
const OWNER = { owner: "olga@aurora.example", ownerName: "Olga Owner" };

/** A process of its own, which knows no keys yet. */
const processOver = (store: Store, keys: Partial<typeof KEYS> = KEYS) =>
  createBackend({ store, clock: context.clock, logger: silentLogger, ...keys });
const work = () => processOver(context.store).bind(systemContext(context.clock));
const listed = async (tenantId: string) => (await context.AuditService.list(tenantId, { limit: 100 })).data;

/** A tenant that its owner's data was written for, and that Carl has changed. */
async function tenantByCarl(): Promise<string> {
  const { id } = await context.tenant(OWNER);
  await context.as({ ...CARL, tenantId: id }).TenantService.update(id, { name: "Changed by Carl" });
  return id;
}

it("A11: the log stores the personal data of actors and records encrypted, and shows it to those who may read the log", async () => {
  const id = await tenantByCarl();
  const stored = JSON.stringify(await context.auditOf(id));
  for (const text of ["Carl@Aurora", "203.0.113.9", "Carl's phone", "olga@aurora", "Olga Owner", "ada@innkeep"]) {
    expect(stored, text).not.toContain(text);
  }
  expect(stored).toContain("carl-1");
  const [updated, created] = await listed(id);
  expect(updated).toMatchObject({ actor: CARL.actor, userEmail: CARL.actor.email, ipAddress: "203.0.113.9", userAgent: "Carl's phone" });
  expect(updated).not.toHaveProperty("personal");
  expect(created?.changes?.after).toMatchObject({ ...OWNER, plan: "Pro" });
  expect((await context.as({ ...CARL, tenantId: id }).AuditService.list()).data).toEqual([updated, created]);
  expect(await context.AuditService.verify(id)).toEqual({ ok: true, checked: 2 });
});

it("A11: an erased person's data is gone from every chain, in lists and exports, and the chains still verify", async () => {
  const [id, other] = [await tenantByCarl(), await tenantByCarl()];
  const before = await context.auditOf(id);
  expect((await erasePerson(work(), { userId: "carl-1", emails: ["carl@aurora.example"] }, "carl-1")).keys).toBeGreaterThan(0);
  expect(await context.auditOf(id)).toEqual(before);
  for (const tenantId of [id, other]) {
    const [updated, created] = await listed(tenantId);
    expect(updated).toMatchObject({
      actor: { id: "carl-1", email: "[erased]" },
      userEmail: "[erased]",
      ipAddress: "[erased]",
      userAgent: "[erased]",
      changes: { after: { name: "Changed by Carl" } },
    });
    expect(created?.changes?.after).toMatchObject(OWNER);
    expect(await context.AuditService.verify(tenantId)).toEqual({ ok: true, checked: 2 });
  }
  expect((await context.AuditService.list(id, {}, { userEmail: "carl@aurora.example" })).data).toEqual([]);
  await erasePerson(work(), { emails: [OWNER.owner] }, "the owner");
  expect((await listed(id))[1]?.changes?.after).toMatchObject({ owner: "[erased]", ownerName: "[erased]" });
  const exported: unknown[] = [];
  for await (const entry of context.AuditService.export(id)) exported.push(entry);
  expect(JSON.stringify(exported)).not.toMatch(/carl@|olga|Carl's phone/i);
  const [, erased] = (await context.auditOf(null)).slice(-2);
  expect(erased).toMatchObject({ action: "person.erased", resourceId: "the owner", actor: { type: "system" } });
  expect(await context.AuditService.verify()).toMatchObject({ ok: true });
});

it("A11: whoever erases themself leaves no data in the entry of the erasure, and no key is made for it", async () => {
  const id = await tenantByCarl();
  const { ErasureService } = context.as(CARL);
  context.clock.advance(1_000);
  expect(await ErasureService.erase({ userId: "carl-1" })).toMatchObject({ keys: expect.any(Number) as number });
  const [entry] = (await context.AuditService.list(undefined, { limit: 1 })).data;
  expect(entry).toMatchObject({ action: "person.erased", actor: { type: "user", id: "carl-1" } });
  expect(JSON.stringify(entry)).not.toMatch(/Carl@|203\.0\.113\.9|phone/);
  expect((await listed(id))[0]).toMatchObject({ userEmail: "[erased]" });
  expect(await ErasureService.erase({ userId: "carl-1" })).toMatchObject({ keys: 0 });
});

it("A11: an erasure by user id reaches what lies under the person's addresses, and one by record what names no person", async () => {
  const { id } = await context.tenant({ owner: "dora@aurora.example", ownerName: "Dora" });
  const dora = { actor: { type: "user" as const, id: "dora-1", email: "dora@aurora.example" }, tenantId: id };
  await context.as(dora).TenantService.update(id, { name: "Changed by Dora" });
  await context.ErasureService.erase({ userId: "dora-1" });
  expect((await listed(id)).map(({ changes }) => changes?.after)).toMatchObject([{}, { owner: "[erased]", ownerName: "[erased]" }]);
  expect(JSON.stringify(await listed(id))).not.toContain("ora@");
  const known = await context.ErasureService.erase({ records: [`tenant:${id}`] });
  expect(known).toMatchObject({ keys: 0 });
  expect(await codeOf(context.ErasureService.erase({}))).toBe("validation_failed");
  expect(await codeOf(context.as(dora).ErasureService.erase({ userId: "dora-1" }))).toBe("forbidden");
});

it("A11: a process that has not got a new root key yet goes on writing, although keys lie under the new one", async () => {
  const id = await tenantByCarl();
  const rotated = processOver(context.store, { ...KEYS, rootKeys: knownRootKeys(new Uint8Array(32).fill(5), [ROOT_KEY]) });
  const eve = { actor: { type: "user" as const, id: "eve-1", email: "eve@aurora.example" }, tenantId: null, requestId: "req_eve" };
  const bound = (backend: ReturnType<typeof processOver>) => servicesOf(backend.bind({ ...eve, clock: context.clock })).TenantService;
  await bound(rotated).update(id, { name: "Under the new key" });
  const old = processOver(context.store);
  old.platform.personal.prefetch("eve-1");
  context.clock.advance(60_000);
  expect(await bound(old).update(id, { name: "Under the old key" })).toMatchObject({ name: "Under the old key" });
  context.clock.advance(600_000);
  expect(await bound(old).update(id, { name: "Again" })).toMatchObject({ name: "Again" });
});

it("A11: what an erased person does afterwards is readable, in a process that knew the old key after five minutes", async () => {
  const { id } = await context.tenant();
  const carl = context.as({ ...CARL, tenantId: id });
  await carl.TenantService.update(id, { name: "Before" });
  await erasePerson(work(), { userId: "carl-1" }, "carl-1");
  context.clock.advance(5 * 60_000);
  await carl.TenantService.update(id, { name: "After" });
  expect((await listed(id)).map(({ userEmail }) => userEmail)).toEqual([CARL.actor.email, "[erased]", "ada@innkeep.example"]);
});

it("A11: the filter by email address finds a person's entries by each of their addresses, in any case of letters", async () => {
  const { id } = await context.tenant();
  const as = (email: string) => context.as({ actor: { type: "user", id: "dora-1", email }, tenantId: id });
  await as("dora@old.example").TenantService.update(id, { name: "With the old address" });
  await as("dora@new.example").TenantService.update(id, { name: "With the new address" });
  const found = async (userEmail: string) =>
    (await context.AuditService.list(id, {}, { userEmail })).data.map((entry) => [entry.seq, entry.userEmail]);
  expect(await found("Dora@Old.example")).toEqual([[2, "dora@old.example"]]);
  expect(await found("dora@new.example")).toEqual([[3, "dora@new.example"]]);
  expect(await found("nobody@new.example")).toEqual([]);
  await as("dora@new.example").TenantService.update(id, { name: "Again" });
  const page = (cursor?: string, userEmail = "dora@new.example") =>
    context.AuditService.list(id, { limit: 1, ...(cursor === undefined ? {} : { cursor }) }, { userEmail });
  const { data, pagination: { nextCursor = "" } } = await page();
  // A process that does not know her key makes another one between the pages.
  const other = processOver(context.store).bind({
    actor: { type: "user", id: "dora-2", email: "dora@new.example" },
    tenantId: id,
    requestId: "req_2",
    clock: context.clock,
  });
  await servicesOf(other).TenantService.update(id, { name: "By another process" });
  expect([data[0]?.seq, (await page(nextCursor)).data[0]?.seq]).toEqual([4, 3]);
  expect(await codeOf(page(nextCursor, "dora@old.example"))).toBe("invalid_cursor");
});

it("A11: personal data in an entry that a program logs is encrypted too, and one without a known person belongs to the record", async () => {
  const { id } = await context.tenant();
  const { AuditService } = context.as({ actor: { type: "api_key", id: "key-1" } });
  await AuditService.log("room.opened", "tenant", id, { tenantId: id, data: { ownerName: "Eve", rows: 3 } });
  expect(JSON.stringify(await context.auditOf(id))).not.toContain("Eve");
  expect((await listed(id))[0]?.data).toEqual({ ownerName: "Eve", rows: 3 });
  expect((await context.dump("personalkey")).map(({ value }) => (value as JsonObject)["person"])).toContain(`record:tenant:${id}`);
});

it("A11: encrypting costs a write no read, whoever makes it", async () => {
  const { id } = await context.tenant();
  const names: string[] = [];
  const counting = new Proxy(context.store, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== "function") return value;
      return (...given: unknown[]) => {
        names.push(String(name));
        return value.apply(target, given) as unknown;
      };
    },
  });
  for (const actor of [{ type: "api_key" as const, id: "key-1" }, { type: "admin" as const, id: "new-1", email: "new@innkeep.example" }]) {
    names.length = 0;
    await context.over(counting, { actor }).TenantService.update(id, { owner: `${actor.id}@aurora.example` });
    expect(names).toEqual(["get", "commit"]);
  }
});

it("A11: values that were copied to another entry, or whose root key is missing, are shown as unreadable", async () => {
  const id = await tenantByCarl();
  const [created, updated] = await context.auditOf(id) as [JsonObject, JsonObject];
  const shown = async (entry: JsonObject, keys: Partial<typeof KEYS> = KEYS) =>
    (await processOver(context.store, keys).platform.personal.open([entry]))[0]?.entry["ipAddress"];
  expect(await shown(updated)).toBe("203.0.113.9");
  expect(await shown({ ...updated, id: created["id"] ?? "" })).toBe("[unreadable]");
  expect(await shown(updated, { rootKeys: knownRootKeys(new Uint8Array(32).fill(1)) })).toBe("[unreadable]");
});

it("A11: without a root key, the log stores personal data as it is, and a warning says so", async () => {
  const logged: string[] = [];
  const logger = { ...silentLogger, warn: (event: string) => void logged.push(event) };
  const container = await createContainer({ store: context.store, clock: context.clock, logger, actions: KEYS.actions });
  const { AuditService } = container.services({ ...CARL, tenantId: null, requestId: "req_test", clock: context.clock });
  for (let i = 0; i < 2; i++) await AuditService.log("room.opened", "room", "plain");
  expect((await context.auditOf(null)).at(-1)).toMatchObject({ userEmail: CARL.actor.email, ipAddress: "203.0.113.9" });
  expect(logged).toEqual(["personal_data_not_encrypted"]);
  expect((await context.AuditService.list(undefined, {}, { userEmail: CARL.actor.email, resource: "room" })).data).toHaveLength(2);
});

it("A11: a key encrypts for 30 days, and retention deletes it after every entry under it, but not while entries are kept for longer", async () => {
  const DAY_MS = 86_400_000;
  const { id } = await context.tenant();
  const cora = context.as({ actor: { type: "user", id: "cora-1", email: "cora@aurora.example" }, tenantId: id });
  await cora.TenantService.update(id, { name: "On day 0" });
  const keysOfCora = async () =>
    (await context.dump("personalkey")).map(({ value }) => value as JsonObject).filter(({ person }) => person === "user:cora-1");
  const cleanup = async () => {
    for (let complete = false; !complete;) ({ complete } = await context.JobService.run("cleanup"));
    return (await keysOfCora()).length;
  };
  context.clock.advance(29 * DAY_MS);
  await cora.TenantService.update(id, { name: "On day 29" });
  expect(await keysOfCora()).toHaveLength(1);
  context.clock.advance(2 * DAY_MS);
  await cora.TenantService.update(id, { name: "On day 31" });
  expect(await keysOfCora()).toHaveLength(2);
  context.clock.advance(729 * DAY_MS);
  expect(await cleanup()).toBe(2);
  await context.TenantService.update(id, { metadata: { legalHold: true } });
  context.clock.advance(2 * DAY_MS);
  expect(await cleanup()).toBe(2);
  await context.TenantService.update(id, { metadata: { legalHold: null } });
  expect(await cleanup()).toBe(1);
  expect(JSON.stringify(await listed(id))).not.toContain("[erased]");
  await context.RetentionService.upsert("log", { type: "audit-entry", retentionDays: 800, enabled: true });
  context.clock.advance(40 * DAY_MS);
  expect(await cleanup()).toBe(1);
});
