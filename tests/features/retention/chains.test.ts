import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBackend, loadServices } from "../../../shared/container.ts";
import { newCheckpoint } from "../../../shared/features/audit/checkpoints.ts";
import { LEASE_MS } from "../../../shared/features/jobs/rules.ts";
import type { TaskReport } from "../../../shared/features/retention/rules.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { sha256Hex } from "../../../shared/kernel/sha256.ts";
import type { Mutation, Store } from "../../../shared/kv/store.ts";
import { withClient } from "../../support/client.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
let servicesOf: Awaited<ReturnType<typeof loadServices>>;
beforeAll(async () => {
  context = await openTestContext();
  servicesOf = await loadServices();
});
afterAll(() => context.close());

const DAY_MS = 24 * 3_600_000;
const KEY = "a signing key of at least 32 characters";

/** The services of the program with a key, or another one. */
function program({ auditKey = KEY, store = context.store }: { readonly auditKey?: string | null; readonly store?: Store } = {}) {
  const backend = createBackend({ store, clock: context.clock, logger: silentLogger, auditKey });
  return servicesOf(backend.bind(systemContext(context.clock, "req_jobs", "jobs")));
}

async function cleanup(services = program()): Promise<TaskReport | undefined> {
  for (;;) {
    const report = await services.JobService.run("cleanup");
    if (report.complete) return (report.report["tasks"] as unknown as TaskReport[]).find(({ type }) => type === "audit-entry");
  }
}

const verify = (id?: string, services = program()) => services.AuditService.verify(id);
const seqs = async (id: string | null) => (await context.auditOf(id)).map(({ seq }) => Number(seq));
const checkpoints = async (scope: string) => (await context.dump("checkpoint")).filter(({ key }) => key.startsWith(`checkpoint:${scope}:`));
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

async function log(id: string | null, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await context.AuditService.log("room.opened", "room", `r${i}`, id === null ? {} : { tenantId: id });
  }
}

/** A tenant whose chain has `old` entries past their retention, and `young` ones. */
async function chainOf(old: number, young: number): Promise<string> {
  const { id } = await context.tenant();
  await log(id, old - 1);
  context.clock.advance(731 * DAY_MS);
  await log(id, young);
  return id;
}

/** SQL as a superuser without triggers. No guard can prevent such changes, so verification must find them. */
async function tamper(sql: string, values: unknown[]): Promise<void> {
  const changed = await withClient(context.database.superUrl, async (client) => {
    await client.query("set session_replication_role = replica");
    return (await client.query(sql, values)).rowCount;
  });
  expect(changed).toBeGreaterThan(0);
}

/** Deletes the end of a chain and rewrites its head, so that entries and head agree. */
async function cutTail(id: string, seq: number): Promise<void> {
  await tamper("delete from kv.entries where owner = $1 and key like 'audit:%' and (value->>'seq')::int > $2", [id, seq]);
  const hash = (await context.auditOf(id)).at(-1)?.["hash"];
  await tamper("update kv.chains set seq = $2, hash = $3 where scope = $1", [id, seq, hash]);
}

