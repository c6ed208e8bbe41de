import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import canonicalize from "canonicalize";
import type { ChainPart } from "../../../shared/features/audit/service.ts";
import { codeOf } from "../../support/store.ts";
import { withClient } from "../../support/client.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const sha256 = (text: string) => createHash("sha256").update(text, "utf8").digest("hex");

/** Runs SQL as a superuser without triggers. No guard can prevent such changes, so verification must find them. */
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

/** The reports on a chain in parts of at most `limit` entries, to its end or its first invalid entry. */
async function partsOf(id: string, limit: number): Promise<ChainPart[]> {
  const parts: ChainPart[] = [];
  let cursor: string | undefined;
  do {
    const part = await context.AuditService.verifyPart(id, { limit, cursor });
    parts.push(part);
    cursor = part.nextCursor;
  } while (cursor !== undefined);
  return parts;
}

describe("the hash chain", () => {
  it("A08: has the hashes that a second implementation computes", async () => {
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

  it("A08: concurrent writers in 8 processes leave a gapless chain in each scope", async () => {
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

  it("A08: an edited entry with a recomputed hash is found at the next one", async () => {
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

  it("A08: entries removed at the end are found, although the rest of the chain is valid", async () => {
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

  it("A08: a damaged seq or hash is reported as broken, never as an internal error", async () => {
    for (
      const damage of [`value - 'seq'`, `jsonb_set(value, '{seq}', '"3"')`, `jsonb_set(value, '{hash}', 'null')`, `value - 'prevHash'`]
    ) {
      const { id, keys } = await chainOf(5);
      await tamper(`update kv.entries set value = ${damage} where key = $1`, [keys[2]]);
      expect(await context.AuditService.verify(id), damage).toMatchObject({ ok: false, checked: 2 });
    }
  });

  it("A08: one tenant's broken chain does not affect another's, and a tenant's caller verifies its own", async () => {
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

  it("A08: is verified in bounded parts that add up to the whole, wherever they are cut", async () => {
    const { id } = await chainOf(12);
    for (const limit of [1, 5, 11, 12, 13]) {
      const parts = await partsOf(id, limit);
      expect(parts.map(({ checked }) => checked), `by ${limit}`).toEqual(
        Array.from({ length: Math.ceil(12 / limit) }, (_, i) => Math.min(limit, 12 - i * limit)),
      );
      expect(parts.every(({ ok }) => ok)).toBe(true);
    }
    for (const limit of [0, 5_001, 1.5]) expect(await codeOf(context.AuditService.verifyPart(id, { limit }))).toBe("invalid_parameter");
  });

  it("A08: a part continues where the previous one ended, including entries written meanwhile", async () => {
    const { id } = await chainOf(5);
    const { nextCursor: cursor } = await context.AuditService.verifyPart(id, { limit: 3 });
    await context.AuditService.log("room.opened", "room", "late", { tenantId: id });
    expect(await context.AuditService.verifyPart(id, { cursor })).toEqual({ ok: true, checked: 3 });
  });

  it("A08: a break between two parts, after the cursor or at the end is found by the part that reaches it", async () => {
    for (const [gone, broken] of [[2, { checked: 0, seq: 4 }], [4, { checked: 1, seq: 6 }], [5, { checked: 2, seq: 6 }]] as const) {
      const { id, keys } = await chainOf(6);
      const { nextCursor: cursor } = await context.AuditService.verifyPart(id, { limit: 3 - (gone === 2 ? 1 : 0) });
      await tamper("delete from kv.entries where key = $1", [keys[gone]]);
      const { checked, firstBroken, ok, nextCursor } = await context.AuditService.verifyPart(id, { cursor });
      expect({ ok, checked, seq: firstBroken?.seq, nextCursor }, `entry ${gone + 1}`).toEqual({ ok: false, ...broken });
    }
    const { id, keys } = await chainOf(4);
    const { nextCursor: cursor } = await context.AuditService.verifyPart(id, { limit: 2 });
    await tamper("delete from kv.entries where key = any($1)", [keys.slice(2)]);
    expect(await context.AuditService.verifyPart(id, { cursor })).toMatchObject({ ok: false, checked: 0, firstBroken: { seq: 3 } });
  });

  it("A08: an entry without its seq is found after a cursor too", async () => {
    const { id, keys } = await chainOf(4);
    const { nextCursor: cursor } = await context.AuditService.verifyPart(id, { limit: 2 });
    await tamper(
      `insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
       select $2, value - 'seq', version, owner, cascades, created_at, updated_at from kv.entries where key = $1`,
      [keys[0], `audit:${id}:2026-03-01T12:00:00.000Z:forgedforged`],
    );
    expect(await context.AuditService.verifyPart(id, { cursor })).toMatchObject({ ok: false, checked: 2 });
  });

  it("A08: a forged cursor cannot hide an entry: it is refused, or the next entry does not match it", async () => {
    const [one, two] = [await chainOf(6), await chainOf(6)];
    const { nextCursor = "" } = await context.AuditService.verifyPart(one.id, { limit: 3 });
    const { nextCursor: last = "" } = await context.AuditService.verifyPart(one.id, { limit: 5 });
    const read = (cursor: string) => JSON.parse(Buffer.from(cursor, "base64url").toString()) as (string | null)[];
    const made = (parts: readonly unknown[]) => Buffer.from(JSON.stringify(parts)).toString("base64url");
    const [print, seq, hash, after] = read(nextCursor);
    const [, , lastHash, afterLast] = read(last);
    const other = "f".repeat(64);
    for (
      const parts of [
        [print, seq, other, after],
        [print, "4", hash, after],
        [print, "5", other, afterLast],
        [print, "4", lastHash, afterLast],
        [print, "6", other, afterLast],
        [print, "6", lastHash, afterLast],
        [print, "7", other, afterLast],
        [print, "999999999999999", other, afterLast],
      ]
    ) expect(await context.AuditService.verifyPart(one.id, { cursor: made(parts) }), JSON.stringify(parts)).toMatchObject({ ok: false });
    for (
      const cursor of [
        "garbage",
        made([print, "0", hash, after]),
        made([print, "1e3", hash, after]),
        made([print, seq, "x", after]),
        made([print, seq, hash, null]),
        made([print, seq, hash, "x"]),
        made([print, seq, hash]),
      ]
    ) expect(await codeOf(context.AuditService.verifyPart(one.id, { cursor })), cursor).toBe("invalid_cursor");
    expect(await codeOf(context.AuditService.verifyPart(two.id, { cursor: nextCursor }))).toBe("invalid_cursor");
    expect(await codeOf(context.AuditService.verifyPart(undefined, { cursor: nextCursor }))).toBe("invalid_cursor");
  });

  it("A08: exists for a deleted tenant, and not for one that never existed", async () => {
    const { id } = await chainOf(3);
    await context.TenantService.delete(id);
    expect(await context.AuditService.verify(id)).toEqual({ ok: true, checked: 4 });
    expect(await context.AuditService.verify(`tenant:${id}`)).toEqual({ ok: true, checked: 4 });
    for (const none of ["tn_none", id.slice(0, -1), "global"]) {
      expect(await codeOf(context.AuditService.verify(none)), none).toBe("not_found");
      expect(await codeOf(context.AuditService.verifyPart(none, { limit: 1 }))).toBe("not_found");
    }
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
