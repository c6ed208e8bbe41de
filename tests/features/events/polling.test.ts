import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBackend, type Services } from "../../../shared/container.ts";
import { Collection } from "../../../shared/core/collection.ts";
import { outboxEvent } from "../../../shared/core/outbox-event.ts";
import type { UnitOfWork } from "../../../shared/core/unit-of-work.ts";
import { cursorOf } from "../../../shared/features/events/cursor.ts";
import { scopes as catalogue } from "../../../shared/features/index.ts";
import { eventHead } from "../../../shared/features/events/entity.ts";
import { HEAD_ID } from "../../../shared/features/events/sequence.ts";
import { WINDOW } from "../../../shared/features/events/service.ts";
import type { EventPage, EventView } from "../../../shared/features/events/view.ts";
import { isInnkeepError } from "../../../shared/kernel/errors.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { keyOf } from "../../../shared/kv/define.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { read } from "../../architecture/sources.ts";
import { withClient } from "../../support/client.ts";
import { numberAll } from "../../support/events.ts";
import { seededRandom } from "../../support/random.ts";
import { codeOf } from "../../support/store.ts";
import { ADMIN, KEYS, openTestContext, type TestContext, userOf } from "../../support/test-context.ts";

const DAY = 86_400_000;
let context: TestContext & Services;
const workOver = (store: Store): UnitOfWork =>
  createBackend({ store, clock: context.clock, logger: silentLogger, ...KEYS })
    .bind({ actor: ADMIN, tenantId: null, requestId: "req_test", clock: context.clock });
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const number = () => numberAll(workOver(context.store));
/** The events after a cursor to the end, with the last cursor. */
async function drained({ EventService }: Pick<Services, "EventService">, after?: string, limit = 100) {
  const events: EventView[] = [];
  let cursor = after;
  for (;;) {
    const page: EventPage = await EventService.list({ after: cursor, limit });
    events.push(...page.data);
    cursor = page.nextCursor;
    if (!page.hasMore) return { events, cursor };
  }
}

