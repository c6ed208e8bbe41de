import { describe, expect, test } from "vitest";
import { z } from "zod";
import { filtersOf, parseSort, searchProblem } from "../../shared/core/list-filters.ts";
import { instant } from "../../shared/core/values.ts";
import { registry } from "../../shared/features/registry.ts";
import { tenant } from "../../shared/features/tenants/entity.ts";
import { type AnyEntity, defineEntity } from "../../shared/kv/define.ts";
import { wireOrder, wireSelection } from "../../shared/kv/query-plan.ts";

function entityNamed(name: string): AnyEntity {
  const entity = registry.find((candidate) => candidate.name === name);
  if (!entity) throw new Error(`${name} is not declared`);
  return entity;
}

const state = z.enum(["open", "shut"]);
/** A declaration with every kind of field. */
const door = defineEntity({
  name: "door",
  summary: "Declared for this test.",
  key: "door:{id}",
  schema: z.looseObject({
    id: z.string(),
    state,
    wish: state.optional(),
    rest: state.nullable(),
    start: state.default("open"),
    end: state.nullable().default("shut").optional(),
    note: z.string().optional(),
    height: z.number(),
    locked: z.boolean(),
    oiledAt: instant.optional(),
    createdAt: instant,
    created: instant,
    timestamp: instant,
    triggeredAt: instant,
  }),
  owner: "platform",
  example: {
    id: "a",
    state: "open",
    rest: null,
    start: "open",
    height: 2,
    locked: true,
    createdAt: "2026-01-01T00:00:00.000Z",
    created: "2026-01-01T00:00:00.000Z",
    timestamp: "2026-01-01T00:00:00.000Z",
    triggeredAt: "2026-01-01T00:00:00.000Z",
  },
});
type Field = NonNullable<typeof door.filterable>[number];
const VALUES = ["open", "shut"];

function refusal(path: string, code = "invalid"): unknown {
  return expect.objectContaining({ code: "invalid_parameter", status: 400, fields: [expect.objectContaining({ path, code })] });
}

describe("filters", () => {
  test("T04: every filter of every entity is accepted by the store", () => {
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

describe("the filters of a declaration", () => {
  const offered = (filterable: readonly Field[] | undefined, sortable?: readonly Field[]) =>
    filtersOf({ ...door, ...(filterable ? { filterable } : {}), ...(sortable ? { sortable } : {}) });

  test.each(["state", "wish", "rest", "start", "end"] as const)("T04: contain the values of the enumeration %s", (field) => {
    expect(offered([field])).toEqual([{ name: field, field, type: "text", values: VALUES }]);
  });

  test("T04: compare texts and booleans for equality", () => {
    expect(offered(["note", "locked"])).toStrictEqual([
      { name: "note", field: "note", type: "text" },
      { name: "locked", field: "locked", type: "boolean" },
    ]);
  });

  test.each([["height", "number"], ["oiledAt", "time"]] as const)("T04: have a lower and an upper end for %s, a %s", (field, type) => {
    expect(offered([field])).toStrictEqual([
      { name: field, field, type },
      { name: `${field}From`, field, type, bound: "from" },
      { name: `${field}To`, field, type, bound: "to" },
    ]);
  });

  test.each(
    [
      [["createdAt", "created", "timestamp", "triggeredAt"], "createdAt"],
      [["triggeredAt", "timestamp", "created"], "created"],
      [["triggeredAt", "timestamp"], "timestamp"],
      [["triggeredAt"], "triggeredAt"],
    ] as const,
  )("T04: with the sortable fields %j, filter the time of creation by %s", (sortable, field) => {
    const bounds = [
      { name: "createdFrom", field, type: "time", bound: "from" },
      { name: "createdTo", field, type: "time", bound: "to" },
    ];
    expect(offered(undefined, sortable)).toStrictEqual(bounds);
    expect(offered([field])).toEqual(expect.arrayContaining(bounds));
    expect(parseSort({ ...door, sortable })).toEqual([{ field, direction: "desc" }]);
  });

  test("T04: contain no parameter twice, even if a field is named like the time of creation", () => {
    expect(offered(["created"]).map(({ name }) => name)).toEqual(["created", "createdFrom", "createdTo"]);
  });

  test("T04: are empty if nothing is declared, and are computed once", () => {
    expect(offered(undefined)).toEqual([]);
    expect(offered(["note"], ["note"])).toHaveLength(1);
    expect(filtersOf(tenant)).toBe(filtersOf(tenant));
  });

  test("T04: do not change the default order: without a time of creation, the first time field, latest first", () => {
    expect(parseSort({ ...door, sortable: ["height", "oiledAt"] })).toEqual([{ field: "oiledAt", direction: "desc" }]);
    expect(parseSort({ ...door, sortable: ["height"] })).toEqual([]);
  });
});

describe("a text to search for", () => {
  test.each(["a", "É", "e\u0301", "%", " ", "a b", "Ω"])("T05: can be %j", (text) => {
    expect(searchProblem(text)).toBeNull();
  });

  test.each(["a\nb", "\n", "\t", "a\u0000", "\u0085"])("T05: must not contain control characters, such as %j", (text) => {
    expect(searchProblem(text)).toBe("must have no line breaks or other control characters");
  });

  test.each(["\u0300", "\u036f", "\u0301\u0308"])("T05: must contain more than the accents %j", (text) => {
    expect(searchProblem(text)).toBe("must contain more than accents");
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
    "T04: tenants cannot be sorted by %j",
    (sort) => {
      expect(() => parseSort(tenant, sort)).toThrowError(refusal("sort", "unknown_field"));
    },
  );

  test.each([
    ["colour", "must not contain colour, by which this list cannot be sorted", "unknown_field"],
    ["name,", "must not contain an empty name, by which this list cannot be sorted", "unknown_field"],
    ["name,-name", "must not contain a field twice", "duplicate_field"],
  ])("H01: a sort by %j is refused, because it %s", (sort, message, code) => {
    expect(() => parseSort(tenant, sort)).toThrowError(expect.objectContaining({ fields: [{ path: "sort", message, code }] }));
  });

  test("T04: the default and every declared sort of every entity is accepted by the store", () => {
    for (const entity of registry) {
      const sorts = [undefined, ...entity.sortable ?? []];
      for (const sort of sorts) expect(() => wireOrder(entity, parseSort(entity, sort)), `${entity.name} ${sort}`).not.toThrow();
    }
  });
});
