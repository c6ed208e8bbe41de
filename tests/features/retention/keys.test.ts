import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { cleanup, DAY_MS, log, program, seqs, tamper, taskOf } from "../../support/retention.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
let id: string;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());
beforeEach(async () => {
  await context.store.commit([], [{ op: "deletePrefix", prefix: "checkpoint" }]);
  ({ id } = await context.tenant());
  await log(context, id, 9);
});

const OLD = "the first signing key of 32 characters";
const NEW = "the second signing key of 32 characters";
const verify = async (keys: { readonly auditKey?: string; readonly previousAuditKey?: string }) =>
  (await (await program(context, keys)).AuditService.verify(id)).ok;
const isSigned = async () => (await context.dump("checkpoint")).map(({ value }) => Object.hasOwn(value as object, "signature"));

/** A chain with two checkpoints by this key: its base and its head. */
async function clean(keys: { readonly auditKey?: string; readonly previousAuditKey?: string }): Promise<void> {
  context.clock.advance(731 * DAY_MS);
  await log(context, id, 1);
  await cleanup(await program(context, keys));
}

describe("the key of checkpoints", () => {
  test("A09: is replaced in one run of the job, with the previous key until then", async () => {
    await clean({ auditKey: OLD });
    expect([await verify({ auditKey: OLD }), await verify({ auditKey: NEW })]).toEqual([true, false]);
    const both = { auditKey: NEW, previousAuditKey: OLD };
    expect(await verify(both)).toBe(true);
    const tasks = await cleanup(await program(context, both));
    expect(taskOf(tasks, "*signatures")?.scanned).toBeGreaterThanOrEqual(2);
    expect([await verify({ auditKey: NEW }), await verify({ auditKey: OLD })]).toEqual([true, false]);
    expect(taskOf(await cleanup(await program(context, both)), "*signatures")).toMatchObject({ scanned: 0 });
    expect(taskOf(await cleanup(await program(context, { auditKey: NEW })), "*signatures")).toBeUndefined();
    // The chain is cleaned on, with the new key alone.
    const [first] = await seqs(context, id);
    await log(context, id, 5);
    await clean({ auditKey: NEW });
    expect((await seqs(context, id))[0]).toBeGreaterThan(first ?? 0);
    expect(await verify({ auditKey: NEW })).toBe(true);
  });

  test("A09: is added later with the previous key `none`, which signs the checkpoints that have no signature", async () => {
    await clean({});
    expect(await isSigned()).not.toContain(true);
    expect(await verify({ auditKey: NEW })).toBe(false);
    await cleanup(await program(context, { auditKey: NEW, previousAuditKey: "none" }));
    expect(await isSigned()).not.toContain(false);
    expect(await verify({ auditKey: NEW })).toBe(true);
  });

  test("A09: does not sign what neither key signed: a forged, moved or stripped checkpoint stays evidence", async () => {
    await clean({ auditKey: OLD });
    const rows = (await context.dump("checkpoint")).filter(({ key }) => key.startsWith(`checkpoint:${id}:`));
    const value = rows.find(({ value }) => (value as { kind: string }).kind === "head")?.value as Record<string, unknown>;
    const { signature: _, ...unsigned } = value;
    const both = { auditKey: NEW, previousAuditKey: OLD };
    for (
      const forged of [
        { ...value, hash: "0".repeat(64) },
        { ...value, scope: "tn_other" },
        { ...value, signature: "0".repeat(64) },
        unsigned,
      ]
    ) {
      await tamper(context, "update kv.entries set value = $2 where key = $1", [value["id"], JSON.stringify(forged)]);
      await cleanup(await program(context, both));
      expect((await context.store.list({ prefix: `checkpoint:${id}` })).entries.map((entry) => entry.value)).toContainEqual(forged);
      expect(await verify({ auditKey: NEW })).toBe(false);
    }
    // With `none`, a wrong signature is not taken for a missing one.
    await tamper(context, "update kv.entries set value = $2 where key = $1", [
      value["id"],
      JSON.stringify({ ...value, signature: "0".repeat(64) }),
    ]);
    await cleanup(await program(context, { auditKey: NEW, previousAuditKey: "none" }));
    expect(await verify({ auditKey: NEW, previousAuditKey: "none" })).toBe(false);
  });
});
