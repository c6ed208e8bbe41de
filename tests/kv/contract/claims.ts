import { expect, test } from "vitest";
import { auditEntry } from "../../../shared/core/audit-entry.ts";
import { tenant } from "../../../shared/features/tenants/entity.ts";
import { codeOf, type OpenStore } from "../../support/store.ts";
import { declareTasks, task } from "../../support/task.ts";
import type { Theme } from "./index.ts";

export const claimCases: Theme = (open, serverCase) => {
  let declared: Promise<void> | undefined;
  /** The tasks of one case: the queue is emptied first. */
  const queue = async (): Promise<
    OpenStore & { add: (id: string, dueInMs: number, tenantId?: string, more?: object) => Promise<string> }
  > => {
    const opened = open();
    await (declared ??= declareTasks(opened.database));
    await opened.store.commit([], [{ op: "deletePrefix", prefix: "task" }]);
    return {
      ...opened,
      add: (id, dueInMs, tenantId, more = {}) =>
        opened.store.set(
          `task:${id}`,
          { id, ...(tenantId ? { tenantId } : {}), dueAt: opened.clock.iso(dueInMs), ...more },
          { tenantId: tenantId ?? null },
        ),
    };
  };
  const claimOf = ({ clock }: OpenStore, limit: number, perTenant?: number) => ({
    entity: task,
    due: "dueAt",
    until: clock.iso(60_000),
    set: { leaseId: "lease-1" },
    limit,
    ...(perTenant === undefined ? {} : { perTenant }),
  });
  const ids = (entries: readonly { readonly key: string }[]) => entries.map(({ key }) => key.slice("task:".length));

  test("O04: a claim takes what is due, the oldest first, and leases it until an instant at which it is due again", async () => {
    const opened = await queue();
    const { store, clock, add } = opened;
    const version = await add("b", -10, "tn_a");
    await add("a", 0);
    await add("c", -20, "tn_b", { expires: true });
    await add("later", 1);
    await store.set("task:idle", { id: "idle" });
    const claimed = await store.claim(claimOf(opened, 10));
    expect(ids(claimed)).toEqual(["c", "b", "a"]);
    expect(claimed[1]).toMatchObject({
      value: { id: "b", tenantId: "tn_a", dueAt: clock.iso(60_000), leaseId: "lease-1" },
      tenantId: "tn_a",
      updatedAt: clock.iso(),
    });
    expect(BigInt(claimed[1]?.version ?? 0)).toBeGreaterThan(BigInt(version));
    expect(await store.get("task:b")).toEqual(claimed[1]);
    expect(await store.claim(claimOf(opened, 10))).toEqual([]);
    clock.advance(59_999);
    expect(ids(await store.claim({ ...claimOf(opened, 10), until: clock.iso(1) }))).toEqual(["later"]);
    clock.advance(1);
    expect(ids(await store.claim(claimOf(opened, 2)))).toEqual(["a", "b"]);
  });

  test("O04: a commit that was decided before a claim conflicts with it", async () => {
    const opened = await queue();
    const version = await opened.add("raced", 0);
    await opened.store.claim(claimOf(opened, 1));
    const commit = opened.store.commit([{ key: "task:raced", version }], [{ op: "delete", key: "task:raced" }]);
    expect(await commit).toEqual({ ok: false, conflict: "task:raced", reason: "version" });
  });

  test("O04: a claim with conditions, and one beside expired entries, takes only what it may", async () => {
    const opened = await queue();
    const { store, clock, add } = opened;
    await add("mail", -1, undefined, { kind: "mail" });
    await add("call", -2, undefined, { kind: "call" });
    await store.set("task:gone", { id: "gone", dueAt: clock.iso(-3) }, { expiresAt: clock.iso(1) });
    clock.advance(1);
    expect(ids(await store.claim({ ...claimOf(opened, 5), where: [{ field: "kind", in: ["mail"] }] }))).toEqual(["mail"]);
    expect(ids(await store.claim(claimOf(opened, 5)))).toEqual(["call"]);
  });

  test("O06: a fair claim takes the first entry of every tenant and of the platform before a second one, and no more than allowed", async () => {
    const opened = await queue();
    const { store, add } = opened;
    for (let i = 0; i < 60; i++) await add(`a${String(i).padStart(2, "0")}`, -1_000 + i, "tn_a");
    for (let i = 0; i < 3; i++) await add(`b${i}`, -500 + i, "tn_b");
    await add("c0", -1, "tn_c");
    await add("c1", 1, "tn_c");
    await add("p0", -400);
    // Few enough that one read sees all of them, and so many that it sees only tn_a's.
    expect(ids(await store.claim(claimOf(opened, 50, 2)))).toEqual(["a00", "b0", "p0", "c0", "a01", "b1"]);
    expect(ids(await store.claim(claimOf(opened, 5, 3)))).toEqual(["a02", "b2", "a03", "a04"]);
    for (let i = 0; i < 3; i++) await add(`b${i}`, -500 + i, "tn_b");
    await add("c0", -1, "tn_c");
    await add("p0", -400);
    expect(ids(await store.claim(claimOf(opened, 5, 3)))).toEqual(["a05", "b0", "p0", "c0", "a06"]);
  });

  serverCase("O04: of 8 workers at the same time each entry has one, in fair and plain claims", async () => {
    const opened = await queue();
    const workers = await opened.racers(8);
    const due = opened.clock.iso();
    for (const perTenant of [undefined, 20]) {
      const tasks = Array.from({ length: 400 }, (_, i) => {
        const tenantId = `tn_${i % 7}`;
        return { op: "set" as const, key: `task:${i}`, value: { id: `${i}`, tenantId, dueAt: due }, tenantId };
      });
      await opened.store.commit([], tasks);
      const taken: string[] = [];
      await Promise.all(workers.map(async (worker) => {
        for (let idle = 0; idle < 3;) {
          const claimed = ids(await worker.claim(claimOf(opened, 9, perTenant)));
          idle = claimed.length === 0 ? idle + 1 : 0;
          taken.push(...claimed);
        }
      }));
      expect(taken.sort()).toEqual(tasks.map(({ value }) => value.id).sort());
    }
  });

  serverCase(
    "O04: a claim does not wait for an entry that a commit has locked, and a deleted tenant's entry does not come back",
    async () => {
      const opened = await queue();
      const { store, add, racers } = opened;
      const [worker] = await racers(1);
      for (let round = 0; round < 50; round++) {
        const tenantId = `tn_gone_${round}`;
        await add(`g${round}`, 0, tenantId);
        const [claimed] = await Promise.all([
          worker?.claim(claimOf(opened, 5)),
          store.commit([], [{ op: "deleteOwner", tenantId }]),
        ]);
        expect(claimed?.length).toBeLessThanOrEqual(1);
        expect(await store.get(`task:g${round}`)).toBeNull();
      }
    },
  );

  test("O04: a claim that would read the whole family, of entries that may not change, or without an end is refused", async () => {
    const opened = await queue();
    const { store, clock } = opened;
    const claim = claimOf(opened, 5);
    expect(await codeOf(store.claim({ ...claim, due: "kind" }))).toBe("invalid_parameter");
    expect(await codeOf(store.claim({ ...claim, entity: auditEntry, due: "timestamp" }))).toBe("forbidden");
    expect(await codeOf(store.claim({ ...claim, entity: tenant, due: "createdAt" }))).toBe("forbidden");
    expect(await codeOf(store.claim({ ...claim, entity: tenant, due: "createdAt", perTenant: 1 }))).toBe("invalid_parameter");
    for (const until of [clock.iso(), "soon"]) expect(await codeOf(store.claim({ ...claim, until }))).toBe("invalid_parameter");
    for (const limit of [0, 501]) expect(await codeOf(store.claim({ ...claim, limit }))).toBe("invalid_parameter");
    expect(await codeOf(store.claim({ ...claim, set: { note: "\u0000" } }))).toBe("validation_failed");
    expect(await codeOf(store.forTenant("tn_a").claim(claim))).toBe("forbidden");
  });
};
