import { describe, expect, test } from "vitest";
import { filtersOf, parseFilters, parseSort } from "../../shared/derive/list-filters.ts";
import { registry } from "../../shared/entities/registry.ts";
import { tenant } from "../../shared/entities/tenant.ts";
import type { AnyEntity } from "../../shared/kv/define.ts";
import { wireOrder, wireSelection } from "../../shared/kv/query-plan.ts";

function entityNamed(name: string): AnyEntity {
  const entity = registry.find((candidate) => candidate.name === name);
  if (!entity) throw new Error(`${name} is not declared`);
  return entity;
}

function filters(name: string, query: string) {
  return parseFilters(entityNamed(name), Object.fromEntries(new URLSearchParams(query)));
}

function refusal(path: string, code = "invalid"): unknown {
  return expect.objectContaining({ code: "invalid_parameter", status: 400, fields: [expect.objectContaining({ path, code })] });
}

describe("filters", () => {
  test.each([
    ["tenant", "status=active", [{ field: "status", in: ["active"] }]],
    ["tenant", "status=active,trial&plan=Pro", [{ field: "status", in: ["active", "trial"] }, { field: "plan", in: ["Pro"] }]],
    ["tenant", "status=active, active", [{ field: "status", in: ["active"] }]],
    ["admin-user", "enabled=true", [{ field: "enabled", in: [true] }]],
    ["plan", "active=false", [{ field: "active", in: [false] }]],
    ["tenant", "createdFrom=2026-01-01", [{ field: "createdAt", from: "2026-01-01T00:00:00.000Z" }]],
    ["tenant", "createdTo=2026-01-31", [{ field: "createdAt", to: "2026-02-01T00:00:00.000Z" }]],
    [
      "tenant",
      "createdFrom=2026-01-01T08:00:00.000Z&createdTo=2026-01-01T09:00:00.000Z",
      [{ field: "createdAt", from: "2026-01-01T08:00:00.000Z", to: "2026-01-01T09:00:00.000Z" }],
    ],
    ["audit-entry", "createdFrom=2026-01-01", [{ field: "timestamp", from: "2026-01-01T00:00:00.000Z" }]],
    ["audit-entry", "timestampTo=2026-12-31", [{ field: "timestamp", to: "2027-01-01T00:00:00.000Z" }]],
    ["audit-entry", "timestamp=2026-12-31T00:00:00.000Z", [{ field: "timestamp", in: ["2026-12-31T00:00:00.000Z"] }]],
    ["tenant", "page=2&limit=10&cursor=x&sort=name&search=au", []],
    ["tenant", "", []],
  ])("T04: a list of %s asked with ?%s has those conditions", (name, query, where) => {
    expect(filters(name, query)).toEqual(where);
  });

  test.each([
    ["tenant", "colour=red", "colour", "unknown_field"],
    ["tenant", "mrr=299", "mrr", "unknown_field"],
    ["tenant", "Status=active", "Status", "unknown_field"],
    ["tenant", "constructor=x", "constructor", "unknown_field"],
    ["tenant", "status=sleeping", "status", "unknown_value"],
    ["tenant", "status=active,sleeping", "status", "unknown_value"],
    ["subscription", "createdFrom=2026-01-01", "createdFrom", "unknown_field"],
    ["tenant", "status=", "status", "invalid"],
    ["tenant", "plan=Pro,,Basic", "plan", "invalid"],
    ["tenant", `plan=${Array.from({ length: 101 }, (_, i) => `p${i}`).join(",")}`, "plan", "invalid"],
    ["admin-user", "enabled=1", "enabled", "invalid"],
    ["admin-user", "enabled=TRUE", "enabled", "invalid"],
    ["tenant", "createdFrom=yesterday", "createdFrom", "invalid"],
    ["tenant", "createdFrom=2026-02-30", "createdFrom", "invalid"],
    ["tenant", "createdTo=2026-01-01T00:00:00Z", "createdTo", "invalid"],
    ["audit-entry", "timestamp=2026-01-01", "timestamp", "invalid"],
  ])("T04: a list of %s asked with ?%s is refused, naming %s as %s", (name, query, path, code) => {
    expect(() => filters(name, query)).toThrowError(refusal(path, code));
  });

  test("T04: every filter of every entity is one the store takes", () => {
    const values = { text: "x", time: "2026-01-01T00:00:00.000Z", number: "1.5", boolean: "true" } as const;
    for (const entity of registry) {
      for (const filter of filtersOf(entity)) {
        const where = parseFilters(entity, { [filter.name]: filter.values?.[0] ?? values[filter.type] });
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
