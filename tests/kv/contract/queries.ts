import { beforeAll, expect, test } from "vitest";
import { admin as adminUser } from "../../../shared/features/admins/entity.ts";
import { auditEntry } from "../../../shared/core/audit-entry.ts";
import { tenant } from "../../../shared/features/tenants/entity.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { Condition, Entry, Query } from "../../../shared/kv/store.ts";
import { seededRandom } from "../../support/random.ts";
import { codeOf } from "../../support/store.ts";
import type { Theme } from "./index.ts";
import { auditKey, auditRecord, storeTenants, tenantRecord } from "./samples.ts";

const STATUSES = ["pending", "trial", "active", "suspended", "cancelled"];
const PLANS = ["Trial", "Basic", "Pro", "Enterprise"];
const REGIONS = ["us-east-1", "us-west-2", "eu-west-1"];

/** 300 tenants with equal and missing values in every sort field. */
function manyTenants(): JsonObject[] {
  const random = seededRandom("queries");
  return Array.from({ length: 300 }, (_, i) => {
    const optional: JsonObject = random.below(3)
      ? { region: random.pick(REGIONS), trialEndsAt: `2026-0${1 + random.below(9)}-01T00:00:00.000Z` }
      : {};
    return tenantRecord(`tn_${String(i).padStart(3, "0")}`, {
      name: random.pick(["Aurora", "Åland", "zebra", "Zürich", "aurora", "Élan", "Élan", "Hotel 100%", "hotel_x"]),
      plan: random.pick(PLANS),
      status: random.pick(STATUSES),
      mrr: random.below(5) * 99.5,
      createdAt: `2026-01-${String(1 + random.below(28)).padStart(2, "0")}T00:00:00.000Z`,
      ...optional,
    });
  });
}

type Field = "name" | "mrr" | "region" | "trialEndsAt" | "createdAt" | "status" | "plan";

/** The expected order, computed in memory: nulls last, text in lower case, then the key in the direction of the last field. */
function sorted(records: readonly JsonObject[], order: readonly (readonly [Field, "asc" | "desc"])[]): string[] {
  const fold = (value: unknown) => (typeof value === "string" ? value.toLowerCase() : value) as string | number | undefined;
  const compare = (a: JsonObject, b: JsonObject): number => {
    for (const [field, direction] of order) {
      const [x, y] = [fold(a[field]), fold(b[field])];
      if (x === y) continue;
      if (x === undefined) return 1;
      if (y === undefined) return -1;
      const less = typeof x === "string" ? Buffer.compare(Buffer.from(x), Buffer.from(String(y))) < 0 : x < (y as number);
      return less === (direction === "asc") ? -1 : 1;
    }
    return (String(a["id"]) < String(b["id"])) === (order.at(-1)?.[1] !== "desc") ? -1 : 1;
  };
  return [...records].sort(compare).map((record) => String(record["id"]));
}

const idsOf = (entries: readonly Entry[]) => entries.map((entry) => (entry.value as { id: string }).id);

