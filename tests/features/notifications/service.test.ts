import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { scopes } from "../../../shared/features/index.ts";
import type { NotificationCreate } from "../../../shared/features/notifications/service.ts";
import type { Context } from "../../../shared/kernel/context.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => {
  context = await openTestContext();
});
afterAll(() => context.close());

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const at = (ms: number) => new Date(context.clock.now() + ms).toISOString();
const notice = (title: string, more: Partial<NotificationCreate> = {}): NotificationCreate => ({ title, message: "Read this.", ...more });
const userIn = (tenantId: string, id = "user-1", role = "staff"): Partial<Context> => ({ ...userOf(tenantId, id), role });
const inboxOf = (caller: Partial<Context>) => context.as(caller).NotificationService;
const titles = async (caller: Partial<Context>, ...rest: readonly unknown[]) =>
  (await (inboxOf(caller).list as (...args: readonly unknown[]) => ReturnType<typeof context.NotificationService.list>)(...rest))
    .data.map(({ title }) => title);
const tell = (tenantId: string | undefined, title: string, more: Partial<NotificationCreate> = {}) =>
  context.NotificationService.create(notice(title, more), tenantId);

describe("a notification", () => {
  test("N01: has title, message, type, priority, action link and end, and one audit entry and event", async () => {
    const { id: tenantId } = await context.tenant();
    const all = {
      type: "warning",
      priority: "high",
      category: "billing",
      actionLabel: "Pay",
      actionUrl: "https://app.example.com/pay",
      expiresAt: at(DAY_MS),
    } as const;
    const made = await tell(tenantId, "Invoice due", all);
    expect(made).toMatchObject({ ...all, tenantId, title: "Invoice due", read: false, readBy: [], publishAt: context.clock.iso() });
    expect(await context.NotificationService.get(made.id, { tenantId })).toEqual(made);
    expect(await context.NotificationService.get(`notification:${tenantId}:${made.id}`)).toEqual(made);
    expect((await context.auditOf(tenantId)).map(({ action }) => action)).toEqual(["tenant.created", "notification.created"]);
    expect(await codeOf(context.NotificationService.create(notice("Lost"), "tn_none"))).toBe("not_found");
    expect(await codeOf(tell(tenantId, "Over", { expiresAt: at(-1) }))).toBe("validation_failed");
  });

  test("N02: is listed in its tenant, the newest first, by page and by cursor, with the unread count in the same call", async () => {
    const { id: tenantId } = await context.tenant();
    for (let i = 1; i <= 5; i++) {
      context.clock.advance(1);
      await tell(tenantId, `Notice ${i}`);
    }
    const user = inboxOf(userIn(tenantId));
    const first = await user.list(tenantId, { limit: 2 });
    expect(first.data.map(({ title }) => title)).toEqual(["Notice 5", "Notice 4"]);
    expect(first).toMatchObject({ unread: 5, pagination: { total: 5, totalPages: 3, hasNext: true } });
    await user.markAsRead(first.data[0]?.id ?? "");
    context.clock.advance(MINUTE_MS);
    const cursor = first.pagination.nextCursor ?? "";
    expect((await user.list(tenantId, { limit: 2, cursor })).data.map(({ title }) => title)).toEqual(["Notice 3", "Notice 2"]);
    const unread = await user.list(tenantId, {}, {}, undefined, { unread: true });
    expect([unread.data.map(({ title }) => title), unread.unread]).toEqual([["Notice 4", "Notice 3", "Notice 2", "Notice 1"], 4]);
    expect(await titles(userIn(tenantId), tenantId, {}, { type: "error" })).toEqual([]);
  });

  test("N03: is read by each user for itself, once and for all, and not by mistake before it is seen", async () => {
    const { id: tenantId } = await context.tenant();
    const { id } = await tell(tenantId, "One");
    const [ada, ben] = [inboxOf(userIn(tenantId, "ada")), inboxOf(userIn(tenantId, "ben"))];
    const readAt = context.clock.iso();
    const first = await ada.markAsRead(id);
    expect(first).toMatchObject({ read: true, readAt, readBy: ["ada"] });
    context.clock.advance(DAY_MS);
    expect(await ada.markAsRead(id)).toEqual(first);
    expect(await ben.get(id)).toMatchObject({ read: false, readBy: [] });
    await tell(tenantId, "Two");
    expect(await ada.markAllAsRead()).toBe(1);
    expect(await ada.get(id)).toMatchObject({ readAt });
    expect([await ada.unreadCount(), await ben.unreadCount()]).toEqual([0, 2]);
    // Published by a process whose commit comes after Ada's mark.
    context.clock.advance(-1);
    await tell(tenantId, "Three");
    context.clock.advance(1);
    expect([await ada.unreadCount(), await ada.markAllAsRead(), await ada.markAllAsRead()]).toEqual([1, 1, 0]);
    expect((await context.auditOf(tenantId)).filter(({ action }) => action === "notification.read")).toEqual([]);
  });

  test("N03: that two calls mark at the same time is read with the others", async () => {
    const { id: tenantId } = await context.tenant();
    const made = await Promise.all(Array.from({ length: 8 }, (_, i) => tell(tenantId, `Notice ${i}`)));
    await Promise.all(made.map(({ id }) => inboxOf(userIn(tenantId)).markAsRead(id)));
    expect(await inboxOf(userIn(tenantId)).unreadCount()).toBe(0);
  });
});

