import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createBackend, loadServices } from "../../../shared/container.ts";
import { filtersOf } from "../../../shared/core/list-filters.ts";
import type { Filters } from "../../../shared/core/paging.ts";
import { registry } from "../../../shared/features/registry.ts";
import { tenant as entity } from "../../../shared/features/tenants/entity.ts";
import type { StoredTenant } from "../../../shared/features/tenants/service.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { fieldTypeOf } from "../../../shared/kv/fields.ts";
import { seededRandom } from "../../support/random.ts";
import { codeOf } from "../../support/store.ts";
import { ADMIN, hotel, openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

/** All tenants of a list, read page by page. */
async function all(filters: Filters, sort?: string, limit = 4): Promise<StoredTenant[]> {
  const found: StoredTenant[] = [];
  let cursor: string | undefined;
  do {
    const page = await context.TenantService.list(filters, sort, cursor === undefined ? { limit } : { limit, cursor });
    found.push(...page.data);
    cursor = page.pagination.nextCursor;
  } while (cursor !== undefined);
  return found;
}

const NAMES = ["_x", "Zeta", "alpha", "Äz", "äa", "Beta", "beta", "Éclair", "10 hotels", "9 hotels", "ALPHA 2", "ßeta"];

describe("an order", () => {
  const owner = "order@list.example";
  beforeAll(async () => {
    const random = seededRandom("H07 order");
    for (const [i, name] of NAMES.entries()) {
      context.clock.advance(1_000);
      await context.tenant({
        name,
        owner,
        subdomain: `ordered-${i}`,
        mrr: random.below(3),
        ...(i % 3 === 0 ? {} : { region: random.pick(["us-east-1", "eu-west-1"]) }),
        ...(i % 2 === 0 ? {} : { usagePercent: random.below(3) * 50 }),
        ...(i % 4 === 0 ? { status: "trial", trialEndsAt: context.clock.iso(random.below(3) * 1_000) } : {}),
      });
    }
  });

  /** The specified order: text by its lower-case bytes, missing values last in both directions, then the key. */
  function expected(tenants: readonly StoredTenant[], field: string, descending: boolean): string[] {
    const valueOf = (tenant: StoredTenant) => (tenant as Readonly<Record<string, string | number | undefined>>)[field];
    const compare = (a: string | number, b: string | number) =>
      typeof a === "string" ? Buffer.compare(Buffer.from(a.toLowerCase()), Buffer.from(String(b).toLowerCase())) : a - Number(b);
    const sign = descending ? -1 : 1;
    return [...tenants].sort((one, two) => {
      const [a, b] = [valueOf(one), valueOf(two)];
      if (a === undefined || b === undefined) return a === b ? byKey(one, two, sign) : a === undefined ? 1 : -1;
      return compare(a, b) * sign || byKey(one, two, sign);
    }).map(({ id }) => id);
  }
  const byKey = (a: StoredTenant, b: StoredTenant, sign: number) => (a.id < b.id ? -1 : 1) * sign;

  it("H07: is by every sortable field in both directions, page by page: text by lower-case bytes, missing values last, ties by key", async () => {
    const tenants = await all({ owner });
    expect(tenants).toHaveLength(NAMES.length);
    const fields: readonly string[] = entity.sortable ?? [];
    expect(fields.length).toBeGreaterThan(8);
    for (const field of fields) {
      for (const descending of [false, true]) {
        const sort = `${descending ? "-" : ""}${field}`;
        expect((await all({ owner }, sort, 5)).map(({ id }) => id), sort).toEqual(expected(tenants, field, descending));
      }
    }
  });

  it("H07: by any other field is refused", async () => {
    const sortable: readonly string[] = entity.sortable ?? [];
    const others = [
      ...Object.keys(entity.schema.shape).filter((field) => !sortable.includes(field)),
      "version",
      "key",
      "",
      "-",
      "__proto__",
    ];
    expect(others.length).toBeGreaterThan(10);
    for (const field of others.filter((name) => name !== "")) {
      expect(await codeOf(context.TenantService.list({}, field)), field).toBe("invalid_parameter");
      expect(await codeOf(context.TenantService.list({}, [{ field, direction: "asc" }])), field).toBe("invalid_parameter");
    }
  });
});

describe("a filter", () => {
  it("T04: can be a range for every number and time of every list, and for the time of creation", () => {
    for (const one of registry) {
      const offered = filtersOf(one);
      for (const field of one.filterable ?? []) {
        const isRange = ["number", "time"].includes(fieldTypeOf(one, field));
        const bounds = offered.filter((filter) => filter.field === field && filter.bound && !filter.name.startsWith("created"));
        expect(bounds.map(({ name }) => name), `${one.name} ${field}`).toEqual(isRange ? [`${field}From`, `${field}To`] : []);
      }
    }
    expect(filtersOf(entity).map(({ name }) => name)).toEqual(expect.arrayContaining(["createdFrom", "createdTo"]));
  });

  it("T04: includes the lower end of a range and excludes the upper end", async () => {
    const owner = "range@list.example";
    const end = (day: number) => `2027-01-0${day}T00:00:00.000Z`;
    for (const i of [1, 2, 3]) await context.tenant({ owner, mrr: i, usagePercent: i, status: "trial", trialEndsAt: end(i) });
    for (const [field, at] of [["mrr", (i: number) => i], ["usagePercent", (i: number) => i], ["trialEndsAt", end]] as const) {
      const found = async (filters: Filters) => (await all({ owner, ...filters }, "mrr")).map(({ mrr }) => mrr);
      expect(await found({ [`${field}From`]: at(2) }), field).toEqual([2, 3]);
      expect(await found({ [`${field}To`]: at(2) }), field).toEqual([1]);
      expect(await found({ [`${field}From`]: at(2), [`${field}To`]: at(3) }), field).toEqual([2]);
      expect(await found({ [`${field}From`]: at(2), [`${field}To`]: at(2) }), field).toEqual([]);
      expect(await found({ [field]: [at(1), at(3)] }), field).toEqual([1, 3]);
      expect(await found({ [field]: at(3), [`${field}From`]: at(2) }), field).toEqual([3]);
    }
    expect(await codeOf(context.TenantService.list({ mrrFrom: [1, 2] }))).toBe("invalid_parameter");
    expect(await codeOf(context.TenantService.list({ mrrFrom: Number.NaN }))).toBe("invalid_parameter");
  });

  it("T04: that is empty counts as absent, like an empty search, sort and cursor", async () => {
    const total = async (filters: Filters, sort = "", pagination = {}) =>
      (await context.TenantService.list(filters, sort, { limit: 1, ...pagination })).pagination.total;
    const every = await total({});
    for (const name of filtersOf(entity).map((filter) => filter.name)) {
      for (const empty of ["", [], [""], undefined]) expect(await total({ [name]: empty }), `${name} ${JSON.stringify(empty)}`).toBe(every);
    }
    expect(await total({ search: "" }, "", { cursor: "" })).toBe(every);
    expect(await total({ status: ["", "trial"] })).toBe(await total({ status: "trial" }));
    const audit = (filters: object) => context.AuditService.list(undefined, { limit: 1 }, filters);
    const empty = { resource: "", resourceId: "", action: "", userId: "", userEmail: "", from: "", to: "" };
    expect((await audit(empty)).pagination.total).toBe((await audit({})).pagination.total);
  });
});

describe("a cursor", () => {
  it("H07: works with its own filter, search and sort, however they are written, and with no other", async () => {
    const where: Filters = { status: ["active", "trial"], mrrFrom: 0, search: "hotel" };
    await context.tenant();
    const { pagination: { nextCursor: cursor = "" } } = await context.TenantService.list(where, "-mrr,name", { limit: 1 });
    const same: Filters = { search: "hotel", mrrFrom: 0, status: ["active", "trial"], plan: "" };
    const sort = [{ field: "mrr", direction: "desc" }, { field: "name", direction: "asc" }] as const;
    expect((await context.TenantService.list(same, sort, { cursor })).data.length).toBeGreaterThan(0);
    const others: readonly (readonly [Filters, string])[] = [
      [{ ...where, status: "active" }, "-mrr,name"],
      [{ ...where, mrrFrom: 1 }, "-mrr,name"],
      [{ ...where, mrrTo: 1 }, "-mrr,name"],
      [{ ...where, search: "hote" }, "-mrr,name"],
      [{ ...where, search: "" }, "-mrr,name"],
      [{ ...where, createdFrom: "2020-01-01T00:00:00.000Z" }, "-mrr,name"],
      [where, "mrr,name"],
      [where, "-mrr"],
      [where, "name,-mrr"],
      [where, ""],
    ];
    for (const [filters, order] of others) {
      const code = await codeOf(context.TenantService.list(filters, order, { cursor }));
      expect(code, JSON.stringify([filters, order])).toBe("invalid_cursor");
    }
    expect(await codeOf(context.PlanService.list({}, undefined, { cursor }))).toBe("invalid_cursor");
  });
});

describe("a region", () => {
  it("T27: is one of the platform's, and one that was removed stays readable and found but cannot be set", async () => {
    const servicesOf = await loadServices();
    const on = (...regions: string[]) =>
      servicesOf(
        createBackend({ store: context.store, clock: context.clock, logger: silentLogger, regions })
          .bind({ actor: ADMIN, tenantId: null, requestId: "req_test", clock: context.clock }),
      ).TenantService;
    const [before, after] = [on("moon-1", "moon-2"), on("mars-1")];
    const { id } = await before.create({ ...hotel("selene"), region: "moon-1" });
    const refusal = await after.create({ ...hotel("phobos"), region: "moon-1" }).then(() => null, (error: unknown) => error);
    expect(refusal).toMatchObject({ code: "validation_failed", fields: [{ path: "/region", message: expect.stringContaining("mars-1") }] });
    expect(await codeOf(after.update(id, { region: "moon-2" }))).toBe("validation_failed");
    expect(await codeOf(before.update(id, { region: "us-east-1" }))).toBe("validation_failed");
    expect(await after.get(id)).toMatchObject({ region: "moon-1" });
    expect(await after.update(id, { name: "Renamed" })).toMatchObject({ name: "Renamed", region: "moon-1" });
    expect((await after.list({ region: "moon-1" })).data.map((one) => one.id)).toEqual([id]);
    expect((await after.list({ region: ["nowhere", "moon-1"] })).data).toHaveLength(1);
    expect(await after.update(id, { region: "mars-1" })).toMatchObject({ region: "mars-1" });
    expect(await after.update(id, { region: null })).not.toHaveProperty("region");
  });
});

describe("a logo", () => {
  it("T19: is an https URL, or http on localhost, at creation and in a patch", async () => {
    const { id } = await context.tenant({ branding: { logoUrl: "https://cdn.hotel.example/l.svg", primaryColor: "#001122" } });
    const bad = ["javascript:alert(1)", "data:image/svg+xml,<svg/>", "http://cdn.hotel.example/l.svg", "//cdn.example/l.svg", "l.svg", ""];
    for (const logoUrl of bad) {
      const refused = { code: "validation_failed", fields: [{ path: "/branding/logoUrl" }] };
      const outcome = async (call: Promise<unknown>) => await call.then(() => null, (error: unknown) => error);
      expect(await outcome(context.tenant({ branding: { logoUrl } })), logoUrl).toMatchObject(refused);
      expect(await outcome(context.TenantService.update(id, { branding: { logoUrl } })), logoUrl).toMatchObject(refused);
    }
    for (const logoUrl of ["https://a.example/l.png", "http://localhost:3000/l.png"]) {
      expect((await context.TenantService.update(id, { branding: { logoUrl } }))?.branding).toEqual({ logoUrl, primaryColor: "#001122" });
    }
    expect((await context.TenantService.update(id, { branding: { logoUrl: null } }))?.branding).toEqual({ primaryColor: "#001122" });
  });

  it("T19: that was stored under an older rule stays readable and does not block other changes", async () => {
    const { id } = await context.tenant();
    const entry = await context.store.get(`tenant:${id}`);
    await context.store.set(`tenant:${id}`, { ...entry?.value as object, branding: { logoUrl: "data:image/png,x" } });
    expect((await context.TenantService.get(id))?.branding).toEqual({ logoUrl: "data:image/png,x" });
    const patched = await context.TenantService.update(id, { branding: { primaryColor: "#001122" } });
    expect(patched?.branding).toEqual({ logoUrl: "data:image/png,x", primaryColor: "#001122" });
  });
});