describe("an audit chain after the cleanup", () => {
  test("A17: begins after a signed checkpoint and still verifies, in whole, in parts and for the tenant's own users", async () => {
    const id = await chainOf(30, 5);
    await cleanup();
    expect(await seqs(id)).toEqual(range(31, 35));
    expect(await verify(id)).toEqual({ ok: true, checked: 5, deletedTo: 30 });
    expect(await verify()).toMatchObject({ ok: true });
    expect(await context.as(userOf(id)).AuditService.verify()).toEqual({ ok: true, checked: 5, deletedTo: 30 });
    const part = await program().AuditService.verifyPart(id, { limit: 2 });
    expect(part).toMatchObject({ ok: true, checked: 2 });
    expect(await program().AuditService.verifyPart(id, { cursor: part.nextCursor })).toMatchObject({ ok: true, checked: 3 });
    await log(id, 3);
    expect(await verify(id)).toEqual({ ok: true, checked: 8, deletedTo: 30 });
    expect((await checkpoints(id)).map(({ value }) => value)).toMatchObject([
      { kind: "base", seq: 30, signature: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown },
      { kind: "head", seq: 35 },
    ]);
  });

  test("A17: keeps its last entry, however old, and the entries that are younger than the policy", async () => {
    const id = await chainOf(4, 0);
    await cleanup();
    expect(await seqs(id)).toEqual([4]);
    expect(await verify(id)).toEqual({ ok: true, checked: 1, deletedTo: 3 });
    context.clock.advance(DAY_MS);
    await cleanup();
    expect(await seqs(id)).toEqual([4]);
  });

  test("A17: of a tenant under legal hold stays complete until the hold is lifted", async () => {
    const id = await chainOf(10, 1);
    await context.TenantService.update(id, { metadata: { legalHold: true } });
    await cleanup();
    expect((await seqs(id)).length).toBe(12);
    await context.TenantService.update(id, { metadata: { legalHold: false } });
    await cleanup();
    expect(await seqs(id)).toEqual([11, 12, 13]);
  });

  test("A17: of a deleted tenant is cleaned and verifies, with a checkpoint that outlives the tenant", async () => {
    const id = await chainOf(10, 2);
    await cleanup();
    await context.TenantService.delete(id);
    expect(await checkpoints(id)).toHaveLength(2);
    context.clock.advance(731 * DAY_MS);
    await cleanup();
    expect(await seqs(id)).toEqual([13]);
    expect(await verify(id)).toEqual({ ok: true, checked: 1, deletedTo: 12 });
  });

  test("C15: has the entries that the dry run left, and the report counts those that it named", async () => {
    const ids = [await chainOf(12, 0), await chainOf(3, 2)];
    const held = await context.tenant({ metadata: { legalHold: true } });
    context.clock.advance(731 * DAY_MS);
    // The run's own entry would make the platform's last one older than the head.
    await log(null, 1);
    const dry = (await program().RetentionService.run({ dryRun: true })).tasks.find(({ type }) => type === "audit-entry");
    const run = await cleanup();
    expect(run).toMatchObject({ deleted: dry?.deleted, error: null });
    for (const id of [...ids, held.id]) expect(await verify(id)).toMatchObject({ ok: true });
    expect(await Promise.all([...ids, held.id].map(seqs))).toEqual([[12], [5], [1]]);
  });

  test("C16: loses an entry in the millisecond after its retention and 5 minutes of clock skew, and not before", async () => {
    const { id } = await context.tenant();
    await log(id, 2);
    context.clock.advance(730 * DAY_MS + 5 * 60_000);
    await cleanup();
    expect(await seqs(id)).toEqual([1, 2, 3]);
    context.clock.advance(1);
    await cleanup();
    expect(await seqs(id)).toEqual([3]);
  });

  test("O04: has no gap when the run was killed in the middle, and the audit entry of the run counts every entry once", async () => {
    const id = await chainOf(1_200, 1);
    let commits = 0;
    const hanging = new Proxy(context.store, {
      get(target, name) {
        const member = Reflect.get(target, name) as unknown;
        if (name !== "commit") return typeof member === "function" ? (member as () => unknown).bind(target) : member;
        return async (checks: Parameters<Store["commit"]>[0], mutations: readonly Mutation[]) => {
          const isPurge = mutations.some((each) => each.op === "purgeChain" && each.scope === id);
          if (isPurge && ++commits === 2) return await new Promise(() => undefined);
          return await target.commit(checks, mutations);
        };
      },
    });
    void program({ store: hanging }).JobService.run("cleanup");
    await expect.poll(() => commits, { timeout: 30_000 }).toBe(2);
    expect((await seqs(id))[0]).toBe(501);
    expect(await verify(id)).toMatchObject({ ok: true, deletedTo: 500 });
    context.clock.advance(LEASE_MS);
    await cleanup();
    expect(await seqs(id)).toEqual([1_201]);
    expect(await verify(id)).toMatchObject({ ok: true, deletedTo: 1_200 });
    const last = (await context.auditOf(null)).filter(({ action }) => action === "policy.applied").at(-1);
    expect(Number((last?.["data"] as { deleted: number }).deleted)).toBeGreaterThanOrEqual(1_200);
  });

  test("A17: verifies while it is cleaned and written", async () => {
    const id = await chainOf(1_500, 1);
    const reports = await Promise.all([
      cleanup(),
      log(id, 20),
      ...Array.from({ length: 10 }, () => verify(id)),
    ]);
    expect(reports.slice(2).filter((report) => !(report as { ok: boolean }).ok)).toEqual([]);
    expect(await verify(id)).toEqual({ ok: true, checked: 21, deletedTo: 1_500 });
  });
});