describe("polling for events", () => {
  test("W22: begins with the oldest event, and the cursor of an empty page gets the events that follow", async () => {
    await number();
    const { events, cursor } = await drained(context, undefined, 7);
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
    expect(events.map(({ type }) => type)).toContain("plan.created");
    expect(await context.EventService.list({ after: cursor })).toMatchObject({ data: [], hasMore: false });
    const { id, version } = await context.tenant();
    expect((await context.EventService.list({ after: cursor })).data).toEqual([]);
    await number();
    const page = await context.EventService.list({ after: cursor });
    expect(page.data).toMatchObject([{ type: "tenant.created", subject: id, tenantId: id, version, data: { tenant: { id } } }]);
    expect((await context.EventService.list({ after: page.nextCursor })).data).toEqual([]);
    expect((await context.EventService.list({ after: page.data[0]?.id })).data).toEqual([]);
  });

  test("W22: gives a tenant's user the events of its tenant alone, and an administrator those of a tenant that it names", async () => {
    const { cursor } = await drained(context);
    const [own, other] = [await context.tenant(), await context.tenant()];
    await context.PlanService.create({ name: "Polled", price: 1, currency: "USD", interval: "monthly", limits: {} });
    await context.TenantService.update(own.id, { name: "Renamed" });
    await number();
    const ofOwn = ["tenant.created", "tenant.updated"];
    const user = context.as(userOf(own.id));
    expect((await user.EventService.list({ after: cursor })).data.map(({ type }) => type)).toEqual(ofOwn);
    expect((await user.EventService.list({ after: cursor, tenantId: other.id })).data.map(({ tenantId }) => tenantId)).toEqual([
      own.id,
      own.id,
    ]);
    expect((await drained(user)).events.every(({ tenantId }) => tenantId === own.id)).toBe(true);
    expect((await context.EventService.list({ after: cursor, tenantId: own.id })).data.map(({ type }) => type)).toEqual(ofOwn);
    const all = (await context.EventService.list({ after: cursor })).data;
    expect(all.map(({ type }) => type)).toEqual(["tenant.created", "tenant.created", "plan.created", "tenant.updated"]);
    const [first] = all.filter(({ tenantId }) => tenantId === other.id);
    expect(await codeOf(user.EventService.list({ after: first?.id }))).toBe("invalid_cursor");
  });

  test("W22: gives the platform the last events of a deleted tenant, also those that had no number when it was deleted", async () => {
    const { cursor } = await drained(context);
    const { id } = await context.tenant();
    await context.TenantService.remove(id);
    await number();
    for (const tenantId of [undefined, id]) {
      const { data } = await context.EventService.list({ after: cursor, tenantId });
      expect(data).toMatchObject([{ type: "tenant.created", tenantId: id }, { type: "tenant.deleted", tenantId: id }]);
    }
  });

  test("W22: selects types by name and by beginning, and its cursor passes the events that are not selected", async () => {
    const { cursor } = await drained(context);
    const { id } = await context.tenant();
    await context.TenantService.suspend(id, "unpaid");
    await context.SubscriptionService.cancel(id, false);
    await number();
    const typesOf = async (...types: string[]) => (await context.EventService.list({ after: cursor, types })).data.map(({ type }) => type);
    expect(await typesOf("tenant.*")).toEqual(["tenant.created", "tenant.suspended"]);
    expect(await typesOf("subscription.cancelled", "tenant.created")).toEqual(["tenant.created", "subscription.cancelled"]);
    expect(await typesOf("*")).toHaveLength(3);
    expect((await context.EventService.list({ types: ["subscription.cancelled"] })).data.map(({ tenantId }) => tenantId)).toContain(id);
    const none = await context.EventService.list({ after: cursor, types: ["metric.deleted"] });
    expect(none).toMatchObject({ data: [], hasMore: false });
    expect((await context.EventService.list({ after: none.nextCursor })).data).toEqual([]);
  });

  test("W22: leaves out the events of API keys for a caller that may not read keys, and refuses it their types", async () => {
    const { cursor } = await drained(context);
    const { id } = await context.tenant();
    await context.ApiKeyService.generate("Polled", ["read:plans"], { tenantId: id });
    await number();
    const typesOf = async (scopes: ReadonlySet<string>, types?: string[]) =>
      (await context.as({ ...userOf(id), scopes }).EventService.list({ after: cursor, types })).data.map(({ type }) => type);
    const [viewer, owner] = [catalogue.ofTenant("viewer"), catalogue.ofTenant("owner")];
    for (const types of [undefined, ["*"]]) {
      expect(await typesOf(owner, types)).toEqual(["tenant.created", "api-key.created"]);
      expect(await typesOf(viewer, types)).toEqual(["tenant.created"]);
    }
    for (const types of [["api-key.created"], ["tenant.*", "api-key.*"]]) {
      expect(await codeOf(typesOf(viewer, types))).toBe("insufficient_scope");
      expect(await typesOf(owner, types)).toContain("api-key.created");
    }
  });

  test("W22: readers miss no event and get none twice while eight writers commit and two processes number", async () => {
    const random = seededRandom("events");
    const seed = `SEED=${random.seed}`;
    const start = (await drained(context)).cursor;
    const { id: own } = await context.tenant();
    const stores = await context.racers(10);
    let isWriting = true;
    const write = async (store: Store, n: number) => {
      const services = context.over(store);
      for (let i = 0; i < 4; i++) {
        await again(() => services.TenantService.update(own, { name: `Name ${n} ${i}` }));
        if (random.below(2) === 0) await context.tenant();
      }
    };
    const numbering = async (store: Store) => {
      const work = workOver(store);
      while (isWriting || await queued() > 0) await again(() => numberAll(work));
    };
    const reading = async (services: Pick<Services, "EventService">) => {
      const events: EventView[] = [];
      let after = start;
      for (let isDone = false; !isDone;) {
        isDone = !isWriting && await queued() === 0;
        const page = await services.EventService.list({ after, limit: 1 + random.below(9) });
        events.push(...page.data);
        after = page.nextCursor;
        isDone &&= !page.hasMore;
      }
      return events;
    };
    const readers = Promise.all([reading(context), reading(context.as(userOf(own)))]);
    const numberers = Promise.all(stores.slice(8).map(numbering));
    await Promise.all(stores.slice(0, 8).map(write)).finally(() => isWriting = false);
    await numberers;
    const [all, ofOwn] = await readers;
    const from = all[0]?.seq ?? 0;
    expect(all.map(({ seq }) => seq), seed).toEqual(all.map((_, i) => from + i));
    const stored = (await context.dump("outbox")).map(({ value }) => value as { id: string; seq: number }).filter(({ seq }) => seq >= from);
    expect(all.map(({ id }) => id).toSorted(), seed).toEqual(stored.map(({ id }) => id).toSorted());
    expect(ofOwn.map(({ id }) => id), seed).toEqual(all.filter(({ tenantId }) => tenantId === own).map(({ id }) => id));
    const versions = ofOwn.filter(({ subject }) => subject === own).map(({ version }) => Number(version));
    expect(versions, `W18 ${seed}`).toEqual(versions.toSorted((a, b) => a - b));
  });

  test("W22: a cursor expires with the events after it, by the shortest policy, and never while no event follows", async () => {
    const reader = context.as();
    const { cursor: end } = await drained(context);
    await context.RetentionService.put("brief", { type: "outbox-event", retentionDays: 7, enabled: true });
    context.clock.advance(40 * DAY);
    expect((await reader.EventService.list({ after: end })).data).toEqual([]);
    await number();
    expect(await codeOf(reader.EventService.list({ after: end }))).toBe("cursor_expired");
    const { cursor } = await drained(context);
    context.clock.advance(7 * DAY);
    const { id } = await context.tenant();
    await number();
    expect((await reader.EventService.list({ after: cursor })).data.map(({ subject }) => subject)).toEqual([id]);
    context.clock.advance(1);
    expect(await codeOf(reader.EventService.list({ after: cursor }))).toBe("cursor_expired");
    expect((await drained(context)).events.at(-1)?.subject).toBe(id);
    const gone = `evt_${context.clock.now() - 8 * DAY}_a1b2c3d4e5f6`;
    expect(await codeOf(reader.EventService.list({ after: gone }))).toBe("cursor_expired");
    expect(await codeOf(reader.EventService.list({ after: gone.replace("evt_", "evt_9") }))).toBe("invalid_cursor");
    await context.RetentionService.delete("brief");
  });

  test("W22: a new reader does not begin with events whose time is over, and with a filter passes those that expire meanwhile", async () => {
    const fresh = await openTestContext();
    const { EventService: events, clock, store } = fresh;
    const outbox = new Collection(outboxEvent, store);
    const of = (seq: number, type: string, ageMs: number) => {
      const createdAt = clock.iso(-ageMs);
      const id = `evt_${Date.parse(createdAt)}_${seq}`;
      return outbox.set(outboxEvent.schema.parse({ id, type, subject: "x", data: {}, createdAt, seq, recordVersion: "1" }));
    };
    await store.commit([], [{ op: "deletePrefix", prefix: "outbox" }]);
    await store.commit([], [
      ...[1, 2, 3].map((seq) => of(seq, "tenant.created", 30 * DAY + 1)),
      ...[4, 5, 6].map((seq) => of(seq, "tenant.created", 30 * DAY - 2 * 3_600_000)),
      of(2 * WINDOW, "tenant.created", DAY),
      of(3 * WINDOW, "plan.created", 3_600_000),
      new Collection(eventHead, store).set({ id: HEAD_ID, seq: 4 * WINDOW, keptDays: 30, updatedAt: clock.iso() }),
    ]);
    const first = await events.list({ limit: 2 });
    expect(first.data.map(({ seq }) => seq)).toEqual([4, 5]);
    expect((await events.list({ after: first.nextCursor })).data.map(({ seq }) => seq)).toEqual([6, 2 * WINDOW, 3 * WINDOW]);
    const found: number[] = [];
    let after: string | undefined;
    for (let more = true; more;) {
      const page: EventPage = await events.list({ types: ["plan.created"], after });
      found.push(...page.data.map(({ seq }) => seq));
      [after, more] = [page.nextCursor, page.hasMore];
      clock.advance(3 * 3_600_000);
    }
    expect(found).toEqual([3 * WINDOW]);
    await fresh.close();
  });

  test("W10: makes the schemas of the types once, not for every caller that asks for them", () => {
    const first = context.EventService.types().data;
    expect(first.length).toBeGreaterThan(50);
    expect(context.as().EventService.types().data.every((type, i) => type === first[i])).toBe(true);
  });

  test("W22: a cursor from before the restore of an older backup expires, and with the statements of docs/operations.md misses nothing", async () => {
    await number();
    const { seq: head } = (await context.store.get(keyOf(eventHead, { id: HEAD_ID })))?.value as { readonly seq: number };
    const cursor = cursorOf({ seq: head + 5, since: context.clock.iso() });
    expect(await codeOf(context.EventService.list({ after: cursor }))).toBe("cursor_expired");
    const [, statements = ""] = /^```sql\n(select setval[^]*?)^```$/m.exec(read("docs/operations.md")) ?? [];
    await withClient(context.database.superUrl, (client) => client.query(statements));
    expect((await context.EventService.list({ after: cursor })).data).toEqual([]);
    const { id, version } = await context.tenant();
    expect(Number(version)).toBeGreaterThan(1_000_000);
    await number();
    expect((await drained(context, cursor)).events).toMatchObject([{
      type: "tenant.created",
      subject: id,
      seq: head + 1_000_001,
    }]);
    const { hasMore, nextCursor } = await context.EventService.list({ after: cursor, types: ["tenant.created"] });
    expect(hasMore).toBe(true);
    expect((await context.EventService.list({ after: nextCursor, types: ["tenant.created"] })).data).toMatchObject([{ subject: id }]);
  });

  test("W22: a forged cursor gives a tenant its own events alone, and none that another position would not give", async () => {
    const [own, other] = [await context.tenant(), await context.tenant()];
    await context.PlanService.create({ name: "Forged", price: 1, currency: "USD", interval: "monthly", limits: {} });
    await number();
    const user = context.as(userOf(own.id)).EventService;
    const { seq: head } = (await context.store.get(keyOf(eventHead, { id: HEAD_ID })))?.value as { readonly seq: number };
    for (const since of [null, "0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"]) {
      for (const tenantId of [undefined, null, other.id]) {
        const { data } = await user.list({ after: cursorOf({ seq: since?.startsWith("0") ? head : 0, since }), tenantId });
        expect(data.every((event) => event.tenantId === own.id)).toBe(true);
        expect(data.length).toBe(since?.startsWith("0") ? 0 : 1);
      }
    }
    const foreign = (await context.EventService.list({ after: cursorOf({ seq: head - 2, since: context.clock.iso() }) })).data;
    expect(foreign.length).toBe(2);
    for (const { id } of foreign) expect(await codeOf(user.list({ after: id }))).toBe("invalid_cursor");
    expect(await codeOf(user.list({ after: cursorOf({ seq: 999_999_999_999_999, since: null }) }))).toBe("cursor_expired");
    for (const seq of [-1, 1.5, 1e15, NaN]) {
      expect(await codeOf(user.list({ after: cursorOf({ seq, since: null }) }))).toBe("invalid_cursor");
    }
  });

  test("W22: refuses what is no cursor, and the id of an event that does not exist", async () => {
    for (
      const after of [
        "x",
        "evt_9767225600000_a1b2c3d4e5f6",
        "evt_soon",
        btoa('["events",null,"1e9"]'),
        btoa('["events","soon","1"]'),
        btoa('["other",null,"1"]'),
      ]
    ) {
      expect(await codeOf(context.EventService.list({ after })), after).toBe("invalid_cursor");
    }
  });
});

/** As a client does: on a busy machine, a writer can lose every one of its attempts. */
async function again<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!isInnkeepError(error, "write_conflict")) throw error;
    }
  }
}

async function queued(): Promise<number> {
  return await context.store.count({ entity: outboxEvent, where: [{ field: "queuedAt", from: "0000-01-01T00:00:00.000Z" }] });
}