describe("a platform-wide notification", () => {
  test("N04: appears in every tenant without a copy, and each user has an own mark", async () => {
    const tenants = [await context.tenant(), await context.tenant()];
    const before = (await context.dump("notification")).length;
    const { id } = await tell(undefined, "For all");
    expect(await context.dump("notification")).toHaveLength(before + 1);
    const [one, two] = tenants.map((tenant) => inboxOf(userIn(tenant.id)));
    expect(await one?.markAsRead(id)).toMatchObject({ read: true });
    expect((await one?.get(id))?.tenantId).toBeUndefined();
    expect([await one?.get(id), await two?.get(id)]).toMatchObject([{ read: true }, { read: false }]);
    await context.NotificationService.delete(id);
    expect([await two?.get(id), await two?.unreadCount()]).toEqual([null, await two?.unreadCount()]);
  });

  test("N04: reaches only the plans, regions, roles and users that it names", async () => {
    const eu = await context.tenant({ plan: "Pro", region: "eu-west-1" });
    const us = await context.tenant({ plan: "Basic", region: "us-east-1" });
    const targets: readonly [string, Partial<NotificationCreate>][] = [
      ["Pro", { targetPlans: ["Pro"] }],
      ["US", { targetRegions: ["us-east-1"] }],
      ["Owners", { targetRoles: ["owner"] }],
      ["Ada", { targetUsers: ["ada"] }],
      ["Ada in Pro", { targetUsers: ["ada"], targetPlans: ["Pro"] }],
      ["Admins", { audience: "admins" }],
    ];
    const made = new Map<string, string>();
    for (const [title, more] of targets) made.set(title, (await tell(undefined, title, more)).id);
    const readers: readonly (readonly [tenantId: string, user: string, role: string])[] = [
      [eu.id, "u", "viewer"],
      [us.id, "u", "viewer"],
      [eu.id, "u", "owner"],
      [us.id, "ada", "viewer"],
      [eu.id, "ada", "viewer"],
    ];
    for (const reader of readers) {
      const seen = (await titles(userIn(...reader))).filter((title) => made.has(title));
      const meant = targets.filter(([, more]) => (
        more.audience !== "admins" && (!more.targetPlans || reader[0] === eu.id) && (!more.targetRegions || reader[0] === us.id) &&
        (!more.targetRoles || reader[2] === "owner") && (!more.targetUsers || reader[1] === "ada")
      )).map(([title]) => title);
      expect(seen.sort(), reader.join(" ")).toEqual(meant.sort());
      for (const [title, id] of made) expect((await inboxOf(userIn(...reader)).get(id)) !== null, title).toBe(meant.includes(title));
    }
    expect(await titles({})).toContain("Admins");
    for (const id of made.values()) await context.NotificationService.delete(id);
  });

  test("N04: is made and withdrawn by the platform alone", async () => {
    const { id: tenantId } = await context.tenant();
    const owner = inboxOf({ ...userIn(tenantId, "owner", "owner"), scopes: scopes.ofTenant("owner") });
    expect((await owner.create(notice("Own"))).tenantId).toBe(tenantId);
    expect(await codeOf(owner.create(notice("All", { targetPlans: ["Pro"] })))).toBe("forbidden");
    const { id } = await tell(undefined, "Platform's");
    expect(await codeOf(owner.delete(id))).toBe("forbidden");
    await context.NotificationService.delete(id);
  });
});

describe("two tenants", () => {
  test("N05: of one user show that user only their own notifications and marks", async () => {
    const [one, two] = [await context.tenant(), await context.tenant()];
    const own = await tell(one.id, "Of the first");
    const all = await tell(undefined, "Of both");
    await inboxOf(userIn(one.id)).markAllAsRead();
    expect(await inboxOf(userIn(two.id)).get(own.id)).toBeNull();
    expect(await inboxOf(userIn(two.id)).markAsRead(own.id)).toBeNull();
    expect(await inboxOf(userIn(two.id)).get(`notification:${one.id}:${own.id}`)).toBeNull();
    expect(await titles(userIn(two.id))).not.toContain("Of the first");
    expect(await inboxOf(userIn(two.id)).get(all.id)).toMatchObject({ read: false });
    expect(await codeOf(inboxOf(userIn(two.id)).list(one.id))).toBe("not_found");
    expect(await codeOf(inboxOf(userIn(two.id)).create(notice("Foreign"), one.id))).toBe("not_found");
    await context.NotificationService.delete(all.id);
  });
});

