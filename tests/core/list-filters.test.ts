import { describe, expect, test } from "vitest";
import { filtersOf, parseSort } from "../../shared/core/list-filters.ts";
import { registry } from "../../shared/features/registry.ts";
import { tenant } from "../../shared/features/tenants/entity.ts";
import type { AnyEntity } from "../../shared/kv/define.ts";
import { wireOrder, wireSelection } from "../../shared/kv/query-plan.ts";

function entityNamed(name: string): AnyEntity {
  const entity = registry.find((candidate) => candidate.name === name);
  if (!entity) throw new Error(`${name} is not declared`);
  return entity;
}

function refusal(path: string, code = "invalid"): unknown {
  return expect.objectContaining({ code: "invalid_parameter", status: 400, fields: [expect.objectContaining({ path, code })] });
}

describe("filters", () => {
  test("T04: every filter of every entity is one the store takes", () => {
    const values = { text: "x", time: "2026-01-01T00:00:00.000Z", number: 1.5, boolean: true } as const;
    for (const entity of registry) {
      for (const filter of filtersOf(entity)) {
        const value = filter.values?.[0] ?? values[filter.type];
        const where = [{ field: filter.field, ...(filter.bound ? { [filter.bound]: value } : { in: [value] }) }];
        expect(wireSelection({ entity, where }, null).where, `${entity.name} ${filter.name}`).toHaveLength(1);
      }
    }
  });
});

describe("sorting", () => {
  test.each([
    ["tenant", "-mrr,name", [{ field: "mrr", direction: "desc" }, { field: "name", direction: "asc" }]],
    ["tenant", "createdAt", [{ field: "createdAt", direction: "asc" }]],
    ["tenant", undefined, [{ field: "createdAt", direction: "desc" }]],
    ["audit-entry", undefined, [{ field: "timestamp", direction: "desc" }]],
    ["subscription", undefined, [{ field: "currentPeriodEnd", direction: "desc" }]],
    ["usage-record", undefined, []],
  ])("T04: a list of %s sorted by %s has that order, by default newest first", (name, sort, order) => {
    expect(parseSort(entityNamed(name), sort)).toEqual(order);
  });

  test.each(["colour", "-colour", "", "-", "name,", "--name", "ownerName", "constructor"])(
    "T04: %j is no sort of tenants and is refused",
    (sort) => {
      expect(() => parseSort(tenant, sort)).toThrowError(refusal("sort", "unknown_field"));
    },
  );

  test("T04: a sort that names a field twice is refused", () => {
    expect(() => parseSort(tenant, "name,-name")).toThrowError(refusal("sort", "duplicate_field"));
  });

  test("T04: the default and every declared sort of every entity is one the store takes", () => {
    for (const entity of registry) {
      const sorts = [undefined, ...entity.sortable ?? []];
      for (const sort of sorts) expect(() => wireOrder(entity, parseSort(entity, sort)), `${entity.name} ${sort}`).not.toThrow();
    }
  });
});
