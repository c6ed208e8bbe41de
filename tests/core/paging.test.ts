import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { Collection } from "../../shared/core/collection.ts";
import { listPage, type ListRequest, type Pagination } from "../../shared/core/paging.ts";
import { instant } from "../../shared/core/values.ts";
import { defineEntity } from "../../shared/kv/define.ts";
import { freshStore, type OpenStore } from "../support/store.ts";

const lamp = defineEntity({
  name: "lamp",
  summary: "Declared for this test.",
  key: "lamp:{tenantId}:{id}",
  schema: z.looseObject({ id: z.string(), tenantId: z.string(), room: z.string(), watts: z.number(), createdAt: instant }),
  owner: "tenant",
  filterable: ["room", "watts"],
  sortable: ["room", "watts", "createdAt"],
  searchable: ["room"],
  example: { id: "a", tenantId: "tn_1", room: "hall", watts: 5, createdAt: "2026-01-01T00:00:00.000Z" },
});

let opened: OpenStore;
let lamps: Collection<typeof lamp>;
beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
  lamps = new Collection(lamp, opened.store);
  const all = Array.from({ length: 25 }, (_, i) =>
    lamps.set({
      id: `l${String(i).padStart(2, "0")}`,
      tenantId: i % 5 === 0 ? "tn_1" : "tn_2",
      room: i % 5 === 0 ? "hall" : "bath",
      watts: i % 3,
      createdAt: opened.clock.iso(i * 1_000),
    }));
  await opened.store.commit([], all);
});
afterAll(() => opened.close());

const ids = async (request: ListRequest) => (await listPage(lamps, request)).data.map(({ id }) => id);

describe("a page of a list", () => {
  test("T04: has 20 records by default, newest first, and the total", async () => {
    const { data, pagination } = await listPage(lamps, {});
    expect(data.map(({ id }) => id)).toEqual(Array.from({ length: 20 }, (_, i) => `l${String(24 - i).padStart(2, "0")}`));
    expect(pagination).toEqual({
      page: 1,
      limit: 20,
      total: 25,
      totalPages: 2,
      hasPrev: false,
      hasNext: true,
      nextCursor: expect.any(String),
    });
  });

  test("T04: with a number begins where the previous one ended, and the last one has no next", async () => {
    const pagination = { page: 3, limit: 10 };
    expect(await ids({ pagination })).toEqual(["l04", "l03", "l02", "l01", "l00"]);
    const last = await listPage(lamps, { pagination });
    expect(last.pagination).toStrictEqual({ page: 3, limit: 10, total: 25, totalPages: 3, hasPrev: true, hasNext: false });
    expect((await listPage(lamps, { pagination: { page: 4, limit: 10 } })).data).toEqual([]);
  });

  test("T04: with a cursor continues after it, without numbers and totals", async () => {
    const first = await listPage(lamps, { pagination: { limit: 12 } });
    const cursor = first.pagination.nextCursor ?? "";
    const second = await listPage(lamps, { pagination: { limit: 12, cursor } });
    expect(second.pagination).toStrictEqual({ limit: 12, hasNext: true, nextCursor: expect.any(String) });
    const third = await listPage(lamps, { pagination: { limit: 12, cursor: second.pagination.nextCursor ?? "" } });
    expect(third.pagination).toStrictEqual({ limit: 12, hasNext: false });
    const walked = [first, second, third].flatMap(({ data }) => data.map(({ id }) => id));
    expect(walked).toEqual(Array.from({ length: 25 }, (_, i) => `l${String(24 - i).padStart(2, "0")}`));
  });

  test("T04: of an empty list reports no pages, and an empty cursor counts as absent", async () => {
    const none = await listPage(lamps, { where: [{ field: "room", in: ["attic"] }], pagination: { cursor: "" } });
    expect(none).toStrictEqual({ data: [], pagination: { page: 1, limit: 20, total: 0, totalPages: 0, hasPrev: false, hasNext: false } });
  });

  test("T04: contains only the records that match filter, search and scope", async () => {
    const halls = ["l20", "l15", "l10", "l05", "l00"];
    expect(await ids({ where: [{ field: "room", in: ["hall"] }] })).toEqual(halls);
    expect(await ids({ search: "HAL" })).toEqual(halls);
    expect(await ids({ search: "", pagination: { limit: 1 } })).toEqual(["l24"]);
    expect(await ids({ scope: "tn_1" })).toEqual(halls);
    expect(await ids({ search: "hall", scope: "tn_2" })).toEqual([]);
  });

  test("T04: is sorted by the given text, field or fields, and by default in the order of the list", async () => {
    const limit = { pagination: { limit: 2 } };
    expect(await ids({ sort: "createdAt", ...limit })).toEqual(["l00", "l01"]);
    expect(await ids({ sort: "-room,createdAt", ...limit })).toEqual(["l00", "l05"]);
    expect(await ids({ sort: { field: "createdAt", direction: "asc" }, ...limit })).toEqual(["l00", "l01"]);
    expect(await ids({ sort: [{ field: "watts", direction: "desc" }, { field: "createdAt", direction: "asc" }], ...limit })).toEqual([
      "l02",
      "l05",
    ]);
    for (const sort of ["", undefined]) {
      const page = await listPage(lamps, { sort, ...limit }, [{ field: "createdAt", direction: "asc" }]);
      expect(page.data.map(({ id }) => id)).toEqual(["l00", "l01"]);
    }
  });

  test.each([1, 100])("T04: can have a limit of %i", async (limit) => {
    expect((await listPage(lamps, { pagination: { limit } })).data).toHaveLength(Math.min(limit, 25));
  });

  test.each<[Pagination, string, string]>([
    [{ limit: 0 }, "limit", "must be 1 to 100"],
    [{ limit: 101 }, "limit", "must be 1 to 100"],
    [{ limit: 1.5 }, "limit", "must be 1 to 100"],
    [{ limit: Number.NaN }, "limit", "must be 1 to 100"],
    [{ page: 0 }, "page", "must be 1 or more"],
    [{ page: 1.5 }, "page", "must be 1 or more"],
    [{ page: 1, cursor: "c" }, "page", "cannot be combined with cursor"],
  ])("T04: with %j is refused at %s: it %s", async (pagination, path, message) => {
    await expect(listPage(lamps, { pagination })).rejects.toMatchObject({
      code: "invalid_parameter",
      fields: [{ path, message, code: "invalid" }],
    });
  });
});
