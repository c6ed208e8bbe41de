import { DEFAULT_REGIONS } from "../../../shared/core/platform.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Tenant } from "../../../shared/features/tenants/entity.ts";
import { TENANT_STATUSES } from "../../../shared/features/tenants/entity.ts";
import { codeOf } from "../../support/store.ts";
import { seededRandom } from "../../support/random.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

async function everyTenant(): Promise<Tenant[]> {
  return (await context.dump("tenant")).map(({ value }) => value as Tenant);
}

function counted(values: readonly string[]): Record<string, number> {
  return values.reduce<Record<string, number>>((counts, value) => ({ ...counts, [value]: (counts[value] ?? 0) + 1 }), {});
}

function withoutZeros(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}

/** In whole cents, so that the recount is exact too. */
function recountMrr(tenants: readonly Tenant[]): number {
  return tenants.filter(({ status }) => status === "active" || status === "trial").reduce(
    (cents, { mrr }) => cents + Math.round(mrr * 100),
    0,
  ) / 100;
}

describe("counts and revenue", () => {
  it("T06: counts and MRR equal a brute-force recount after every round of 200 random changes", async () => {
    const random = seededRandom("T06");
    const ids: string[] = [];
    const plans = ["Trial", "Basic", "Pro", "Enterprise"] as const;
    const step = async () => {
      const id = ids.length < 5 || random.below(3) === 0 ? null : random.pick(ids);
      const { TenantService } = context;
      if (id === null) {
        const status = random.pick(["pending", "trial", "active", "cancelled"] as const);
        ids.push((await context.tenant({ plan: random.pick(plans), status, mrr: random.below(100_000) / 100 })).id);
      } else if (random.below(6) === 0) {
        await TenantService.delete(id);
        ids.splice(ids.indexOf(id), 1);
      } else {
        // An illegal transition is refused and must not change the counts either.
        await codeOf(
          random.pick([
            () => TenantService.update(id, { plan: random.pick(plans) }),
            () => TenantService.update(id, { mrr: random.below(100_000) / 100 }),
            () => TenantService.suspend(id, "x"),
            () => TenantService.unsuspend(id),
            () => TenantService.cancel(id),
            () => TenantService.reactivate(id),
          ])(),
        );
      }
    };
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 10; i++) await step();
      const tenants = await everyTenant();
      expect(withoutZeros(await context.TenantService.countByStatus()), `seed ${random.seed}`).toEqual(
        counted(tenants.map(({ status }) => status)),
      );
      expect(withoutZeros(await context.TenantService.countByPlan())).toEqual(counted(tenants.map(({ plan }) => plan)));
      expect(await context.TenantService.calculateTotalMRR()).toBe(recountMrr(tenants));
    }
  });

  it("T06: they hold while 8 writers change tenants at once", async () => {
    const made = await Promise.all(Array.from({ length: 8 }, () => context.tenant()));
    await Promise.all(made.map(async ({ id }, i) => {
      for (const plan of ["Basic", "Enterprise", "Pro", "Trial"]) await context.TenantService.update(id, { plan });
      if (i % 2) await context.TenantService.cancel(id);
    }));
    const tenants = await everyTenant();
    expect(await context.TenantService.stats()).toMatchObject({ total: tenants.length, totalMrr: recountMrr(tenants), currency: "USD" });
    expect(withoutZeros(await context.TenantService.countByStatus())).toEqual(counted(tenants.map(({ status }) => status)));
  });

  it("T06: every status and every plan is counted, with 0 if no tenant has it", async () => {
    expect(Object.keys(await context.TenantService.countByStatus()).sort()).toEqual([...TENANT_STATUSES].sort());
    expect(Object.keys(await context.TenantService.countByPlan()).sort()).toEqual(["Basic", "Enterprise", "Pro", "Trial"]);
  });

  it("T06: a tenant's own caller counts only itself", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    const { TenantService } = context.as(userOf(id));
    expect(withoutZeros(await TenantService.countByStatus())).toEqual({ active: 1 });
    expect(withoutZeros(await TenantService.countByPlan())).toEqual({ Basic: 1 });
    expect(await TenantService.calculateTotalMRR()).toBe(99);
  });

  it("B17: MRR is a twelfth of a yearly price rounded half up, over active and trial, explicit values kept, exact", async () => {
    const before = Math.round(await context.TenantService.calculateTotalMRR() * 100);
    const limits = { users: null, properties: null, rooms: null, bookings: null, api_calls: null, storage: null, customDomains: null };
    // 99 990 / 12 = 8 332.5 cents: half up.
    await context.PlanService.create({ name: "Yearly", price: 99_990, currency: "USD", interval: "yearly", limits });
    expect((await context.tenant({ plan: "Yearly" })).mrr).toBe(83.33);
    for (let i = 0; i < 10; i++) await context.tenant({ mrr: 0.1, status: i % 2 ? "trial" : "active" });
    await context.tenant({ mrr: 1_000, status: "pending" });
    await context.tenant({ mrr: 1_000, status: "cancelled" });
    expect(Math.round(await context.TenantService.calculateTotalMRR() * 100) - before).toBe(8_333 + 100);
  });

  it("B17: a plan change replaces an explicit mrr by the plan's, unless it sets one", async () => {
    const { id } = await context.tenant({ mrr: 5 });
    expect(await context.TenantService.update(id, { name: "Same plan" })).toMatchObject({ mrr: 5, mrrSource: "explicit" });
    expect(await context.TenantService.update(id, { plan: "Basic" })).toMatchObject({ mrr: 99, mrrSource: "plan" });
    expect(await context.TenantService.update(id, { plan: "Enterprise", mrr: 777.77 })).toMatchObject({
      mrr: 777.77,
      mrrSource: "explicit",
    });
  });
});

