import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bootstrapPlatform } from "../../../shared/container.ts";
import type { AdminRole } from "../../../shared/core/scopes.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { scopes } from "../../../shared/features/index.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

type Opened = Awaited<ReturnType<typeof openTestContext>>;
let context: Opened;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

let made = 0;
async function admin(role: AdminRole, enabled = true): Promise<string> {
  const userId = `${role.replace("_", "-")}-${++made}`;
  await context.AdminUserService.create({ userId, email: `${userId}@innkeep.example`, name: userId, role, enabled });
  return userId;
}

/** Deletes through the store, because the services refuse to remove the last super_admin. */
async function removeAll(): Promise<void> {
  await context.store.mdel((await context.dump("admin")).map(({ key }) => key));
  await context.store.mdel((await context.dump("idem")).map(({ key }) => key));
}
beforeEach(removeAll);
afterEach(removeAll);

async function enabledSuperAdmins(): Promise<number> {
  return (await context.AdminUserService.list({ role: "super_admin", enabled: true })).pagination.total ?? -1;
}

describe("admins", () => {
  it("R13: are created with a role, listed, filtered, searched, changed, disabled and removed", async () => {
    await admin("super_admin");
    const support = await admin("support");
    expect(await context.AdminUserService.get(`admin:${support}`)).toMatchObject({
      userId: support,
      role: "support",
      enabled: true,
      permissions: [],
    });
    expect((await context.AdminUserService.list({ role: ["support", "read_only"] }, "email")).data.map(({ userId }) => userId)).toEqual([
      support,
    ]);
    expect((await context.AdminUserService.list({ search: "SUPPORT-" })).pagination.total).toBe(1);
    expect(await context.AdminUserService.update(support, { role: "admin", enabled: false })).toMatchObject({
      role: "admin",
      enabled: false,
    });
    expect((await context.AdminUserService.list({ enabled: false })).data.map(({ userId }) => userId)).toEqual([support]);
    expect(await context.AdminUserService.remove(support)).toBe(true);
    expect(await context.AdminUserService.remove(support)).toBe(false);
    expect(await context.AdminUserService.update(support, { enabled: true })).toBeNull();
  });

  it("R13: bad input is named and a second admin of one id refused", async () => {
    const userId = await admin("admin");
    const data = { userId, email: "x@innkeep.example", name: "X", role: "admin" } as const;
    expect(await codeOf(context.AdminUserService.create(data))).toBe("already_exists");
    for (
      const bad of [{ email: "nobody" }, { role: "owner" }, { userId: "a:b" }, { permissions: ["fly:planes"] }, { hash: "x" }, {
        createdAt: context.clock.iso(),
      }]
    ) {
      expect(await codeOf(context.AdminUserService.create({ ...data, userId: "fresh", ...bad } as never)), JSON.stringify(bad)).toBe(
        "validation_failed",
      );
    }
    expect(await codeOf(context.AdminUserService.update(userId, { userId: "other" } as object))).toBe("validation_failed");
  });

  it("H03: are created once per idempotency key, which cannot be used for another admin", async () => {
    await admin("super_admin");
    const one = { userId: "one", email: "one@innkeep.example", name: "One", role: "support" } as const;
    const send = (given: Parameters<typeof context.AdminUserService.create>[0]) =>
      context.AdminUserService.create(given, { idempotencyKey: "new-admin" });
    const made = await send(one);
    expect(await send(one)).toEqual(made);
    expect(await codeOf(send({ ...one, userId: "two", email: "two@innkeep.example" }))).toBe("idempotency_mismatch");
    expect(await context.AdminUserService.get("two")).toBeNull();
  });

  it("R13: the last login is the latest sign-in, with one audit entry each, whatever the number and order of the calls", async () => {
    const userId = await admin("support");
    const stores = await context.racers(8);
    const before = (await context.auditOf(null)).length;
    const first = "2026-03-01T08:00:00.000Z";
    const second = "2026-03-02T08:00:00.000Z";
    await Promise.all(stores.map((store) => context.over(store).AdminUserService.recordLogin(userId, first)));
    context.clock.advance(1_000);
    expect(await context.AdminUserService.recordLogin(`admin:${userId}`, second)).toMatchObject({
      lastLoginAt: second,
      updatedAt: context.clock.iso(),
    });
    expect(await context.AdminUserService.recordLogin(userId, first)).toEqual(await context.AdminUserService.get(userId));
    expect((await context.AdminUserService.get(userId))?.lastLoginAt).toBe(second);
    const entries = (await context.auditOf(null)).slice(before);
    expect(entries).toMatchObject([
      { action: "admin.signed_in", resourceId: userId, changes: { before: {}, after: { lastLoginAt: first } } },
      { action: "admin.signed_in", resourceId: userId, changes: { before: { lastLoginAt: first }, after: { lastLoginAt: second } } },
    ]);
    expect(await context.AdminUserService.recordLogin("nobody", second)).toBeNull();
    expect(await codeOf(context.AdminUserService.recordLogin(userId, "yesterday"))).toBe("validation_failed");
  });

  it("R11: the last enabled super_admin cannot be removed, disabled or demoted, and every other admin can", async () => {
    const last = await admin("super_admin");
    await admin("super_admin", false);
    const refused = [
      () => context.AdminUserService.remove(last),
      () => context.AdminUserService.update(last, { enabled: false }),
      () => context.AdminUserService.update(last, { role: "admin" }),
      () => context.AdminUserService.update(last, { role: "read_only", enabled: false }),
    ];
    for (const call of refused) expect(await codeOf(call())).toBe("last_super_admin");
    expect(await context.AdminUserService.update(last, { name: "Still here" })).toMatchObject({
      name: "Still here",
      role: "super_admin",
      enabled: true,
    });
    await admin("super_admin");
    expect(await context.AdminUserService.update(last, { role: "admin" })).toMatchObject({ role: "admin" });
  });

  it("R11: super_admins who concurrently remove, disable and demote one another leave exactly one, in each of 15 rounds", async () => {
    const stores = await context.racers(6);
    for (let round = 0; round < 15; round++) {
      await removeAll();
      const ids: string[] = [];
      for (let i = 0; i < 3; i++) ids.push(await admin("super_admin"));
      const outcomes = await Promise.all(stores.map((store, i) => {
        const { AdminUserService } = context.over(store);
        const id = ids[i % 3] ?? "";
        const calls = [
          () => AdminUserService.remove(id),
          () => AdminUserService.update(id, { enabled: false }),
          () => AdminUserService.update(id, { role: "admin" }),
        ];
        return codeOf((calls[(i + round) % 3] ?? calls[0])?.() ?? (() => null));
      }));
      expect(outcomes.filter((code) => !code.startsWith("no error") && !["last_super_admin", "write_conflict", "not_found"].includes(code)))
        .toEqual([]);
      expect(await enabledSuperAdmins(), `round ${round}: ${outcomes.join()}`).toBeGreaterThanOrEqual(1);
    }
  });

  it("R11: an admin who is promoted during a change or removal by a lesser admin is not changed or removed", async () => {
    await admin("super_admin");
    const deputy = { actor: { type: "admin" as const, id: "deputy" }, scopes: scopes.ofAdmin("admin", ["write:admins"]) };
    for (const act of ["update", "remove"] as const) {
      const userId = await admin("support");
      // The promotion commits between the deputy's decision and its commit.
      let promoted = false;
      const store: Store = new Proxy(context.store, {
        get: (target, name) => {
          const member: unknown = Reflect.get(target, name);
          if (typeof member !== "function") return member;
          if (name !== "commit" || promoted) return member.bind(target) as unknown;
          return async (...call: Parameters<Store["commit"]>) => {
            promoted = true;
            await context.AdminUserService.update(userId, { role: "super_admin" });
            return await target.commit(...call);
          };
        },
      });
      const { AdminUserService } = context.over(store, deputy);
      const calls = {
        update: () => AdminUserService.update(userId, { enabled: false }),
        remove: () => AdminUserService.remove(userId),
      };
      expect(await codeOf(calls[act]())).toBe("forbidden");
      expect(await context.AdminUserService.get(userId)).toMatchObject({ role: "super_admin", enabled: true });
    }
    const peer = { userId: "peer", email: "p@x.example", name: "P", role: "super_admin" } as const;
    expect(await codeOf(context.as(deputy).AdminUserService.create(peer))).toBe("forbidden");
  });

  it("R11: a tenant's caller neither sees nor creates an admin", async () => {
    const userId = await admin("super_admin");
    const { id } = await context.tenant();
    const { AdminUserService } = context.as(userOf(id));
    expect(await AdminUserService.get(userId)).toBeNull();
    expect((await AdminUserService.list()).data).toEqual([]);
    expect(
      (await codeOf(AdminUserService.create({ userId: "evil", email: "e@x.example", name: "E", role: "super_admin" }))).startsWith(
        "no error",
      ),
    ).toBe(false);
    expect(await AdminUserService.update(userId, { enabled: false })).toBeNull();
    expect(await AdminUserService.remove(userId)).toBe(false);
    expect(await codeOf(AdminUserService.bootstrap({ userId: "evil", email: "e@x.example" }))).not.toMatch(/^no error/);
    expect(await context.AdminUserService.get("evil")).toBeNull();
  });
});

