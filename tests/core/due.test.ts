import { afterAll, beforeAll, expect, test } from "vitest";
import { dueBacklog, type DuePage, duePage } from "../../shared/core/due.ts";
import { createBackend } from "../../shared/container.ts";
import type { UnitOfWork } from "../../shared/core/unit-of-work.ts";
import { entitlements } from "../../shared/features/entitlements/entity.ts";
import { isoTime } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import { freshStore, type OpenStore } from "../support/store.ts";

let opened: OpenStore;
let work: UnitOfWork;
beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
  const { store, clock } = opened;
  work = createBackend({ store, clock, logger: silentLogger }).bind(systemContext(clock, "req_due", "jobs"));
});
afterAll(() => opened.close());

const dueAt = (seconds: number) => isoTime(opened.clock.now() + seconds * 1_000);

async function put(tenantId: string, nextExpiryAt: string): Promise<void> {
  const record = { ...entitlements.schema.parse(entitlements.example), tenantId, nextExpiryAt };
  await opened.store.set(`entitlements:${tenantId}`, record as JsonObject, { tenantId });
}

test("O08: a run sees what was due when it began, the earliest first, page by page, while its clock goes on", async () => {
  expect(await dueBacklog(work, entitlements, "nextExpiryAt")).toEqual({ count: 0, oldestAt: null });
  const oldest = dueAt(-70);
  for (let i = 0; i < 7; i++) await put(`tn_${i}`, dueAt(-10 * (i + 1)));
  await put("tn_now", dueAt(0));
  await put("tn_soon", dueAt(1));
  expect(await dueBacklog(work, entitlements, "nextExpiryAt")).toEqual({ count: 8, oldestAt: oldest });
  const seen: string[] = [];
  let cursor: JsonObject | null = null;
  for (let pages = 0; pages === 0 || cursor !== null; pages++) {
    const page: DuePage = await duePage({ work, cursor, limit: 3 }, entitlements, "nextExpiryAt");
    seen.push(...page.entries.map(({ tenantId }) => String(tenantId)));
    // As JSON, as the schedule stores it.
    cursor = page.cursor && JSON.parse(JSON.stringify(page.cursor)) as JsonObject;
    opened.clock.advance(5_000);
  }
  expect(seen).toEqual(["tn_6", "tn_5", "tn_4", "tn_3", "tn_2", "tn_1", "tn_0", "tn_now"]);
});