describe("a checkpoint", () => {
  test("A09: shows that the end of a chain was cut, although its head was rewritten", async () => {
    const id = await chainOf(5, 10);
    await cleanup();
    expect((await verify(id)).ok).toBe(true);
    await cutTail(id, 12);
    expect(await verify(id)).toMatchObject({ ok: false, firstBroken: { seq: 15, reason: expect.stringContaining("head") as unknown } });
    // Neither new entries nor further runs hide it.
    await cleanup();
    await log(id, 5);
    await cleanup();
    expect(await verify(id)).toMatchObject({
      ok: false,
      firstBroken: { seq: 15, reason: expect.stringContaining("checkpoint") as unknown },
    });
    context.clock.advance(731 * DAY_MS);
    await cleanup();
    expect(await verify(id)).toMatchObject({ ok: false });
    expect((await seqs(id))[0]).toBe(6);
  });

  test("A09: shows that entries were rewritten with valid hashes", async () => {
    const id = await chainOf(2, 4);
    await cleanup();
    await tamper(
      "update kv.chains set seq = 5, hash = (select value->>'hash' from kv.entries where owner = $1 and key like 'audit:%' and value->>'seq' = '5') where scope = $1",
      [id],
    );
    await tamper("delete from kv.entries where owner = $1 and key like 'audit:%' and value->>'seq' = '6'", [id]);
    await log(id, 1);
    expect(await verify(id)).toMatchObject({
      ok: false,
      checked: 3,
      firstBroken: { seq: 6, reason: expect.stringContaining("checkpoint") as unknown },
    });
  });

  test("A09: cannot be forged, moved to another chain, made older or stripped of its signature without the key", async () => {
    const keyed = await chainOf(2, 2);
    const id = await chainOf(5, 10);
    await cleanup();
    const rows = await checkpoints(id);
    const head = rows.find(({ value }) => (value as { kind: string }).kind === "head");
    const value = head?.value as { kind: string; seq: number; hash: string; takenAt: string; signature: string };
    const { hash } = (await context.auditOf(id)).find(({ seq }) => seq === 12) as { hash: string };
    const other = await newCheckpoint(id, { kind: "base", seq: value.seq, hash: value.hash, takenAt: value.takenAt }, {
      key: "another key",
      isLive: true,
    });
    const { signature: _, ...unsigned } = value;
    const forged: readonly object[] = [
      { ...value, hash: await sha256Hex("x") },
      { ...value, kind: "base" },
      { ...value, seq: 12, hash },
      { ...value, takenAt: "2020-01-01T00:00:00.000Z" },
      { ...value, scope: keyed },
      { kind: "head" },
      other,
      unsigned,
    ];
    for (const one of forged) {
      await tamper("update kv.entries set value = $2 where key = $1", [head?.key, JSON.stringify(one)]);
      expect(await verify(id), JSON.stringify(one)).toMatchObject({
        ok: false,
        firstBroken: { reason: expect.stringMatching(/checkpoint/) as unknown },
      });
    }
    await tamper("update kv.entries set value = $2 where key = $1", [head?.key, JSON.stringify(value)]);
    expect((await verify(id)).ok).toBe(true);
    expect((await verify(id, program({ auditKey: "another key of at least 32 characters" }))).ok).toBe(false);
    expect((await verify(id, program({ auditKey: null }))).ok).toBe(true);
  });

  test("A09: is missing: the entries that begin after it do not verify", async () => {
    const id = await chainOf(5, 3);
    await cleanup();
    await tamper("delete from kv.entries where key like $1", [`checkpoint:${id}:%`]);
    expect(await verify(id)).toMatchObject({ ok: false, checked: 0, firstBroken: { seq: 6 } });
  });

  test("A17: is not signed without a key, and a chain that does not verify is not deleted", async () => {
    const [id, broken] = [await chainOf(5, 1), await context.tenant().then((tenant) => tenant.id)];
    await log(broken, 5);
    context.clock.advance(731 * DAY_MS);
    await log(broken, 1);
    await tamper("update kv.entries set value = jsonb_set(value, '{resourceId}', '\"x\"') where owner = $1 and value->>'seq' = '3'", [
      broken,
    ]);
    await cleanup(program({ auditKey: null }));
    for (const { value } of await checkpoints(id)) expect(value).not.toHaveProperty("signature");
    expect(await verify(id, program({ auditKey: null }))).toMatchObject({ ok: true });
    expect(await seqs(broken)).toEqual(range(1, 7));
  });

  test("A09: is at most two records for each chain, however long it is cleaned", async () => {
    const { id } = await context.tenant();
    for (let round = 0; round < 5; round++) {
      await log(id, 20);
      context.clock.advance(200 * DAY_MS);
      await cleanup();
      expect((await checkpoints(id)).length).toBeLessThanOrEqual(2);
      expect(await verify(id)).toMatchObject({ ok: true });
    }
    expect((await seqs(id))[0]).toBe(42);
  });
});

test("A07: the store refuses to delete the head, younger entries, a wrong hash and, bound to a tenant, anything", async () => {
  const { auditEntry } = await import("../../../shared/core/audit-entry.ts");
  const id = await chainOf(5, 5);
  const entries = await context.auditOf(id);
  const purge = (seq: number, change: object = {}) =>
    ({
      op: "purgeChain",
      entity: auditEntry,
      scope: id,
      seq,
      hash: String(entries[seq - 1]?.["hash"]),
      before: context.clock.iso(-730 * DAY_MS),
      ...change,
    }) as Mutation;
  for (const mutation of [purge(10), purge(11), purge(6), purge(5, { hash: entries[3]?.["hash"] }), purge(5, { scope: null }), purge(0)]) {
    expect(await codeOf(context.store.commit([], [mutation]))).toBe("append_only");
  }
  expect(await codeOf(context.store.forTenant(id).commit([], [purge(3)]))).toBe("forbidden");
  expect(await seqs(id)).toEqual(range(1, 10));
  expect(await context.store.commit([], [purge(3)])).toMatchObject({ ok: true, deleted: { "audit-entry": 3 } });
  expect(await seqs(id)).toEqual(range(4, 10));
});