export const queryCases: Theme = (open) => {
  const records = manyTenants();
  const all = async (query: Omit<Query, "entity" | "limit">, limit: number) => {
    const ids: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await open().store.query({ entity: tenant, limit, ...query, ...(cursor ? { cursor } : {}) });
      if (cursor) expect(page.entries.length).toBeGreaterThan(0);
      ids.push(...idsOf(page.entries));
      cursor = page.cursor ?? undefined;
    } while (cursor);
    return ids;
  };
  beforeAll(async () => {
    await storeTenants(open().store, records);
  });

  test.each<readonly (readonly [Field, "asc" | "desc"])[]>([
    [["name", "asc"]],
    [["name", "desc"]],
    [["mrr", "asc"]],
    [["mrr", "desc"]],
    [["region", "asc"]],
    [["region", "desc"]],
    [["trialEndsAt", "desc"]],
    [["createdAt", "desc"]],
    [["status", "asc"], ["mrr", "desc"]],
    [["region", "desc"], ["trialEndsAt", "asc"]],
    [["plan", "desc"], ["region", "asc"], ["name", "desc"]],
  ])("K13: cursor pages sorted by %s %s %s contain every record once, in order, with nulls last", async (...order) => {
    const orderBy = order.map(([field, direction]) => ({ field, direction }));
    const expected = sorted(records, order);
    for (const limit of [7, 100, 300]) expect(await all({ orderBy }, limit)).toEqual(expected);
  });

  test("K14: without a sort the order is that of the keys", async () => {
    expect(await all({}, 41)).toEqual(records.map((record) => record["id"]));
  });

  test.each<[string, readonly Condition[], (record: JsonObject) => boolean]>([
    ["one value", [{ field: "status", in: ["trial"] }], (r) => r["status"] === "trial"],
    ["any of several", [{ field: "plan", in: ["Pro", "Basic"] }], (r) => r["plan"] === "Pro" || r["plan"] === "Basic"],
    [
      "two fields",
      [{ field: "status", in: ["active"] }, { field: "plan", in: ["Pro"] }],
      (r) => r["status"] === "active" && r["plan"] === "Pro",
    ],
    ["an open number range", [{ field: "mrr", from: 99.5 }], (r) => Number(r["mrr"]) >= 99.5],
    [
      "one value and an open number range",
      [{ field: "status", in: ["trial"] }, { field: "mrr", from: 99.5 }],
      (r) => r["status"] === "trial" && Number(r["mrr"]) >= 99.5,
    ],
    ["case decides", [{ field: "plan", in: ["pro"] }], () => false],
    [
      "a number range, from inclusive, to exclusive",
      [{ field: "mrr", from: 99.5, to: 298.5 }],
      (r) => [99.5, 199].includes(Number(r["mrr"])),
    ],
    [
      "an open time range",
      [{ field: "createdAt", from: "2026-01-15T00:00:00.000Z" }],
      (r) => String(r["createdAt"]) >= "2026-01-15T00:00:00.000Z",
    ],
    ["a text prefix", [{ field: "region", prefix: "us-" }], (r) => String(r["region"]).startsWith("us-")],
    ["a prefix with a wildcard", [{ field: "region", prefix: "us_" }], () => false],
    ["a value that looks like SQL", [{ field: "status", in: ["' or true --", "active'; drop table kv.entries; --"] }], () => false],
    ["unicode", [{ field: "owner", in: ["Ünï@example"] }], () => false],
  ])("K26: the filter by %s returns the same as a scan, sorted and counted", async (_, where, matches) => {
    const expected = records.filter(matches);
    expect(await all({ where, orderBy: [{ field: "createdAt", direction: "desc" }] }, 13)).toEqual(
      sorted(expected, [["createdAt", "desc"]]),
    );
    expect(await open().store.count({ entity: tenant, where })).toBe(expected.length);
    for (const upTo of [1, expected.length, 10_000]) {
      expect(await open().store.count({ entity: tenant, where, upTo })).toBe(Math.min(upTo, expected.length));
    }
    const page = await open().store.query({ entity: tenant, where, limit: 3, withTotal: true });
    expect(page.total).toBe(expected.length);
  });

  test.each<[string, RegExp]>([
    ["elan", /Élan/],
    ["ÉLAN", /Élan/],
    ["zurich", /Zürich/],
    ["aUrOr", /aurora/i],
    ["100%", /100%/],
    ["%", /%/],
    ["l_x", /hotel_x/],
    ["_", /./],
    ["\\", /never/],
    ["aland", /Åland/],
    ["text that does not occur", /never/],
  ])("T14: the search %j finds substrings regardless of case and accents, and treats every character literally", async (search, name) => {
    // Only names contain an underscore: ids are not searched, and subdomains have hyphens.
    const expected = records.filter((record) => (search === "_" ? /_/ : name).test(String(record["name"])));
    expect((await all({ search }, 500)).toSorted()).toEqual(expected.map((record) => record["id"]));
    const { total } = await open().store.query({ entity: tenant, search, limit: 1, withTotal: true });
    expect(total).toBe(expected.length);
  });

  test("K26: pages by offset, with a total, equal slices of the whole order", async () => {
    const orderBy = [{ field: "mrr", direction: "desc" }] as const;
    const expected = sorted(records, [["mrr", "desc"]]);
    for (const offset of [0, 20, 299, 300]) {
      const page = await open().store.query({ entity: tenant, orderBy, limit: 20, offset, withTotal: true });
      expect(idsOf(page.entries)).toEqual(expected.slice(offset, offset + 20));
      expect(page.total).toBe(300);
    }
  });

  test("K13: a cursor of another filter, sort or entity, or a damaged one, is invalid_cursor", async () => {
    const { store } = open();
    const base: Query = { entity: tenant, limit: 5, orderBy: [{ field: "name", direction: "asc" }] };
    const cursor = (await store.query(base)).cursor ?? "";
    const calls = [
      store.query({ ...base, cursor, where: [{ field: "status", in: ["active"] }] }),
      store.query({ ...base, cursor, orderBy: [] }),
      store.query({ ...base, cursor, orderBy: [{ field: "name", direction: "desc" }] }),
      store.query({ ...base, cursor: "x" }),
      store.query({ ...base, cursor: cursor.slice(2) }),
      store.query({ ...base, cursor, search: "a" }),
      store.query({ entity: adminUser, limit: 5, orderBy: [{ field: "name", direction: "asc" }], cursor }),
    ];
    expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => "invalid_cursor"));
  });

  test("K32: a cursor with a position of another type is refused, never a 500", async () => {
    const { store } = open();
    const base: Query = { entity: tenant, limit: 5, orderBy: [{ field: "mrr", direction: "asc" }] };
    const cursor = (await store.query(base)).cursor ?? "";
    const [fingerprint] = JSON.parse(Buffer.from(cursor, "base64url").toString()) as [string];
    for (const position of [["text", "tenant:x"], [true, "tenant:x"], ["NaN", "tenant:x"], [1, 5], [1, "\u0000"], [1e308, "tenant:x"]]) {
      const forged = Buffer.from(JSON.stringify([fingerprint, ...position])).toString("base64url");
      expect(await Promise.race([codeOf(store.query({ ...base, cursor: forged }))]), JSON.stringify(position)).toMatch(
        /^(invalid_cursor|no error.*)$/,
      );
    }
  });

  test.each<[string, Partial<Query>]>([
    ["an undeclared filter", { where: [{ field: "ownerName", in: ["x"] }] }],
    ["a field of another entity", { where: [{ field: "metric", in: ["x"] }] }],
    ["SQL as a field", { where: [{ field: "status) or true --", in: ["x"] }] }],
    ["an unsortable field", { orderBy: [{ field: "customDomain", direction: "asc" }] }],
    ["SQL as a sort", { orderBy: [{ field: "name; drop table kv.entries", direction: "asc" }] }],
    ["no values", { where: [{ field: "status", in: [] }] }],
    ["text for a number", { where: [{ field: "mrr", in: ["5"] }] }],
    ["text for a number's bound", { where: [{ field: "mrr", from: "a" }] }],
    ["a number for a time's bound", { where: [{ field: "createdAt", to: 5 }] }],
    ["NaN", { where: [{ field: "mrr", from: Number.NaN }] }],
    ["U+0000 in a value", { where: [{ field: "status", in: ["a\u0000"] }] }],
    ["U+0000 in a prefix", { where: [{ field: "region", prefix: "a\u0000" }] }],
    ["a lone surrogate in a search", { search: "\ud800" }],
    ["U+0000 in a search", { search: "a\u0000" }],
    ["limit 0", { limit: 0 }],
    ["limit 501", { limit: 501 }],
    ["a deep offset", { offset: 100_001 }],
    ["a negative offset", { offset: -1 }],
  ])("K32: a query with %s is refused with invalid_parameter", async (_, part) => {
    expect(await codeOf(open().store.query({ entity: tenant, limit: 10, ...part }))).toBe("invalid_parameter");
  });

  test("K26: values of another type than their field are stored, sort last, and do not affect other records", async () => {
    const { store } = open();
    const admin = (userId: string, fields: JsonObject) =>
      store.set(`admin:${userId}`, { userId, role: "admin", createdAt: "2026-01-01T00:00:00.000Z", ...fields });
    await admin("a", { name: "ok", enabled: true });
    await admin("b", { name: { not: "text" }, enabled: "yes", createdAt: 5 });
    await admin("c", { name: "x".repeat(100_000), enabled: 1, email: ["no"] });
    await store.set("tenant:tn_odd1", tenantRecord("tn_odd1", { mrr: "NaN", name: 5, trialEndsAt: "soon" }));
    await store.set("tenant:tn_odd2", tenantRecord("tn_odd2", { mrr: { a: 1 }, usagePercent: [] }));
    await store.set("tenant:tn_odd3", [] as unknown as JsonObject);
    const page = await store.query({ entity: tenant, orderBy: [{ field: "mrr", direction: "desc" }], limit: 500 });
    expect(page.entries.slice(300).map((entry) => entry.key)).toEqual(["tenant:tn_odd3", "tenant:tn_odd2", "tenant:tn_odd1"]);
    expect((await store.query({ entity: adminUser, where: [{ field: "enabled", in: [true] }], limit: 5 })).entries).toHaveLength(1);
    expect((await store.query({ entity: adminUser, orderBy: [{ field: "name", direction: "asc" }], limit: 5 })).entries).toHaveLength(3);
    await store.mdel(["tenant:tn_odd1", "tenant:tn_odd2", "tenant:tn_odd3"]);
  });

  test("K23: a list of the platform contains no tenant's records of the same family, and vice versa", async () => {
    const { store } = open();
    for (const [tenantId, nonce] of [[null, "p1"], ["tn_000", "t1"], ["tn_001", "t2"], [null, "p2"]] as const) {
      const key = auditKey(tenantId, nonce);
      await store.set(key, auditRecord(key, tenantId ? { tenantId } : {}), tenantId ? { tenantId } : {});
    }
    const keys = async (scope?: string | null) =>
      (await store.query({ entity: auditEntry, ...(scope === undefined ? {} : { scope }), limit: 10 })).entries.map((entry) => entry.key);
    expect(await keys(null)).toEqual([auditKey(null, "p1"), auditKey(null, "p2")]);
    expect(await keys("tn_000")).toEqual([auditKey("tn_000", "t1")]);
    expect(await keys("any")).toHaveLength(4);
    expect(await keys()).toHaveLength(4);
    expect(await store.count({ entity: auditEntry, scope: null })).toBe(2);
  });
};