describe("preferences", () => {
  test("N08: leave out a muted category of one user in one tenant, but nothing critical and no security", async () => {
    const { id: tenantId } = await context.tenant();
    for (
      const [title, more] of [
        ["News", { category: "product" }],
        ["Recall", { category: "product", priority: "critical" }],
        ["Leak", { category: "security" }],
      ] as const
    ) await tell(tenantId, title, more);
    const ada = inboxOf(userIn(tenantId, "ada"));
    expect(await ada.unreadCount()).toBe(3);
    const put = await ada.putPreferences({ categories: { product: { inApp: false } } });
    expect(put.categories).toMatchObject({ product: { inApp: false }, usage: { inApp: true } });
    expect([await ada.unreadCount(), (await titles(userIn(tenantId, "ada"))).sort()]).toEqual([2, ["Leak", "Recall"]]);
    expect(await titles(userIn(tenantId, "ben"))).toContain("News");
    expect((await context.auditOf(tenantId)).at(-1)).toMatchObject({ action: "notification-preferences.created" });
    expect(await codeOf(ada.putPreferences({ categories: { security: { inApp: false } } }))).toBe("validation_failed");
    const other = await context.tenant();
    expect((await inboxOf(userIn(other.id, "ada")).preferences()).categories.product).toEqual({ inApp: true, email: true });
    await ada.putPreferences({ categories: {} });
    expect(await ada.unreadCount()).toBe(3);
  });
});

describe("a window", () => {
  test("N06: shows a maintenance banner from its first instant until its last, in lists and counts", async () => {
    const { id: tenantId } = await context.tenant();
    const user = inboxOf({ ...userIn(tenantId), scopes: scopes.ofTenant("viewer") });
    const { id } = await tell(tenantId, "Maintenance", { category: "maintenance", publishAt: at(DAY_MS), expiresAt: at(2 * DAY_MS) });
    const shown = async () => [await user.unreadCount(), (await user.list()).data.length, (await user.get(id)) !== null];
    const scheduled = await user.list(undefined, {}, {}, undefined, { scheduled: true });
    expect(scheduled.data.map((one) => one.id)).toEqual([id]);
    expect(await shown()).toEqual([0, 0, false]);
    context.clock.advance(DAY_MS - 1);
    expect(await shown()).toEqual([0, 0, false]);
    context.clock.advance(1);
    expect(await shown()).toEqual([1, 1, true]);
    context.clock.advance(DAY_MS - 1);
    expect(await shown()).toEqual([1, 1, true]);
    context.clock.advance(1);
    expect(await shown()).toEqual([0, 0, false]);
  });
});

describe("a dedupe key", () => {
  test("N07: makes 10,000 notifications of one condition one, and the next period's another", async () => {
    const { id: tenantId } = await context.tenant();
    const condition = { dedupeKey: "disk-full", dedupeSeconds: 3_600 };
    const ids = new Set<string>();
    for (let i = 0; i < 100; i++) {
      const made = await Promise.all(Array.from({ length: 100 }, () => tell(tenantId, "Disk full", condition)));
      for (const { id } of made) ids.add(id);
    }
    expect(ids.size).toBe(1);
    expect((await context.auditOf(tenantId)).filter(({ action }) => action === "notification.created")).toHaveLength(1);
    context.clock.advance(1_000);
    await tell(tenantId, "Other condition", { dedupeKey: "disk-slow", dedupeSeconds: 3_600 });
    context.clock.advance(3_600_000);
    await tell(tenantId, "Disk full", condition);
    expect(await titles(userIn(tenantId))).toEqual(["Disk full", "Other condition", "Disk full"]);
  });

  test("N07: of a tenant's staff holds back nothing that the platform tells the tenant, and one of the platform nothing in another tenant", async () => {
    const [{ id: tenantId }, other] = [await context.tenant(), await context.tenant()];
    const once = { dedupeKey: "leaked-key" };
    const planted = await inboxOf({ ...userIn(tenantId, "staff", "staff"), scopes: scopes.ofTenant("staff") }).create(
      notice("Planted", once),
    );
    const told = [await tell(tenantId, "Leaked", once), await tell(other.id, "Leaked", once), await tell(undefined, "Leaked", once)];
    expect(new Set([planted, ...told].map(({ id }) => id)).size).toBe(4);
    await inboxOf(userIn(tenantId)).markAsRead(told[0]?.id ?? "");
    expect(await inboxOf(userIn(tenantId)).unreadCount()).toBe(2);
    await context.NotificationService.delete(told[2]?.id ?? "");
  });
});

describe("the program", () => {
  test("U16: notifies the tenant of a crossed limit without the caller doing it", async () => {
    const { id: tenantId } = await context.tenant({ plan: "Trial" });
    await context.UsageService.increment(tenantId, "bookings", 80);
    await context.UsageService.increment(tenantId, "bookings", 25);
    const { data, unread } = await context.NotificationService.list(tenantId);
    expect(unread).toBe(2);
    expect(data.map(({ title, type, priority }) => [title, type, priority]).sort()).toEqual([
      ["Bookings: 80 % of the limit used", "warning", "medium"],
      ["Bookings: limit reached", "error", "high"],
    ]);
  });
});
