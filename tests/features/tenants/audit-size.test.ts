import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { z } from "zod";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

function nested(levels: number): z.core.util.JSONType {
  let value: z.core.util.JSONType = "leaf";
  for (let i = 0; i < levels; i++) value = { a: value };
  return value;
}

const members = (count: number, value: z.core.util.JSONType) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i.toString(36)}`, value]));

describe("a change that fits the size limit of a record", () => {
  const cases: readonly (readonly [string, Record<string, z.core.util.JSONType>])[] = [
    ["control characters of six bytes each", { notes: "\u0001".repeat(40_000) }],
    ["characters of four bytes", { notes: "😀".repeat(60_000) }],
    ["a list of small numbers", { list: Array<number>(700).fill(5e-324) }],
    ["24,000 members", { all: members(24_000, 1) }],
    ["24,000 members at the top", members(24_000, 1)],
    ["61 levels", { tree: nested(60) }],
    ["64 levels", { tree: nested(62) }],
    ["long names", { names: { ["n".repeat(120_000)]: 1, ["m".repeat(120_000)]: 2 } }],
    ["lists of lists", { lists: Array<z.core.util.JSONType>(120).fill(Array<string>(100).fill("fifteen letters")) }],
  ];

  it.each(cases)("A04: is never refused because its audit entry would not fit: %s", async (_, settings) => {
    const { id } = await context.tenant({ settings });
    await context.TenantService.update(id, { name: "Renamed", settings: { ...settings, changed: true } });
    const { version: _version, ...after } = await context.TenantService.get(id) as unknown as JsonObject;
    expect(after).toMatchObject({ name: "Renamed", settings: { ...settings, changed: true } });
    const entry = (await context.auditOf(id)).at(-1) as unknown as { readonly changes: { readonly after: JsonObject } };
    expect(entry.changes.after).toMatchObject({ name: "Renamed" });
    expect(JSON.stringify(entry.changes.after["settings"])).toContain("[omitted: ");
    expect(await context.AuditService.verify(id)).toEqual({ ok: true, checked: 2 });
  });
});
