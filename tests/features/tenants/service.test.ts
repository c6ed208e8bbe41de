import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codeOf } from "../../support/store.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import { hotel, openTestContext } from "../../support/test-context.ts";

type Opened = Awaited<ReturnType<typeof openTestContext>>;
let context: Opened;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

/** The paths of the field errors of a call that fails. */
async function placesOf(call: Promise<unknown>): Promise<string[]> {
  try {
    await call;
  } catch (error) {
    if (error instanceof InnkeepError) return error.fields.map(({ path }) => path).sort();
    throw error;
  }
  return ["no error"];
}

describe("creating a tenant", () => {
  it("T01: gives it a tn_ id, its times, a version and the defaults of its plan", async () => {
    const created = await context.TenantService.create({
      name: "Hotel Nova",
      subdomain: "nova",
      plan: "Trial",
      owner: "n@nova.example",
      ownerName: "N",
    });
    expect(created.id).toMatch(/^tn_\d{13}_[0-9a-z]{12}$/);
    expect(created).toMatchObject({
      status: "trial",
      mrr: 0,
      mrrSource: "plan",
      created: "2026-03-01",
      createdAt: context.clock.iso(),
      trialEndsAt: context.clock.iso(14 * 86_400_000),
    });
    expect(created.version).toMatch(/^\d+$/);
    expect(await context.TenantService.get(created.id)).toEqual(created);
    expect(await context.TenantService.get(`tenant:${created.id}`)).toEqual(created);
  });

  it("T01: may carry status, mrr and usagePercent; an explicit mrr is marked so", async () => {
    const created = await context.tenant({ status: "pending", mrr: 123.45, usagePercent: 42 });
    expect(created).toMatchObject({ status: "pending", mrr: 123.45, mrrSource: "explicit", usagePercent: 42 });
  });

  it("T01: refuses unknown fields, times and hashes, each named, all at once", async () => {
    const data = {
      ...hotel("mistakes"),
      colour: "red",
      createdAt: "2026-01-01T00:00:00.000Z",
      version: "1",
      name: "",
      owner: "nobody",
      mrr: 1.005,
    };
    expect(await codeOf(context.TenantService.create(data))).toBe("validation_failed");
    expect(await placesOf(context.TenantService.create(data))).toEqual(["/colour", "/createdAt", "/mrr", "/name", "/owner", "/version"]);
  });

  it("T01: accepts an id from an import once, refuses a reserved and a malformed one", async () => {
    const created = await context.tenant({ id: "legacy-17" });
    expect(created.id).toBe("legacy-17");
    expect(await codeOf(context.tenant({ id: "legacy-17" }))).toBe("already_exists");
    for (const id of ["global", "platform", "settings", "stats", "resolve", "tn_1:evil", "tn%", ""]) {
      expect(await codeOf(context.tenant({ id })), id).toBe("validation_failed");
    }
  });

  it("T01: text that the store cannot hold is refused with a pointer, not with an internal error", async () => {
    for (const name of ["Hotel \u0000", "Hotel \ud800"]) {
      expect(await placesOf(context.tenant({ name })), JSON.stringify(name)).toEqual(["/name"]);
      expect(await placesOf(context.tenant({ metadata: { note: name } })), JSON.stringify(name)).toEqual(["/metadata/note"]);
    }
  });

  it("T01: refuses a plan that does not exist, and one that is deactivated", async () => {
    expect(await placesOf(context.tenant({ plan: "Nope" }))).toEqual(["/plan"]);
    await context.PlanService.create({ name: "Old", price: 1, currency: "USD", interval: "monthly", limits: noLimits, active: false });
    expect(await codeOf(context.tenant({ plan: "Old" }))).toBe("plan_inactive");
    expect((await context.tenant({ plan: "plan:Basic" })).plan).toBe("Basic");
  });

  it.each([
    "www",
    "api",
    "admin",
    "app",
    "ab",
    "a".repeat(64),
    "-ab",
    "ab-",
    "Nova",
    "no_va",
    "xn--nva-hoa",
    "127",
    "0x7f",
    "a.b",
    "näh",
    "nova\n",
  ])(
    "T15: %j is never a subdomain",
    async (subdomain) => {
      expect(await placesOf(context.tenant({ subdomain }))).toEqual(["/subdomain"]);
      const { id } = await context.tenant();
      expect(await placesOf(context.TenantService.update(id, { subdomain }))).toEqual(["/subdomain"]);
    },
  );

  it.each([
    "127.0.0.1",
    "2130706433",
    "[::1]",
    "localhost",
    "stay.xn--nva-hoa.example",
    "Stay.Example",
    "stay..example",
    `${"a".repeat(60)}.`.repeat(3),
  ])(
    "T15: %j is never a custom domain",
    async (customDomain) => expect(await placesOf(context.tenant({ customDomain }))).toEqual(["/customDomain"]),
  );
});

const noLimits = { users: null, properties: null, rooms: null, bookings: null, api_calls: null, storage: null, customDomains: null };

