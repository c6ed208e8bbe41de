import { afterAll, beforeAll, expect, test } from "vitest";
import { registry } from "../../../shared/features/registry.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { familyOf, keyOf, keyParams } from "../../../shared/kv/define.ts";
import { exampleFor } from "../../support/examples.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const DAY_MS = 24 * 3_600_000;
const SKEW_MS = 5 * 60_000;

test("C16: a record of every kind that declares a retention goes a millisecond after it, and not before", async () => {
  const kinds = registry.flatMap((entity) => (entity.retention && !entity.appendOnly ? [{ entity, ...entity.retention }] : []));
  const [kept, old] = [await context.tenant(), await context.tenant()];
  const keys = { kept: new Map<string, string>(), old: new Map<string, string>() };
  for (const { entity, days, after } of kinds) {
    for (const [name, { id }, ageMs] of [["kept", kept, days * DAY_MS + SKEW_MS], ["old", old, days * DAY_MS + SKEW_MS + 1]] as const) {
      const example = exampleFor(entity, id);
      const [first = "id"] = keyParams(entity);
      // A key without the tenant would be the same for both.
      const own = first === "tenantId" || !(first in example) ? {} : { [first]: `of_${id}` };
      // An active hold would have no such time, and would keep the others.
      const status = entity.name === "legal-hold" ? "released" : example["status"];
      const record: JsonObject = { ...example, ...own, ...(status === undefined ? {} : { status }), [after]: context.clock.iso(-ageMs) };
      const keyed = first in record ? () => keyOf(entity, record as unknown as Record<string, never>) : () => `${familyOf(entity)}:m:${id}`;
      const key = entity.naturalKey ? String(record["id"]) : keyed();
      const tenantId = entity.owner === "platform" ? null : id;
      await context.store.set(key, record, { tenantId, ...(tenantId === null ? {} : { cascades: entity.onTenantDelete !== "retain" }) });
      keys[name].set(entity.name, key);
    }
  }
  expect(kinds.map(({ entity }) => entity.name)).toEqual(
    expect.arrayContaining(["alert", "reservation", "usage-event", "usage-groups", "usage-level", "api-key", "api-key-hash"]),
  );
  for (let complete = false; !complete;) ({ complete } = await context.JobService.run("cleanup"));
  const left = async (of: ReadonlyMap<string, string>) => {
    const entries = await context.store.mget([...of.values()]);
    return [...of.keys()].filter((_, i) => entries[i]);
  };
  expect(await left(keys.old)).toEqual([]);
  expect(await left(keys.kept)).toEqual(kinds.map(({ entity }) => entity.name));
});
