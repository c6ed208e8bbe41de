import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ExportedEntry } from "../../../shared/features/audit/exported.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { codeOf } from "../../support/store.ts";
import { ADMIN, openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

async function all(entries: AsyncIterable<ExportedEntry>): Promise<ExportedEntry[]> {
  const found: ExportedEntry[] = [];
  for await (const entry of entries) found.push(entry);
  return found;
}

const sha256 = (text: string) => createHash("sha256").update(text, "utf8").digest("hex");

/** Verifies a chain from its exported lines alone, without the program. */
function holds(entries: readonly ExportedEntry[]): boolean {
  let prev = "0".repeat(64);
  return entries.every(({ seq, prevHash, hash, opened: _, ...content }, i) => {
    const expected = sha256(`${prev}:${i + 1}:${sha256(canonicalize(content) ?? "")}`);
    const ok = seq === i + 1 && prevHash === prev && hash === expected;
    prev = hash;
    return ok;
  });
}

/** A page is read when the receiver takes it, so a slow receiver costs no memory, and one that is gone no reads. */
async function expectPages(id: string): Promise<void> {
  let pages = 0;
  const counting = new Proxy(context.store, {
    get(target, name) {
      if (name === "query") pages++;
      const value = Reflect.get(target, name) as unknown;
      return typeof value === "function" ? value.bind(target) as unknown : value;
    },
  });
  const { content } = await context.over(counting).AuditService.download(id, {}, "application/x-ndjson");
  pages = 0;
  const reader = content.getReader();
  const first = new TextDecoder().decode((await reader.read()).value);
  expect([first.trimEnd().split("\n").length, pages]).toEqual([500, 1]);
  await reader.cancel();
  expect(pages).toBe(1);
}

describe("the export of the audit log", () => {
  it("A10, H17: of a tenant is its whole chain over several pages, in order, and verifies from the exported lines alone", async () => {
    const { id } = await context.tenant();
    const neighbour = await context.tenant({ id: `${id}0` });
    for (let i = 0; i < 26; i++) {
      await Promise.all(
        Array.from({ length: 20 }, (_, n) => context.AuditService.log("room.opened", "room", `room-${i * 20 + n}`, { tenantId: id })),
      );
    }
    const entries = await all(context.AuditService.export(id));
    expect(entries.map(({ opened: _, ...stored }) => stored)).toEqual(await context.auditOf(id));
    expect(entries[0]?.opened).toMatchObject({ "/actor/email": ADMIN.email, "/changes/after/ownerName": "Ada Auer" });
    expect(entries).toHaveLength(521);
    expect(holds(JSON.parse(JSON.stringify(entries)) as ExportedEntry[])).toBe(true);
    expect(await all(context.AuditService.export(`tenant:${id}`))).toEqual(entries);
    expect(await all(context.as(userOf(id)).AuditService.export())).toEqual(entries);
    expect(await codeOf(all(context.as(userOf(id)).AuditService.export(neighbour.id)))).toBe("not_found");
    await expectPages(id);
  });

  it("A10: takes the filters of the list", async () => {
    const { id } = await context.tenant();
    await context.TenantService.suspend(id, "unpaid");
    context.clock.advance(1_000);
    const from = context.clock.iso();
    await context.TenantService.unsuspend(id);
    const actions = async (filters: Parameters<typeof context.AuditService.export>[1]) =>
      (await all(context.AuditService.export(id, filters))).map(({ action }) => action);
    expect(await actions({ action: "tenant.*", to: from })).toEqual(["tenant.created", "tenant.suspended"]);
    expect(await actions({ from })).toEqual(["tenant.unsuspended"]);
    expect(await actions({ userId: "nobody" })).toEqual([]);
  });

  it("A10: without a tenant contains every chain in the order of time, for a platform caller", async () => {
    const { id } = await context.tenant();
    context.clock.advance(1_000);
    await context.AuditService.log("platform.ticked", "platform", "clock");
    context.clock.advance(1_000);
    await context.TenantService.update(id, { name: "Later" });
    const entries = await all(context.AuditService.export());
    expect(entries.slice(-2).map(({ action }) => action)).toEqual(["platform.ticked", "tenant.updated"]);
    const times = entries.map(({ timestamp }) => timestamp);
    expect(times).toEqual([...times].sort());
    expect(new Set(entries.map((entry) => entry.id))).toEqual(new Set((await context.dump("audit")).map(({ key }) => key)));
  });

  it("A10: keeps one page in memory: the next one is read after the last entry of this one", async () => {
    const { id } = await context.tenant();
    for (let i = 0; i < 25; i++) {
      await Promise.all(Array.from({ length: 20 }, () => context.AuditService.log("room.opened", "room", "r", { tenantId: id })));
    }
    let pages = 0;
    const store = new Proxy(context.store, {
      get: (real, name: keyof Store) => {
        if (name === "query") pages++;
        return typeof real[name] === "function" ? real[name].bind(real) : real[name];
      },
    });
    const entries = context.over(store).AuditService.export(id);
    expect(pages).toBe(0);
    for (let seq = 1; seq <= 500; seq++) expect((await entries.next()).value).toMatchObject({ seq });
    expect(pages).toBe(1);
    expect((await entries.next()).value).toMatchObject({ seq: 501 });
    expect(pages).toBe(2);
    expect(await entries.next()).toEqual({ done: true, value: undefined });
  });
});