describe("finding a tenant", () => {
  it("T02: by id, full key, subdomain and custom domain, in any case", async () => {
    const created = await context.tenant({ subdomain: "findme", customDomain: "stay.findme.example" });
    for (const name of [created.id, `tenant:${created.id}`, "findme", "FindMe", "stay.findme.example"]) {
      expect((await context.TenantService.resolve(name))?.id, name).toBe(created.id);
    }
    for (const name of ["nobody", "", "a:b", "127.0.0.1", "%", "tn_1_"]) expect(await context.TenantService.resolve(name), name).toBeNull();
  });

  it("T02: get of a malformed id is null, never an error", async () => {
    for (const id of ["", ":", "a:b", "%", "x".repeat(600), "ü"]) expect(await context.TenantService.get(id), id).toBeNull();
  });
});

describe("changing a tenant", () => {
  it("T03: is a merge patch: null removes, objects merge, unknown stored fields survive", async () => {
    const { id } = await context.tenant({ region: "eu-west-1", metadata: { a: 1, b: { c: 2 } }, branding: { primaryColor: "#aabbcc" } });
    const entry = await context.store.get(`tenant:${id}`);
    await context.store.set(`tenant:${id}`, { ...entry?.value as object, fromTheFuture: { kept: true } });
    context.clock.advance(1_000);
    const updated = await context.TenantService.update(id, {
      region: null,
      metadata: { b: { d: 3 }, a: null },
      branding: { logoUrl: "https://a.example/l.png" },
    });
    expect(updated).toMatchObject({
      metadata: { b: { c: 2, d: 3 } },
      branding: { primaryColor: "#aabbcc", logoUrl: "https://a.example/l.png" },
      fromTheFuture: { kept: true },
      updatedAt: context.clock.iso(),
    });
    expect(updated).not.toHaveProperty("region");
    expect(updated?.metadata).not.toHaveProperty("a");
    expect(await context.TenantService.get(id)).toEqual(updated);
  });

  it("T03: refuses ids, times, the removal of a required field and a nested value that breaks the schema", async () => {
    const { id } = await context.tenant();
    const patch = { id: "x", createdAt: context.clock.iso(), name: null, usage: 1 } as object;
    expect(await placesOf(context.TenantService.update(id, patch))).toEqual(["/createdAt", "/id", "/name", "/usage"]);
    expect(await placesOf(context.TenantService.update(id, { branding: { primaryColor: "red" } }))).toEqual(["/branding/primaryColor"]);
  });

  it("T03: a stale version is refused and changes nothing, and the current version and * pass", async () => {
    const created = await context.tenant();
    const second = await context.TenantService.update(created.id, { name: "Second" }, { ifMatch: [created.version] });
    expect(await codeOf(context.TenantService.update(created.id, { name: "Third" }, { ifMatch: [created.version] }))).toBe(
      "precondition_failed",
    );
    expect((await context.TenantService.get(created.id))?.name).toBe("Second");
    expect((await context.TenantService.update(created.id, { name: "Third" }, { ifMatch: [second?.version ?? "", "1"] }))?.name).toBe(
      "Third",
    );
    expect((await context.TenantService.update(created.id, { name: "Fourth" }, { ifMatch: "*" }))?.name).toBe("Fourth");
    expect(await context.TenantService.update("tn_none", { name: "x" })).toBeNull();
  });

  it("T03: a patch that changes nothing writes nothing", async () => {
    const created = await context.tenant();
    expect(await context.TenantService.update(created.id, { name: created.name })).toEqual(created);
    expect(await context.auditOf(created.id)).toHaveLength(1);
  });

  it("T03: concurrent writers of different fields lose no change", async () => {
    const { id } = await context.tenant();
    const patches = [{ name: "New name" }, { ownerName: "New owner" }, { region: "us-east-1" as const }];
    await Promise.all(patches.map((patch) => context.TenantService.update(id, patch)));
    expect(await context.TenantService.get(id)).toMatchObject({ name: "New name", ownerName: "New owner", region: "us-east-1" });
    expect((await context.auditOf(id)).map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
  });

  it("T03: a record of nearly 256 KiB can be changed, since its audit entry and event are bounded", async () => {
    const { id } = await context.tenant({ settings: { notes: "x".repeat(200_000) } });
    expect((await context.TenantService.update(id, { settings: { notes: "y".repeat(200_000) } }))?.settings).toEqual({
      notes: "y".repeat(200_000),
    });
    expect(await codeOf(context.TenantService.update(id, { settings: { more: "z".repeat(80_000) } }))).toBe("payload_too_large");
  });

  it("T02: a change of names moves the claims, frees the old ones and refuses those of another", async () => {
    const a = await context.tenant({ subdomain: "mover", customDomain: "stay.mover.example" });
    const b = await context.tenant({ subdomain: "stayer", customDomain: "stay.stayer.example" });
    expect(await codeOf(context.TenantService.update(a.id, { subdomain: "stayer" }))).toBe("subdomain_taken");
    expect(await codeOf(context.TenantService.update(a.id, { customDomain: "stay.stayer.example" }))).toBe("domain_taken");
    await context.TenantService.update(a.id, { subdomain: "moved", customDomain: null });
    expect(await context.TenantService.resolve("mover")).toBeNull();
    expect(await context.TenantService.resolve("stay.mover.example")).toBeNull();
    expect((await context.TenantService.resolve("moved"))?.id).toBe(a.id);
    await context.TenantService.update(b.id, { subdomain: "mover", customDomain: "stay.mover.example" });
    expect((await context.TenantService.resolve("mover"))?.id).toBe(b.id);
  });
});
