import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createApi } from "../../../functions/api/app.ts";
import { smtpMailer } from "../../../shared/adapters/smtp.ts";
import { createBackend, loadServices, type Services } from "../../../shared/container.ts";
import { LEASE_MS } from "../../../shared/features/jobs/rules.ts";
import type { Context } from "../../../shared/kernel/context.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { type MailServer, partOf, startMailServer } from "../../support/mail-server.ts";
import { nodeNetwork } from "../../support/node-network.ts";
import { codeOf } from "../../support/store.ts";
import { ADMIN, KEYS, openTestContext } from "../../support/test-context.ts";

const HOUR_MS = 3_600_000;

let context: Awaited<ReturnType<typeof openTestContext>>;
let server: MailServer;
let api: ReturnType<typeof createApi>;
let as: (caller?: Partial<Context>) => Services;

beforeAll(async () => {
  context = await openTestContext();
  server = await startMailServer();
  const { store, clock } = context;
  const url = `smtp://localhost:${server.port}`;
  const mailer = smtpMailer({ url, from: "Innkeep <no-reply@example.com>", apiUrl: "https://api.example.com", network: nodeNetwork() });
  const backend = createBackend({ store, clock, logger: silentLogger, ...KEYS, mailer });
  const verifier = { verify: () => Promise.reject(new Error("no token is sent")) };
  api = createApi({ logger: silentLogger, corsOrigins: [] }, () => Promise.resolve({ backend, verifier }));
  const servicesOf = await loadServices();
  as = (caller = {}) => servicesOf(backend.bind({ actor: ADMIN, tenantId: null, requestId: "req_test", clock, ...caller }));
});
afterAll(async () => {
  await context.close();
  await server.stop();
});
beforeEach(() => {
  server.refuse(() => null);
  server.received.length = 0;
});

const userIn = (tenantId: string, id: string, role = "staff"): Partial<Context> => (
  { actor: { type: "user", id, email: `${id}@hotel.example` }, tenantId, role }
);
/** A user who wants mails. */
async function subscriber(tenantId: string, id: string, role?: string, locale = "en"): Promise<Services> {
  const services = as(userIn(tenantId, id, role));
  await services.EmailAddressService.put({ locale });
  return services;
}
async function run() {
  const report = await as().JobService.run("emails");
  expect(report.errors).toEqual([]);
  return report;
}
/** What a browser gets that opens a link. */
const open = async (link: string) => await api.fetch(new Request(link));
const recipients = () => server.received.map(({ to }) => to.replace("@hotel.example", "")).sort();
const statuses = async (tenantId: string) => (await as().EmailService.list({ tenantId })).data.map(({ status }) => status).sort();
const tell = (tenantId: string | undefined, more: object = {}) =>
  as().NotificationService.create({ title: "Maintenance", message: "From 02:00 to 03:00 UTC.", ...more }, tenantId);

test("N09: a mail in flight while its tenant is deleted leaves no error, and nothing of the tenant", async () => {
  const { store, clock, ComplianceService, DeletionCertificateService } = context;
  const { id: tenantId } = await context.tenant();
  await subscriber(tenantId, "ada");
  await tell(tenantId);
  const { id } = await ComplianceService.createRequest(tenantId, "deletion", "ada", undefined, { gracePeriodDays: 0 });
  const send = async () => (await ComplianceService.process(id), { outcome: "sent" } as const);
  const mailer = { domain: "example.com", apiUrl: "https://api.example.com", open: () => ({ send, close: () => Promise.resolve() }) };
  const backend = createBackend({ store, clock, logger: silentLogger, ...KEYS, mailer });
  const { JobService } = (await loadServices())(backend.bind({ actor: ADMIN, tenantId: null, requestId: "req_test", clock }));
  expect(await JobService.run("emails")).toMatchObject({ errors: [], remaining: 0 });
  const certificateId = (await ComplianceService.get(id))?.certificateId ?? "";
  expect(await DeletionCertificateService.verify(certificateId)).toMatchObject({ valid: true, remaining: 0 });
  expect(await context.dump("dead")).toEqual([]);
});