describe("lists of tenants", () => {
  it("T04: filters by any of several values, sorts by every declared field, pages by number and by cursor alike", async () => {
    const where = { status: ["active", "trial"], region: "eu-west-1" };
    for (let i = 0; i < 25; i++) {
      await context.tenant({
        name: `Listed ${String.fromCharCode(65 + (i % 26))}`,
        region: DEFAULT_REGIONS[2],
        status: i % 3 ? "active" : "trial",
        mrr: i,
      });
    }
    for (const sort of ["name", "-mrr", "plan,-createdAt", "trialEndsAt", "-trialEndsAt", { field: "mrr", direction: "asc" } as const]) {
      const byPage: string[] = [];
      for (let page = 1; page <= 3; page++) {
        const answer = await context.TenantService.list(where, sort, { page, limit: 10 });
        expect(answer.pagination).toMatchObject({ page, limit: 10, total: 25, totalPages: 3, hasNext: page < 3, hasPrev: page > 1 });
        byPage.push(...answer.data.map(({ id }) => id));
      }
      const byCursor: string[] = [];
      let cursor: string | undefined;
      do {
        const answer = await context.TenantService.list(where, sort, cursor === undefined ? { limit: 7 } : { limit: 7, cursor });
        if (cursor !== undefined) {
          expect(Object.keys(answer.pagination).filter((name) => !["limit", "hasNext", "nextCursor"].includes(name))).toEqual([]);
        }
        byCursor.push(...answer.data.map(({ id }) => id));
        cursor = answer.pagination.nextCursor;
      } while (cursor !== undefined);
      expect(byCursor, JSON.stringify(sort)).toEqual(byPage);
      expect(new Set(byPage).size).toBe(25);
    }
    const { data } = await context.TenantService.list({ ...where, plan: "plan:Pro" }, "-mrr", { limit: 3 });
    expect(data.map(({ mrr }) => mrr)).toEqual([24, 23, 22]);
  });

  it("T04: an undeclared filter or sort is refused, never ignored", async () => {
    const { TenantService } = context;
    for (
      const call of [
        TenantService.list({ colour: "red" }),
        TenantService.list({}, "colour"),
        TenantService.list({}, "-metadata"),
        TenantService.list({}, undefined, { limit: 0 }),
        TenantService.list({}, undefined, { limit: 101 }),
        TenantService.list({}, undefined, { page: 0 }),
        TenantService.list({}, undefined, { page: 1.5 }),
        TenantService.list({ mrr: "many" }),
        TenantService.list({ mrrFrom: "many" }),
        TenantService.list({ createdFrom: "yesterday" }),
        TenantService.list({ nameFrom: "a" }),
        context.PlanService.list({ colour: "red" }),
      ]
    ) expect(await codeOf(call)).toBe("invalid_parameter");
    const { pagination } = await TenantService.list({}, "name", { limit: 1 });
    const { nextCursor = "" } = pagination;
    expect(await codeOf(TenantService.list({}, "-name", { cursor: nextCursor }))).toBe("invalid_cursor");
    expect(await codeOf(TenantService.list({ status: "active" }, "name", { cursor: nextCursor }))).toBe("invalid_cursor");
    expect(await codeOf(TenantService.list({}, "name", { cursor: "garbage" }))).toBe("invalid_cursor");
  });

  it("T04: a refusal names the parameter as it was sent, and no internal name", async () => {
    for (const [filters, name] of [[{ colour: "red" }, "colour"], [{ createdTo: "soon" }, "createdTo"]] as const) {
      const refusal = await context.AdminUserService.list(filters).then(() => null, (error: unknown) => error);
      expect(refusal).toMatchObject({ code: "invalid_parameter", fields: [{ path: name }] });
      expect(String(refusal)).not.toContain("admin-user");
    }
  });

  it("T04: createdFrom is inclusive, createdTo is exclusive", async () => {
    context.clock.advance(1_000);
    const from = context.clock.iso();
    const first = await context.tenant();
    context.clock.advance(1_000);
    const to = context.clock.iso();
    await context.tenant();
    const { data } = await context.TenantService.list({ createdFrom: from, createdTo: to });
    expect(data.map(({ id }) => id)).toEqual([first.id]);
  });

  it("T05: search finds a substring of name, subdomain, owner and its name, whatever the case or accents", async () => {
    const a = await context.tenant({
      name: "Hôtel Zürich Spöl",
      subdomain: "zurichspol",
      owner: "reception@spolhaus.example",
      ownerName: "Zoë Ångström",
    });
    await context.tenant({ name: "100% Hotel_X", subdomain: "percent-hotel" });
    for (const search of ["zürich", "ZURICH", "hotel zur", "richspo", "RECEPTION@spol", "zoe ang", "Ångström"]) {
      expect((await context.TenantService.list({ search })).data.map(({ id }) => id), search).toEqual([a.id]);
    }
    for (const search of ["0% h", "l_x"]) expect((await context.TenantService.list({ search })).pagination.total, search).toBe(1);
    expect((await context.TenantService.list({ search: "z%h" })).data).toEqual([]);
    for (const search of ["\u0301", "spol\nzurich"]) expect(await codeOf(context.TenantService.list({ search }))).toBe("invalid_parameter");
  });
});
