import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Logger } from "../../../shared/kernel/logger.ts";
import { cleanup, cutTail, DAY_MS, events, left, log, program, seqs, taskOf, usage } from "../../support/retention.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { withClient } from "../../support/client.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

/** A logger that keeps its error lines. */
function recorded() {
  const lines: { readonly event: string; readonly fields: Readonly<Record<string, unknown>> }[] = [];
  const keep = (event: string, fields: Readonly<Record<string, unknown>> = {}) => void lines.push({ event, fields });
  return { lines, logger: { info: () => undefined, warn: () => undefined, error: keep } as unknown as Logger };
}

describe("the cleanup is safe", () => {
  test("C14: with a policy that somebody damaged: nothing is deleted by policies, and checkpoints and expiry go on", async () => {
    const keys = [...await events(context, 31 * DAY_MS, 3)];
    const { id } = await context.tenant();
    const expiresAt = context.clock.iso(1_000);
    await context.store.set("note:expired", 1, { expiresAt });
    context.clock.advance(1_000);
    for (const damage of [{ retentionDays: 0 }, { retentionDays: -1 }, { retentionDays: 1e9 }, { retentionDays: 0.5 }, { enabled: "no" }]) {
      const value = { id: "bad", type: "outbox-event", retentionDays: 30, enabled: true, createdAt: context.clock.iso(), ...damage };
      await context.store.set("policy:bad", value);
      const tasks = await cleanup(await program(context));
      expect(taskOf(tasks, "outbox-event")).toMatchObject({ deleted: 0, error: "internal" });
      expect(taskOf(tasks, "*expired")).toMatchObject({ error: null });
      expect(await left(context, keys)).toBe(3);
    }
    expect((await context.dump("checkpoint")).map(({ key }) => key)).toContain(`checkpoint:${id}:1`);
    await context.store.commit([], [{ op: "delete", key: "policy:bad" }]);
    await cleanup(await program(context));
    expect(await left(context, keys)).toBe(0);
  });

  test("A09: a chain whose end was cut is evidence: its old entries are kept, although its head was rewritten", async () => {
    const { id } = await context.tenant();
    await log(context, id, 14);
    await cleanup(await program(context));
    await cutTail(context, id, 12);
    context.clock.advance(731 * DAY_MS);
    const { logger, lines } = recorded();
    await cleanup(await program(context, { logger }));
    expect((await seqs(context, id))[0]).toBe(1);
    expect(lines).toContainEqual({
      event: "audit_chain_broken",
      fields: expect.objectContaining({ scope: id, key: `checkpoint:${id}:15` }) as unknown,
    });
    expect(await context.AuditService.verify(id)).toMatchObject({ ok: false });
  });

  test("A09: a checkpoint that another tenant's statement puts into a chain breaks neither the chain nor its retention", async () => {
    const [one, other] = await Promise.all([context.tenant(), context.tenant()]);
    const forged = { kind: "head", seq: 99, hash: "a".repeat(64), takenAt: context.clock.iso() };
    for (const scope of ["global", one.id]) {
      await context.store.forTenant(other.id).set(`checkpoint:${scope}:99`, { id: `checkpoint:${scope}:99`, scope, ...forged });
    }
    await cleanup(await program(context));
    expect(await context.AuditService.verify()).toMatchObject({ ok: true });
    expect(await context.AuditService.verify(one.id)).toMatchObject({ ok: true });
    context.clock.advance(731 * DAY_MS);
    await log(context, one.id, 1);
    await cleanup(await program(context));
    expect((await seqs(context, one.id))[0]).toBe(2);
  });

  test("C14: a tenant that cannot be read, and chains of ids that no tenant can have, are kept and stop nothing of the others", async () => {
    const [one, other] = await Promise.all([context.tenant(), context.tenant()]);
    for (const { id } of [one, other]) await log(context, id, 3);
    const entry = await context.store.get(`tenant:${one.id}`);
    await context.store.set(`tenant:${one.id}`, { ...entry?.value as JsonObject, plan: null }, { tenantId: one.id });
    const contentHash = "c".repeat(64);
    for (const scope of [".", ".."]) {
      for (const n of [1, 2]) {
        const value = { contentHash, timestamp: context.clock.iso() };
        const mutation = { op: "set", key: `audit:${scope}:${context.clock.iso()}:x${n}`, value };
        await withClient(
          context.database.appUrl,
          (client) => client.query("select kv_commit('[]', $1, 1000, now())", [JSON.stringify([mutation])]),
        );
      }
    }
    context.clock.advance(731 * DAY_MS);
    const tasks = await cleanup(await program(context));
    expect(tasks.filter(({ error }) => error !== null)).toEqual([]);
    expect((await seqs(context, one.id))[0]).toBe(1);
    expect((await seqs(context, other.id))[0]).toBeGreaterThan(1);
    await context.store.set(`tenant:${one.id}`, entry?.value as JsonObject, { tenantId: one.id });
  });

  test.each(["yes", "false", 1, {}, []])("C09: a hold that is written as %j is a hold", async (legalHold) => {
    const { id } = await context.tenant({ metadata: { legalHold } });
    const keys = await usage(context, id, 731 * DAY_MS, 2);
    await cleanup(await program(context));
    expect(await left(context, keys)).toBe(2);
    await expect(context.TenantService.delete(id)).rejects.toMatchObject({ code: "legal_hold" });
    await context.TenantService.update(id, { metadata: { legalHold: false } });
    await cleanup(await program(context));
    expect(await left(context, keys)).toBe(0);
  });

  test("C15: a chain of which nothing can be deleted is read once in a run, in large pages, and logged once", async () => {
    // What earlier tests left would be deleted in steps of its own.
    context.clock.advance(731 * DAY_MS);
    await cleanup(await program(context));
    const [held, broken] = [await context.tenant({ metadata: { legalHold: true } }), await context.tenant()];
    await log(context, held.id, 700);
    await log(context, broken.id, 20);
    await cutTail(context, broken.id, 19);
    await log(context, broken.id, 700);
    await context.store.set(`checkpoint:${broken.id}:20`, {
      scope: broken.id,
      kind: "head",
      seq: 20,
      hash: "0".repeat(64),
      takenAt: context.clock.iso(),
    });
    context.clock.advance(731 * DAY_MS);
    const { logger, lines } = recorded();
    const jobs = await program(context, { logger });
    let steps = 0;
    for (let complete = false; !complete; steps++) {
      complete = (await jobs.JobService.run("cleanup", { budget: { items: 100, ms: 60_000 } })).complete;
    }
    // The checkpoints of heads have one line. The entries have one in each step that deletes of another chain, and not in each page.
    expect(lines.filter(({ fields }) => fields["scope"] === broken.id).length).toBeLessThan(7);
    expect(steps).toBeLessThan(40);
    expect((await seqs(context, held.id)).length).toBe(701);
  });
});
