import { afterAll, beforeAll, expect, test } from "vitest";
import type { Store } from "../../../shared/kv/store.ts";
import { openTestContext } from "../../support/test-context.ts";
import { writeChain } from "./chain-of.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const ENTRIES = 7_000;
const OLD = 6_000;

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
  await writeChain(context, id, ENTRIES, OLD);
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
  expect(calls).toBeGreaterThan(1);
  expect(most).toEqual({ read: 500, purged: 500 });
  expect(await context.store.count({ entity: (await import("../../../shared/core/audit-entry.ts")).auditEntry, scope: id })).toBe(
    ENTRIES - OLD,
  );
  expect(await context.AuditService.verify(id)).toEqual({ ok: true, checked: ENTRIES - OLD, deletedTo: OLD });
}, 240_000);
