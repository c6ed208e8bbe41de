import { beforeEach, describe, expect, test } from "vitest";
import type { UnitOfWork } from "../../../shared/core/unit-of-work.ts";
import { createBackend } from "../../../shared/container.ts";
import { HEAD_ID, nextEvents, unnumbered } from "../../../shared/features/events/sequence.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { ADMIN, openTestContext, type TestContext } from "../../support/test-context.ts";
import type { Services } from "../../../shared/container.ts";
import { numberAll } from "../../support/events.ts";

let context: TestContext & Services;
let work: UnitOfWork;
beforeEach(async () => {
  context = await openTestContext();
  const { store, clock } = context;
  work = createBackend({ store, clock, logger: silentLogger }).bind({ actor: ADMIN, tenantId: null, requestId: "req_test", clock });
  await numberAll(work);
  return () => context.close();
});

type Stored = {
  readonly id: string;
  readonly type: string;
  readonly seq?: number;
  readonly queuedAt?: string;
  readonly recordVersion?: string;
};
const events = async () => (await context.dump("outbox")).map(({ value }) => value as unknown as Stored);

describe("the numbers of events", () => {
  test("W16: an event has no number until a later commit gives it the next one, and its record's version is kept", async () => {
    const before = await context.store.get(`eventhead:${HEAD_ID}`);
    const { id, version } = await context.tenant();
    const [queued] = (await events()).filter(({ queuedAt }) => queuedAt !== undefined);
    expect(queued).toMatchObject({ type: "tenant.created", queuedAt: context.clock.iso() });
    expect(queued).not.toHaveProperty("seq");
    expect(await unnumbered(work)).toEqual({ count: 1, oldestAt: context.clock.iso() });
    await numberAll(work);
    const [numbered] = (await events()).filter((event) => event.id === queued?.id);
    const { seq } = before?.value as { seq: number };
    expect(numbered).toMatchObject({ seq: seq + 1, recordVersion: version, data: { tenant: { id } } });
    expect(numbered).not.toHaveProperty("queuedAt");
    expect(await unnumbered(work)).toEqual({ count: 0, oldestAt: null });
  });

  test("W16: events that do not match their declaration get no number, and however many they are, keep no other event waiting", async () => {
    const { id } = await context.tenant();
    const damaged = Array.from({ length: 250 }, (_, i) => `outbox:evt_1_damaged${i}`);
    const value = { queuedAt: "2026-01-01T00:00:00.000Z", subject: 1 };
    await context.store.commit([], damaged.map((key) => ({ op: "set", key, value, tenantId: null })));
    const { events: next, invalid } = await nextEvents(work, 60);
    expect(next).toMatchObject([{ type: "tenant.created", subject: id }]);
    expect([...invalid].sort()).toEqual(damaged.sort());
  });
});