describe("a notification by e-mail", () => {
  test("N09: goes to the users of its tenant that it is addressed to and that have given an address, once", async () => {
    const [{ id: tenantId }, { id: other }] = [await context.tenant(), await context.tenant()];
    await subscriber(tenantId, "ada", "owner");
    await subscriber(tenantId, "ben");
    await subscriber(other, "eve", "owner");
    await tell(tenantId);
    await tell(tenantId, { title: "For the owner", targetRoles: ["owner"] });
    await tell(tenantId, { title: "For Ben", targetUsers: ["ben"] });
    await tell(tenantId, { title: "Later", publishAt: context.clock.iso(HOUR_MS) });
    await run();
    await run();
    expect(recipients()).toEqual(["ada", "ada", "ben", "ben"]);
    expect(server.received.map(({ message }) => /^Subject: (.*)$/m.exec(message)?.[1]?.trim()).sort())
      .toEqual(["For Ben", "For the owner", "Maintenance", "Maintenance"]);
    expect(await statuses(tenantId)).toEqual(["sent", "sent", "sent", "sent"]);
    context.clock.advance(HOUR_MS);
    await run();
    expect(recipients()).toHaveLength(6);
  });

  test("N09: of the platform goes to the users of all tenants with its plan, or to enabled administrators alone", async () => {
    const [{ id: pro }, { id: trial }] = [await context.tenant(), await context.tenant({ plan: "Trial" })];
    await subscriber(pro, "pia");
    await subscriber(trial, "tim");
    const { AdminUserService } = as();
    await AdminUserService.create({ userId: ADMIN.id, email: ADMIN.email ?? "", name: "Ada", role: "super_admin" });
    await as().EmailAddressService.put({});
    await tell(undefined, { title: "Trials end", targetPlans: ["Trial"] });
    await tell(undefined, { title: "Ours", audience: "admins" });
    await run();
    expect(server.received.map(({ to }) => to).sort()).toEqual(["ada@innkeep.example", "tim@hotel.example"]);
    await as().EmailAddressService.delete();
  });

  test("N08: is not sent in a category that the user has muted on this channel, except if it is critical or of security", async () => {
    const { id: tenantId } = await context.tenant();
    const ada = (await subscriber(tenantId, "ada")).NotificationService;
    const stored = await ada.putPreferences({ categories: { billing: { email: false }, usage: { inApp: false } } });
    expect(stored.categories).toMatchObject({ billing: { inApp: true, email: false }, usage: { inApp: false, email: true } });
    expect(stored.channels).toEqual(["inApp", "email"]);
    expect((await context.as(userIn(tenantId, "ada")).NotificationService.preferences()).channels).toEqual(["inApp"]);
    expect(await codeOf(ada.putPreferences({ categories: { security: { email: false } } }))).toBe("validation_failed");
    await tell(tenantId, { title: "Muted by mail", category: "billing" });
    await tell(tenantId, { title: "Critical", category: "billing", priority: "critical" });
    await tell(tenantId, { title: "Muted in the product", category: "usage" });
    await tell(tenantId, { title: "Login from a new place", category: "security" });
    await run();
    expect(server.received.map(({ message }) => /^Subject: (.*)$/m.exec(message)?.[1]?.trim()).sort())
      .toEqual(["Critical", "Login from a new place", "Muted in the product"]);
    expect((await ada.list()).data.map(({ title }) => title).sort()).toEqual(["Critical", "Login from a new place", "Muted by mail"]);
  });

  test("N09: is tried again for three days while the mail server is away, with the same Message-ID", async () => {
    const { id: tenantId } = await context.tenant();
    await subscriber(tenantId, "ada");
    server.refuse(() => "451 4.3.0 try again later");
    await tell(tenantId);
    const begun = context.clock.now();
    let attempts = 0;
    for (; context.clock.now() - begun < 48 * HOUR_MS; attempts++) {
      await run();
      const { data: [mail] } = await as().EmailService.list({ tenantId });
      expect(mail).toMatchObject({ status: "pending", attempts: attempts + 1, reason: "RCPT TO: 451 4.3.0" });
      context.clock.set(mail?.dueAt ?? "");
    }
    expect(attempts).toBeLessThan(10);
    server.refuse(() => null);
    await run();
    const { data: [sent] } = await as().EmailService.list({ tenantId });
    expect(sent).toMatchObject({ status: "sent", attempts: attempts + 1 });
    expect(server.received[0]?.message).toContain(`Message-ID: <${sent?.id}@example.com>`);
  });

  test("N09: is sent once, also if a second worker begins while the first one is slower than its lease", async () => {
    const { id: tenantId } = await context.tenant();
    const users = ["ada", "ben", "eve", "ivo", "max"];
    for (const user of users) await subscriber(tenantId, user);
    await tell(tenantId);
    let second: ReturnType<typeof run> | undefined;
    server.refuse(() => {
      if (!second) context.clock.advance(LEASE_MS);
      second ??= run();
      return null;
    });
    await run();
    await second;
    expect(recipients()).toEqual(users);
    expect(await statuses(tenantId)).toEqual(users.map(() => "sent"));
  });

  test("N09: fails after the last attempt, and can be sent again by an administrator", async () => {
    const { id: tenantId } = await context.tenant();
    await subscriber(tenantId, "ada");
    server.refuse(() => "554 5.7.1 refused");
    await tell(tenantId, { expiresAt: context.clock.iso(30 * 24 * HOUR_MS) });
    let mail = (await run(), (await as().EmailService.list({ tenantId })).data[0]);
    while (mail?.status === "pending") {
      context.clock.set(mail.dueAt ?? "");
      await run();
      mail = (await as().EmailService.list({ tenantId })).data[0];
    }
    expect(mail).toMatchObject({ status: "failed", attempts: 10 });
    server.refuse(() => null);
    const retried = await as().EmailService.retry(mail?.id ?? "");
    expect(retried).toMatchObject({ status: "pending", attempts: 0 });
    await run();
    expect(recipients()).toEqual(["ada"]);
    expect(await codeOf(as().EmailService.retry(mail?.id ?? ""))).toBe("invalid_transition");
  });

  test("N09: that bounces disables the address, until its user confirms it, and says so in the audit log and in an event", async () => {
    const { id: tenantId } = await context.tenant();
    const ada = await subscriber(tenantId, "ada");
    server.refuse(() => "550 5.1.1 ada@hotel.example is unknown");
    await tell(tenantId);
    await tell(tenantId, { title: "Another one" });
    await run();
    expect((await statuses(tenantId))[0]).toBe("bounced");
    expect(await ada.EmailAddressService.get()).toMatchObject({ status: "bounced", bouncedAt: context.clock.iso() });
    server.refuse(() => null);
    await tell(tenantId, { title: "After the bounce" });
    await run();
    expect(server.received).toEqual([]);
    const entry = (await context.auditOf(tenantId)).find(({ action }) => action === "email-address.bounced");
    expect(entry).toMatchObject({ resourceId: "ada", data: { reason: "RCPT TO: 550 5.1.1" } });
    expect(JSON.stringify(await context.auditOf(tenantId))).not.toContain("ada@hotel.example");
    const events = (await context.dump("outbox")).filter(({ value }) => (value as { type: string }).type === "email-address.bounced");
    expect(events.map(({ tenantId: of }) => of)).toEqual([tenantId]);
    await ada.EmailAddressService.put({});
    await tell(tenantId, { title: "Confirmed" });
    await run();
    expect(recipients()).toEqual(["ada"]);
  });

  test("N09: is for nobody without an address, for no user who has left, and for none of a deleted tenant", async () => {
    const { id: tenantId } = await context.tenant();
    await subscriber(tenantId, "ada");
    expect(await codeOf(as({ ...userIn(tenantId, "key"), actor: { type: "api_key", id: "key" } }).EmailAddressService.put({})))
      .toBe("forbidden");
    await tell(tenantId);
    expect(await as(userIn(tenantId, "boss", "owner")).EmailAddressService.delete(tenantId, {}, "ada")).toBe(true);
    await run();
    const { id: gone } = await context.tenant();
    await subscriber(gone, "zoe");
    await tell(gone);
    await as().TenantService.delete(gone);
    await run();
    expect(server.received).toEqual([]);
    expect((await context.dump("mailing")).filter(({ key }) => key.includes(gone) || key.includes(tenantId))).toEqual([]);
  });

  test("N08, N10: is withdrawn if the user has read it in the product or muted it before it is sent", async () => {
    const { id: tenantId } = await context.tenant();
    const [ada, eve] = [await subscriber(tenantId, "ada"), await subscriber(tenantId, "eve")];
    await subscriber(tenantId, "ben");
    server.refuse(() => "451 4.3.0 try again later");
    const { id } = await tell(tenantId);
    await run();
    await ada.NotificationService.markAsRead(id);
    await eve.NotificationService.putPreferences({ categories: { general: { email: false } } });
    server.refuse(() => null);
    context.clock.advance(HOUR_MS);
    await run();
    expect(recipients()).toEqual(["ben"]);
    expect(await statuses(tenantId)).toEqual(["sent", "withdrawn", "withdrawn"]);
  });

  test("N10: leads through a signed link that marks it as read by its user, and nowhere else", async () => {
    const { id: tenantId } = await context.tenant();
    const [ada, ben] = [await subscriber(tenantId, "ada"), as(userIn(tenantId, "ben"))];
    const actionUrl = "https://app.example.com/rooms?a=1&b=2";
    const { id, expiresAt } = await tell(tenantId, { actionUrl, actionLabel: "See rooms" });
    await run();
    const link = /See rooms: (\S+)/.exec(partOf(server.received[0]?.message ?? "", "text/plain"))?.[1] ?? "";
    expect(link).toMatch(/^https:\/\/api\.example\.com\/v1\/notifications\/email\/email_/);
    const opened = await open(link);
    expect([opened.status, opened.headers.get("location"), opened.headers.get("cache-control")]).toEqual([302, actionUrl, "no-store"]);
    const readAt = context.clock.iso();
    context.clock.advance(HOUR_MS);
    expect((await open(link)).status).toBe(302);
    expect(await ada.NotificationService.get(id)).toMatchObject({ read: true, readAt });
    expect(await ben.NotificationService.get(id)).toMatchObject({ read: false });
    expect([await ada.NotificationService.unreadCount(), await ben.NotificationService.unreadCount()]).toEqual([0, 1]);
    const other = (await as().EmailService.list({})).data.find(({ tenantId: of }) => of !== tenantId)?.id ?? "";
    const mine = link.split("/").at(-2) ?? "";
    for (const wrong of [link.replace(mine, other), link.replace(mine, "email_none"), link.replace(/signature=./, "signature=")]) {
      expect((await open(wrong)).status, wrong).toBe(404);
    }
    expect((await open(`${link}&to=https://evil.example`)).status).toBe(400);
    context.clock.advance(Date.parse(expiresAt) - context.clock.now() - 1);
    expect((await open(link)).status).toBe(302);
    context.clock.advance(1);
    expect((await open(link)).status).toBe(404);
    context.clock.advance(-HOUR_MS);
    await as().NotificationService.delete(id, {}, tenantId);
    expect((await open(link)).status).toBe(404);
  });

  test("N13: of the program is in the language of each user, else in English, and in the product in English", async () => {
    const { id: tenantId } = await context.tenant({ plan: "Trial" });
    const ada = await subscriber(tenantId, "ada", "owner", "de-AT");
    await subscriber(tenantId, "ben", "admin", "fr");
    await subscriber(tenantId, "eve", "staff", "de");
    await as().ComplianceService.createRequest(tenantId, "export", "ada", undefined, { dataTypes: ["subscription"] });
    await as().JobService.run("compliance");
    await run();
    const subjects = server.received.map(({ to, message }) => `${to} ${/^Subject: (.*)$/m.exec(message)?.[1]?.trim()}`).sort();
    expect(subjects).toEqual(["ada@hotel.example Ein Export ist bereit", "ben@hotel.example An export is ready"]);
    const [german] = server.received.filter(({ to }) => to.startsWith("ada"));
    expect(partOf(german?.message ?? "", "text/plain")).toMatch(
      /^Der Export \S+ ist vollständig\. Er kann bis \S+ heruntergeladen werden\./,
    );
    expect(german?.message).toContain("Content-Language: de-AT");
    const { data: [shown] } = await ada.NotificationService.list();
    expect(shown).toMatchObject({
      title: "An export is ready",
      template: "export_ready",
      category: "compliance",
      targetRoles: ["admin", "owner"],
    });
  });

  test("N13: has its text escaped in HTML, and as it is in plain text", async () => {
    const { id: tenantId } = await context.tenant();
    await subscriber(tenantId, "ada");
    const actionUrl = "https://app.example.com/?a=1&b=2";
    await tell(tenantId, { message: "Rooms < 7 & <script>alert(1)</script>", actionUrl, actionLabel: 'See\r"rooms"' });
    await run();
    const message = server.received[0]?.message ?? "";
    expect(partOf(message, "text/plain")).toContain("Rooms < 7 & <script>alert(1)</script>");
    const html = partOf(message, "text/html");
    expect(html).toContain("Rooms &lt; 7 &amp; &lt;script&gt;alert(1)&lt;/script&gt;");
    expect(html).toContain("See &quot;rooms&quot;</a>");
    expect(message).not.toMatch(/\r(?!\n)/);
  });
});
