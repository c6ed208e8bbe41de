import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import canonicalize from "canonicalize";
import { codeOf } from "../../support/store.ts";
import { withClient } from "../../support/client.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const sha256 = (text: string) => createHash("sha256").update(text, "utf8").digest("hex");

/** As the database's own superuser, with triggers off: what no guard can stop, verification must find. */
async function tamper(sql: string, values: unknown[]): Promise<void> {
  const changed = await withClient(context.database.superUrl, async (client) => {
    await client.query("set session_replication_role = replica");
    return (await client.query(sql, values)).rowCount;
  });
  expect(changed).toBeGreaterThan(0);
}

/** A tenant with entries 1 to `length` in its chain. */
async function chainOf(length: number): Promise<{ id: string; keys: string[] }> {
  const { id } = await context.tenant();
  for (let i = 1; i < length; i++) {
    await context.AuditService.log("room.opened", "room", `room-${i}`, {
      tenantId: id,
      data: { i, text: "é\u2028𝄞", ratio: 0.1, small: 1e-7 },
    });
  }
  return { id, keys: (await context.auditOf(id)).map((entry) => String(entry["id"])) };
}

describe("the hash chain", () => {
  it("A08: is what data-model.md says, recomputed here with another implementation", async () => {
    const { id } = await chainOf(4);
    let prevHash = "0".repeat(64);
    for (const [i, entry] of (await context.auditOf(id)).entries()) {
      const { seq, prevHash: stored, hash, ...content } = entry;
      expect(content).not.toHaveProperty("contentHash");
      expect([seq, stored]).toEqual([i + 1, prevHash]);
      prevHash = sha256(`${prevHash}:${i + 1}:${sha256(canonicalize(content) ?? "")}`);
      expect(hash).toBe(prevHash);
    }
    expect(await context.AuditService.verify(id)).toEqual({ ok: true, checked: 4 });
  });

  it("A08: writers at once in 8 processes leave a gapless chain in each scope", async () => {
    const stores = await context.racers(8);
    const tenants = await Promise.all(Array.from({ length: 3 }, () => context.tenant()));
    const before = (await context.auditOf(null)).length;
    await Promise.all(stores.map(async (store) => {
      const { AuditService } = context.over(store);
      for (let i = 0; i < 10; i++) {
        for (const { id } of tenants) await AuditService.log("room.opened", "room", `r${i}`, { tenantId: id });
        await AuditService.log("platform.ticked", "platform", "clock");
      }
    }));
    for (const { id } of tenants) {
      expect(await context.AuditService.verify(id)).toEqual({ ok: true, checked: 81 });
      expect((await context.auditOf(id)).map(({ seq }) => seq)).toEqual(Array.from({ length: 81 }, (_, i) => i + 1));
    }
    expect(await context.AuditService.verify()).toEqual({ ok: true, checked: before + 80 });
  });

  it("A08: an edited entry is found", async () => {
    const { id, keys } = await chainOf(6);
    await tamper(`update kv.entries set value = jsonb_set(value, '{resourceId}', '"forged"') where key = $1`, [keys[2]]);
    expect(await context.AuditService.verify(id)).toMatchObject({ ok: false, checked: 2, firstBroken: { id: keys[2], seq: 3 } });
  });

  it("A08: an edited entry with a hash made to fit is found at the next one", async () => {
    const { id, keys } = await chainOf(6);
    const entry = (await context.auditOf(id))[2];
    const { seq, prevHash, hash: _, ...content } = { ...entry, userId: "somebody-else" } as Record<string, unknown>;
    const hash = sha256(`${String(prevHash)}:${String(seq)}:${sha256(canonicalize(content) ?? "")}`);
    await tamper("update kv.entries set value = $2 where key = $1", [keys[2], JSON.stringify({ ...content, seq, prevHash, hash })]);
    expect(await context.AuditService.verify(id)).toMatchObject({ ok: false, checked: 3, firstBroken: { id: keys[3], seq: 4 } });
  });

  it("A08: a deleted entry is found where it is missing", async () => {
    const { id, keys } = await chainOf(6);
    await tamper("delete from kv.entries where key = $1", [keys[3]]);
    expect(await context.AuditService.verify(id)).toMatchObject({ ok: false, checked: 3, firstBroken: { id: keys[4] } });
  });

  it("A08: entries cut off at the end are found, though what is left holds together", async () => {
    const { id, keys } = await chainOf(6);
    await tamper("delete from kv.entries where key = any($1)", [keys.slice(4)]);
    expect(await context.AuditService.verify(id)).toMatchObject({ ok: false, checked: 4, firstBroken: { id: keys[3], seq: 5 } });
    const gone = await chainOf(2);
    await tamper("delete from kv.entries where key = any($1)", [gone.keys]);
    expect(await context.AuditService.verify(gone.id)).toMatchObject({ ok: false, checked: 0 });
  });

  it("A08: an inserted entry is found", async () => {
    const { id, keys } = await chainOf(6);
    const key = `audit:${id}:2026-03-01T12:00:00.000Z:forgedforged`;
    await tamper(
      `insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
       select $2, value || jsonb_build_object('id', $2::text), version, owner, cascades, created_at, updated_at from kv.entries where key = $1`,
      [keys[2], key],
    );
    const report = await context.AuditService.verify(id);
    expect(report).toMatchObject({ ok: false });
    expect([key, keys[2]]).toContain(report.firstBroken?.id);
  });

  it("A08: two entries that changed places are found", async () => {
    const { id, keys } = await chainOf(6);
    await tamper(
      `update kv.entries e set value = e.value || jsonb_build_object('seq', o.value->'seq') from kv.entries o
       where (e.key = $1 and o.key = $2) or (e.key = $2 and o.key = $1)`,
      [keys[2], keys[3]],
    );
    expect(await context.AuditService.verify(id)).toMatchObject({ ok: false, checked: 2, firstBroken: { id: keys[3] } });
  });

  it("A08: a damaged seq or hash is a finding, never a fault", async () => {
    for (
      const damage of [`value - 'seq'`, `jsonb_set(value, '{seq}', '"3"')`, `jsonb_set(value, '{hash}', 'null')`, `value - 'prevHash'`]
    ) {
      const { id, keys } = await chainOf(5);
      await tamper(`update kv.entries set value = ${damage} where key = $1`, [keys[2]]);
      expect(await context.AuditService.verify(id), damage).toMatchObject({ ok: false, checked: 2 });
    }
  });

  it("A08: one tenant's broken chain says nothing of another's; a tenant's caller verifies its own", async () => {
    const [a, b] = [await chainOf(3), await chainOf(3)];
    await tamper(`update kv.entries set value = jsonb_set(value, '{action}', '"x.y"') where key = $1`, [a.keys[0]]);
    expect((await context.AuditService.verify(a.id)).ok).toBe(false);
    expect(await context.AuditService.verify(b.id)).toEqual({ ok: true, checked: 3 });
    expect(await context.as(userOf(b.id)).AuditService.verify()).toEqual({ ok: true, checked: 3 });
    expect(await codeOf(context.as(userOf(b.id)).AuditService.verify(a.id))).toBe("not_found");
  });

  it("A08: a chain of more than a page verifies", async () => {
    const { id } = await chainOf(520);
    expect(await context.AuditService.verify(id)).toEqual({ ok: true, checked: 520 });
  });

  it("A07: no service and no plain write changes or removes an entry", async () => {
    const { keys: [key = ""] } = await chainOf(2);
    const value = (await context.store.get(key))?.value ?? null;
    const { kv, store } = context;
    for (
      const call of [() => kv.set(key, value), () => kv.del(key), () => kv.mdel([key]), () => store.set(key, value), () => store.del(key)]
    ) {
      expect((await codeOf(call)).startsWith("no error")).toBe(false);
    }
    expect((await context.store.get(key))?.value).toEqual(value);
  });
});
