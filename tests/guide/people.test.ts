import { afterAll, expect, test } from "vitest";
import { openTestContext, userOf } from "../support/test-context.ts";

const app = await openTestContext();
const { ErasureService, NotificationService, PlatformSettingsService, SettingsHistoryService, TenantService, UsageService } = app;
afterAll(() => app.close());

test("H29: reaching a limit notifies the tenant once, and each user reads it for themselves", async () => {
  const { id: tenantId } = await app.tenant({ plan: "Basic" });
  await UsageService.record(tenantId, "rooms", 60, 60);
  const ada = app.as(userOf(tenantId, "ada"));
  const list = await ada.NotificationService.list(tenantId, { limit: 10 });
  expect(list.data.length).toBeGreaterThan(0);
  const unread = await NotificationService.unreadCount(tenantId, "ada");
  const read = await NotificationService.markAsRead(list.data[0]?.id ?? "", "ada", { tenantId });
  const marked = await NotificationService.markAllAsRead(tenantId, "ada");
  expect(read).toMatchObject({ read: true });
  expect(marked).toBe(unread - 1);
  expect([await NotificationService.unreadCount(tenantId, "ada"), await NotificationService.unreadCount(tenantId, "bo")]).toEqual([
    0,
    unread,
  ]);
});

test("H29: a notification reaches one tenant or all, once per period of its key", async () => {
  const { id: tenantId } = await app.tenant();
  const one = await NotificationService.create({
    title: "Invoice due",
    message: "Your invoice is due on 31 March.",
    type: "warning",
    dedupeKey: "invoice-due",
  }, tenantId);
  const again = await NotificationService.create({
    title: "Invoice due",
    message: "Your invoice is due on 31 March.",
    type: "warning",
    dedupeKey: "invoice-due",
  }, tenantId);
  expect(again.id).toBe(one.id);
  const all = await NotificationService.create({ title: "Maintenance", message: "On Sunday from 2 to 4.", priority: "high" });
  const list = await NotificationService.list(tenantId, { limit: 10 }, {}, undefined, { userId: "ada" });
  expect(list.data.map(({ id }) => id).sort()).toEqual([one.id, all.id].sort());
  const found = await NotificationService.get(one.id, { tenantId, userId: "ada" });
  const deleted = await NotificationService.delete(one.id, {}, tenantId);
  expect([found?.title, deleted]).toEqual(["Invoice due", true]);
});

test("H29: settings have defaults, are cached, and any change can be taken back", async () => {
  const settings = await PlatformSettingsService.get();
  expect(settings).toMatchObject({ enableTrials: true, trialDurationDays: 14, selfServicePlans: "none" });
  const changed = await PlatformSettingsService.update({ trialDurationDays: 30, enableSignups: false }, "admin-1");
  const refused = TenantService.create({
    name: "Hotel Cara",
    subdomain: "cara",
    plan: "Trial",
    owner: "c@cara.example",
    ownerName: "Cara",
  });
  await expect(refused).rejects.toMatchObject({ code: "signups_disabled" });
  const history = await SettingsHistoryService.list();
  const change = await SettingsHistoryService.get(history.data[0]?.id ?? "");
  const reverted = await PlatformSettingsService.revert(change?.id ?? "");
  const { shown } = await PlatformSettingsService.public();
  expect([changed.trialDurationDays, reverted.trialDurationDays]).toEqual([30, 14]);
  expect(shown).not.toHaveProperty("selfServicePlans");
});

test("H29: a person who is erased is gone from the audit log, which still verifies", async () => {
  const { id: tenantId } = await app.tenant({ owner: "eva@aurora.example", ownerName: "Eva" });
  const named = await ErasureService.preview({ emails: ["eva@aurora.example"] });
  expect(named.records).toContainEqual(expect.objectContaining({ entity: "tenant", field: "owner", keys: [`tenant:${tenantId}`] }));
  const erased = await ErasureService.erase({ emails: ["eva@aurora.example"] });
  expect(erased.keys).toBeGreaterThan(0);
  expect(JSON.stringify(await app.AuditService.list(tenantId))).not.toContain("eva@");
  expect(await app.AuditService.verify(tenantId)).toMatchObject({ ok: true });
});