describe("the bootstrap of the first admin", () => {
  const system = () => context.over(context.store, systemContext(context.clock));

  it("R14: creates an enabled super_admin once, is audited, and is closed afterwards", async () => {
    const before = (await context.auditOf(null)).length;
    expect(await system().AdminUserService.bootstrap({ userId: "first", email: "first@innkeep.example" }))
      .toMatchObject({ userId: "first", role: "super_admin", enabled: true });
    expect(await codeOf(system().AdminUserService.bootstrap({ userId: "second", email: "second@innkeep.example" }))).toBe(
      "bootstrap_closed",
    );
    expect(await codeOf(system().AdminUserService.bootstrap({ userId: "first", email: "first@innkeep.example" }))).toBe("bootstrap_closed");
    const entries = (await context.auditOf(null)).slice(before);
    expect(entries).toMatchObject([{ resource: "admin", resourceId: "first", actor: { type: "system" } }]);
  });

  it("R14: is not closed by a disabled super_admin or an enabled admin, and promotes an existing admin", async () => {
    const disabled = await admin("super_admin", false);
    await admin("admin");
    expect(await system().AdminUserService.bootstrap({ userId: disabled, email: "raised@innkeep.example" })).toMatchObject({
      role: "super_admin",
      enabled: true,
    });
    expect(await enabledSuperAdmins()).toBe(1);
  });

  it("R14: comes after the plans, completes an interrupted start, and restores no deleted plan once it is closed", async () => {
    const clean = await openTestContext();
    const { store, clock } = clean;
    const first = { userId: "first", email: "first@innkeep.example" };
    const services = clean.over(store, systemContext(clock));
    for (const id of ["Basic", "Pro"]) await services.PlanService.delete(id);
    const racing = await Promise.all(
      [1, 2].map(() => bootstrapPlatform(services, first).then(({ admin }) => admin.role, (error: unknown) => error)),
    );
    expect(racing).toContain("super_admin");
    expect(racing).toContainEqual(expect.objectContaining({ code: "bootstrap_closed" }));
    expect((await services.PlanService.list()).data).toHaveLength(4);
    await services.PlanService.delete("Basic");
    expect(await codeOf(bootstrapPlatform(services, first))).toBe("bootstrap_closed");
    expect(await services.PlanService.get("Basic")).toBeNull();
    await clean.close();
  });

  it("R14: within a minute of a bootstrap whose admin was lost, the next one is refused with the time to retry, and then succeeds", async () => {
    const first = { userId: "lost", email: "lost@innkeep.example" };
    await system().AdminUserService.bootstrap(first);
    await context.store.del("admin:lost");
    await expect(system().AdminUserService.bootstrap(first)).rejects.toMatchObject({
      code: "write_conflict",
      message: `Another bootstrap ran within the last minute. Try again at ${context.clock.iso(60_000)}.`,
    });
    context.clock.advance(60_000);
    expect(await system().AdminUserService.bootstrap(first)).toMatchObject({ userId: "lost", enabled: true });
  });

  it("R14: of 20 racing calls with different users exactly one wins, in each of 15 rounds", async () => {
    const stores = await context.racers(20);
    for (let round = 0; round < 15; round++) {
      await removeAll();
      const codes = await Promise.all(
        stores.map((store, i) =>
          codeOf(
            context.over(store, systemContext(context.clock)).AdminUserService.bootstrap({
              userId: `racer-${i}`,
              email: `r${i}@innkeep.example`,
            }),
          )
        ),
      );
      expect(codes.filter((code) => code.startsWith("no error"))).toHaveLength(1);
      expect(new Set(codes.filter((code) => !code.startsWith("no error")))).toEqual(new Set(["bootstrap_closed"]));
      expect(await enabledSuperAdmins(), `round ${round}`).toBe(1);
    }
  });
});
