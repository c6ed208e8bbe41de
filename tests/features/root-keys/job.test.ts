import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { knownRootKeys } from "../../../shared/core/root-keys.ts";
import { SecretBox } from "../../../shared/core/secret-box.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { Sealed } from "../../../shared/core/sealed.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { freshStore, type OpenStore } from "../../support/store.ts";
import { bytesOf, processWith } from "./support.ts";

const MINUTE_MS = 60_000;

let opened: OpenStore;
beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
});
afterAll(() => opened.close());

/** Each test has an empty platform. */
beforeEach(async () => {
  for (const family of ["safe", "rootkey", "schedule", "dead"]) {
    for await (const { key } of opened.store.entries({ prefix: family })) await opened.store.del(key);
  }
});

const valuesAt = async (key: string) => (await opened.store.get(key))?.value as JsonObject;
const rewrapped = async () => {
  const entries: JsonObject[] = [];
  for await (const { value } of opened.store.entries({ prefix: "audit" })) entries.push(value as JsonObject);
  return entries.filter(({ action }) => action === "root-key.rewrapped").map(({ data }) => data as JsonObject);
};

/** Records of both entities under the key 1, with what their fields contain. */
async function thirtyRecords(): Promise<readonly (readonly [key: string, field: string, value: string])[]> {
  const old = processWith(opened, 1);
  await old.start();
  const made: (readonly [string, string, string])[] = [];
  for (let i = 0; i < 30; i++) {
    const key = await old.safeWith("tn_1", `s_${i}`, i % 3 === 0 ? null : `first ${i}`, i % 2 === 0 ? undefined : `second ${i}`);
    if (i % 3 !== 0) made.push([key, "first", `first ${i}`]);
    if (i % 2 !== 0) made.push([key, "second", `second ${i}`]);
  }
  for (let i = 0; i < 5; i++) made.push([await old.boxWith(`b_${i}`, `content ${i}`), "content", `content ${i}`]);
  return made;
}

async function expectAllUnder(made: Awaited<ReturnType<typeof thirtyRecords>>, fill: number): Promise<void> {
  const secrets = new SecretBox(knownRootKeys(bytesOf(fill)), opened.clock);
  for (const [key, field, value] of made) {
    expect(await secrets.open(key, field, (await valuesAt(key))[field] as unknown as Sealed), `${field} of ${key}`).toBe(value);
  }
}

/** The store of a process that is killed before its commit with this number, from 0. */
function killedBefore(store: Store, commits: number): { readonly store: Store; readonly wasKilled: () => boolean } {
  let left = commits;
  let killed = false;
  const proxy = new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => {
        if (name === "commit" && left-- <= 0) killed = true;
        if (killed) throw new Error("the process was killed");
        return member.apply(target, args) as unknown;
      };
    },
  });
  return { store: proxy, wasKilled: () => killed };
}

