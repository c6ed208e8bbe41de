import fc from "fast-check";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { verifyArchive } from "../../../shared/features/audit/archive.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { Mutation, Store } from "../../../shared/kv/store.ts";
import { withClient } from "../../support/client.ts";
import { seededRandom } from "../../support/random.ts";
import { cleanup, DAY_MS, log, program, seqs } from "../../support/retention.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

/** Each test begins without old entries. */
beforeEach(async () => {
  await context.store.commit([], [{ op: "deletePrefix", prefix: "policy" }]);
  context.clock.advance(731 * DAY_MS);
  await cleanup(await program(context));
});

async function chainOf(old: number, young = 1): Promise<string> {
  const { id } = await context.tenant();
  await log(context, id, old - 1);
  context.clock.advance(731 * DAY_MS);
  await log(context, id, young);
  return id;
}

const lastSeq = async () => Number((await context.auditOf(null)).at(-1)?.["seq"]);
/** What the audit entries after this one say was deleted of chains. */
async function deletedSince(seq: number): Promise<number> {
  const notes = (await context.auditOf(null)).filter((entry) => Number(entry["seq"]) > seq && entry["action"] === "policy.applied")
    .map(({ data }) => data as { readonly type: string; readonly deleted: number });
  return notes.filter(({ type }) => type === "audit-entry").reduce((sum, { deleted }) => sum + deleted, 0);
}

/** A store that calls `before` before each commit that deletes entries of the chain. */
function intercepted(id: string, before: (nth: number) => Promise<unknown>): Store {
  let nth = 0;
  const purges = (mutations: readonly Mutation[]) => mutations.some((each) => each.op === "purgeChain" && each.scope === id);
  return new Proxy(context.store, {
    get(target, name) {
      const member = Reflect.get(target, name) as unknown;
      if (name !== "commit") return typeof member === "function" ? (member as () => unknown).bind(target) : member;
      return async (...args: Parameters<Store["commit"]>) => {
        if (purges(args[1])) await before(++nth);
        return await target.commit(...args);
      };
    },
  });
}

describe("a chain that is deleted", () => {
  test("O04: while backends are terminated again and again has no gap, and every entry is counted once", async () => {
    const id = await chainOf(900);
    const [before, first] = [await lastSeq(), (await seqs(context, null))[0] ?? 0];
    const jobs = await program(context);
    let isRunning = true;
    let terminated = 0;
    const terminating = withClient(context.database.superUrl, async (client) => {
      while (isRunning) {
        const { rowCount } = await client.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'innkeep_app' and datname = current_database()",
        );
        terminated += rowCount ?? 0;
        await new Promise((resolve) => setTimeout(resolve, 40));
      }
    });
    for (let calls = 0; calls < 60 && (await seqs(context, id).catch(() => [1])).length > 1; calls++) {
      if (calls === 40) isRunning = false;
      await jobs.JobService.run("cleanup").catch(() => null);
      context.clock.advance(6 * 3_600_000);
    }
    isRunning = false;
    await terminating;
    await cleanup(jobs);
    expect(terminated).toBeGreaterThan(0);
    expect(await seqs(context, id)).toEqual([901]);
    expect(await context.AuditService.verify(id)).toMatchObject({ ok: true, deletedTo: 900 });
    const ofPlatform = ((await seqs(context, null))[0] ?? 0) - first;
    expect(await deletedSince(before)).toBe(900 + ofPlatform);
    expect(await context.AuditService.verify()).toMatchObject({ ok: true });
    expect(await context.store.count("retentionrun")).toBe(0);
  });

  test("C15: by two runs at once, beside writers, verifies, and each entry is counted once", async () => {
    const id = await chainOf(700);
    const stores = await context.racers(2);
    const reports = await Promise.all([
      ...stores.map(async (store) => (await program(context, { store })).RetentionService.run()),
      log(context, id, 30).then(() => null),
    ]);
    const deleted = reports.flatMap((report) => report?.tasks ?? []).filter(({ type }) => type === "audit-entry");
    expect(deleted.map(({ error }) => error)).toEqual([null, null]);
    await cleanup(await program(context));
    expect(await seqs(context, id)).toEqual(Array.from({ length: 31 }, (_, i) => 701 + i));
    expect(await context.AuditService.verify(id)).toMatchObject({ ok: true, deletedTo: 700 });
  });

  test("C09: keeps what is left when a legal hold is set in the middle", async () => {
    const id = await chainOf(700);
    const store = intercepted(id, async (nth) => {
      if (nth === 2) await context.TenantService.update(id, { metadata: { legalHold: true } });
    });
    await cleanup(await program(context, { store }));
    expect((await seqs(context, id))[0]).toBe(501);
    expect(await context.AuditService.verify(id)).toMatchObject({ ok: true, deletedTo: 500 });
  });

  test("A17: whose tenant is deleted in the middle goes on, with checkpoints that outlive the tenant", async () => {
    const id = await chainOf(700);
    const store = intercepted(id, async (nth) => {
      if (nth === 2) await context.TenantService.delete(id);
    });
    const tasks = await cleanup(await program(context, { store }));
    expect(tasks.filter(({ error }) => error !== null)).toEqual([]);
    expect((await seqs(context, id))[0]).toBe(701);
    expect(await context.AuditService.verify(id)).toMatchObject({ ok: true, deletedTo: 700 });
    context.clock.advance(731 * DAY_MS);
    await cleanup(await program(context));
    expect(await context.AuditService.verify(id)).toMatchObject({ ok: true, checked: 1 });
  });
});

