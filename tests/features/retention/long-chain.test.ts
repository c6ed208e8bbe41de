import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Store } from "../../../shared/kv/store.ts";
import { withClient } from "../../support/client.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const ENTRIES = 15_000;
const OLD = 14_000;
const DAY_MS = 24 * 3_600_000;
const sha256 = (text: string) => createHash("sha256").update(text, "utf8").digest("hex");

/** Writes a chain of valid entries directly: one commit each would take minutes. */
async function writeChain(id: string): Promise<void> {
  await withClient(context.database.superUrl, async (client) => {
    await client.query("set session_replication_role = replica");
    await client.query("delete from kv.entries where owner = $1 and key like 'audit:%'", [id]);
    let hash = "0".repeat(64);
    for (let at = 0; at < ENTRIES; at += 5_000) {
      const values = Array.from({ length: 5_000 }, (_, i) => {
        const seq = at + i + 1;
        const timestamp = context.clock.iso((seq <= OLD ? -800 : -1) * DAY_MS + seq);
        const [actor, tenantId] = [{ type: "user", id: "u1" }, id];
        const key = `audit:${id}:${timestamp}:${String(seq).padStart(12, "0")}`;
        const entry = { id: key, action: "room.opened", resource: "room", resourceId: "r1", tenantId, actor, userId: "u1", timestamp };
        const prevHash = hash;
        hash = sha256(`${prevHash}:${seq}:${sha256(canonicalize(entry) ?? "")}`);
        return JSON.stringify({ ...entry, seq, prevHash, hash });
      });
      await client.query(
        `insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
         select v::jsonb->>'id', v::jsonb, 1, $2, false, now(), now() from unnest($1::text[]) v`,
        [values, id],
      );
    }
    await client.query("update kv.chains set seq = $2, hash = $3 where scope = $1", [id, ENTRIES, hash]);
    await client.query("analyze kv.entries_audit");
  });
}

/** Counts what each call of the store returns or deletes. */
function counted(store: Store) {
  const most = { read: 0, purged: 0 };
  const counting = new Proxy(store, {
    get(target, name) {
      const member = Reflect.get(target, name) as unknown;
      if (typeof member !== "function") return member;
      if (name === "entries") return (member as () => unknown).bind(target);
      return async (...args: readonly unknown[]) => {
        const result = await (member as (...args: readonly unknown[]) => Promise<unknown>).apply(target, [...args]);
        const { entries, deleted } = (result ?? {}) as { readonly entries?: readonly unknown[]; readonly deleted?: Record<string, number> };
        most.read = Math.max(most.read, entries?.length ?? 0);
        most.purged = Math.max(most.purged, deleted?.["audit-entry"] ?? 0);
        return result;
      };
    },
  });
  return { counting, most };
}

test(`A17: ${OLD} old entries of a chain of ${ENTRIES} go in steps of at most 500, and the rest verifies`, async () => {
  const { id } = await context.tenant();
  await writeChain(id);
  const { counting, most } = counted(context.store);
  const { JobService } = context.over(counting);
  let processed = 0;
  let calls = 0;
  for (let complete = false; !complete; calls++) {
    const report = await JobService.run("cleanup");
    expect(report.errors).toEqual([]);
    processed += report.processed;
    complete = report.complete;
  }
  expect(processed).toBe(OLD);
  // One call does a bounded part: no call holds more than a page in memory.
  expect(calls).toBeGreaterThan(2);
  expect(most).toEqual({ read: 500, purged: 500 });
  expect(await context.store.count({ entity: (await import("../../../shared/core/audit-entry.ts")).auditEntry, scope: id })).toBe(
    ENTRIES - OLD,
  );
  expect(await context.AuditService.verify(id)).toEqual({ ok: true, checked: ENTRIES - OLD, deletedTo: OLD });
}, 240_000);