describe("the job root-keys", () => {
  test("I07: rotation wraps every encrypted field of every entity again, and then the old key is not needed", async () => {
    const made = await thirtyRecords();
    const [oldId = "", newId = ""] = [
      (await processWith(opened, 1).start()).current.id,
      (await processWith(opened, 2, [1]).start()).current.id,
    ];
    const rotating = processWith(opened, 2, [1]);
    const plain = await valuesAt("safe:tn_1:s_2");
    expect(await rotating.run()).toMatchObject({ processed: 30, complete: true, errors: [], report: { records: { [newId]: 30 } } });
    await expectAllUnder(made, 2);
    expect(await rotating.states()).toEqual({ [newId]: ["current", 30], [oldId]: ["unused", 0] });
    // Only the wrapping has changed.
    const after = await valuesAt("safe:tn_1:s_2");
    expect({ ...after, first: null }).toEqual({ ...plain, first: null });
    expect((after["first"] as JsonObject)["ciphertext"]).toBe((plain["first"] as JsonObject)["ciphertext"]);
    const notes = await rewrapped();
    expect(notes.map(({ entity, from }) => [entity, from])).toEqual(notes.map(({ entity }) => [entity, [oldId]]));
    expect(notes.reduce((sum, { records }) => sum + Number(records), 0)).toBe(30);
    expect(new Set(notes.map(({ entity }) => entity))).toEqual(new Set(["box", "safe"]));
    expect(await rotating.run()).toMatchObject({ processed: 0 });
    await processWith(opened, 2).start();
  });

  test("I07: records that are encrypted after a rotation, by a process that still has the old key, are found by the next run", async () => {
    const made = [...await thirtyRecords()];
    const old = processWith(opened, 1);
    await old.start();
    const rotating = processWith(opened, 2, [1]);
    await rotating.run();
    made.push([await old.safeWith("tn_0", "late", "late"), "first", "late"]);
    expect(await rotating.run()).toMatchObject({ processed: 1 });
    await expectAllUnder(made, 2);
  });

  test("I07: killed before any of its commits, it goes on, and no record is wrapped twice or missed", async () => {
    for (let commits = 0;; commits++) {
      await clear();
      const made = await thirtyRecords();
      const before = (await rewrapped()).reduce((sum, { records }) => sum + Number(records), 0);
      await processWith(opened, 2, [1]).start();
      const doomed = killedBefore(opened.store, commits);
      await processWith(opened, 2, [1], doomed.store).run().catch((error: Error) => {
        if (error.message !== "the process was killed") throw error;
      });
      opened.clock.advance(30 * MINUTE_MS);
      const next = processWith(opened, 2, [1]);
      expect(await next.run()).toMatchObject({ complete: true, errors: [] });
      await expectAllUnder(made, 2);
      expect(Object.values(await next.states()).sort(), `killed before commit ${commits}`).toEqual([["current", 30], ["unused", 0]]);
      const after = (await rewrapped()).reduce((sum, { records }) => sum + Number(records), 0);
      expect(after - before).toBe(30);
      if (!doomed.wasKilled()) return expect(commits).toBeGreaterThan(4);
    }
  });

  test("I07: a record that cannot be decrypted does not stop the others, and its key stays in use", async () => {
    const made = await thirtyRecords();
    const [damaged = ["", "", ""] as const, ...others] = made.filter(([, field]) => field === "first");
    const value = await valuesAt(damaged[0]);
    const other = await valuesAt(others[0]?.[0] ?? "");
    await opened.store.set(damaged[0], { ...value, first: other["first"] ?? null }, { tenantId: "tn_1" });
    const rotating = processWith(opened, 2, [1]);
    const report = await rotating.run();
    expect(report.errors).toMatchObject([{ item: damaged[0], code: "decryption_failed" }]);
    expect(JSON.stringify(report)).not.toContain("first 1");
    await expectAllUnder(made.filter(([key]) => key !== damaged[0]), 2);
    expect(Object.values(await rotating.states()).sort()).toEqual([["current", 29], ["previous", 1]]);
    await expect(processWith(opened, 2).start()).rejects.toMatchObject({ code: "root_key_unavailable" });
  });

  test("I07: a dry run reports what is under each key, and writes nothing", async () => {
    const made = await thirtyRecords();
    const rotating = processWith(opened, 2, [1]);
    const { current, previous } = await rotating.start();
    const before = await opened.store.count("");
    expect(await rotating.run({ dryRun: true })).toMatchObject({ processed: 30, report: { records: { [previous[0]?.id ?? ""]: 30 } } });
    await expectAllUnder(made, 1);
    expect(await opened.store.count("")).toBe(before);
    expect((await rotating.states())[current.id]).toEqual(["current", 0]);
  });
});

async function clear(): Promise<void> {
  for (const family of ["safe", "rootkey", "schedule"]) {
    for await (const { key } of opened.store.entries({ prefix: family })) await opened.store.del(key);
  }
}