/** Whole numbers that the store refuses become 1. */
function storable(value: object): JsonObject {
  const number = (_: string, one: unknown) => typeof one === "number" && Number.isInteger(one) && !Number.isSafeInteger(one) ? 1 : one;
  return JSON.parse(JSON.stringify(value), number) as JsonObject;
}

test("A17: entries with any JSON are archived as they were, and verify", async () => {
  const files = new Map<string, Uint8Array>();
  const archive = { put: (path: string, bytes: Uint8Array) => Promise.resolve(void files.set(path, bytes)) };
  const { id } = await context.tenant();
  const { seed } = seededRandom("archived values");
  const special: JsonObject[] = [
    { zero: -0, small: 5e-324, precise: 0.1 + 0.2, integer: Number.MAX_SAFE_INTEGER },
    { text: '\u2028\u2029\n\r\t"\\/\u007f😀é e\u0301', empty: "", "": 1, "\u2028": null, __proto__x: {} },
  ];
  const random = fc.sample(fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue({ maxDepth: 3 })), { seed, numRuns: 60 });
  const values = [...special, ...random.map(storable).filter((value) => !JSON.stringify(value).includes("\\u0000"))];
  for (const data of values) await context.AuditService.log("room.opened", "room", "r", { tenantId: id, data });
  const before = await context.auditOf(id);
  context.clock.advance(731 * DAY_MS);
  await log(context, id, 1);
  const jobs = await program(context, { archive });
  await jobs.RetentionService.upsert("archived", {
    type: "audit-entry",
    retentionDays: 730,
    action: "archive",
    enabled: true,
    tenantId: id,
  });
  await cleanup(jobs);
  const paths = [...files.keys()];
  const read = (path: string) => Promise.resolve(files.get(path) ?? new Uint8Array());
  expect(await verifyArchive(paths, read, { auditKey: null, previousAuditKey: null })).toMatchObject({ ok: true, to: values.length + 1 });
  const lines = gunzipSync(files.get(paths[0] ?? "") ?? new Uint8Array()).toString("utf8").trimEnd().split("\n");
  expect(lines.slice(0, -1).map((line) => JSON.parse(line) as JsonObject)).toEqual(before);
});
