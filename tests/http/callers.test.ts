import { describe, expect, test } from "vitest";
import { expectProblem, useApi } from "./support/api.ts";
import { AUDIENCE, ISSUER, makeSigner, unsigned } from "./support/tokens.ts";

const api = useApi();
const me = (token: string) => api.send("GET", "/v1/me", { token });

describe("a platform admin", () => {
  test("R13: has the role and permissions of its record in the store", async () => {
    await api.services.AdminUserService.create({
      userId: "u-perm",
      email: "p@innkeep.example",
      name: "P",
      role: "read_only",
      permissions: ["write:plans"],
    });
    const { status, body } = await me(await api.signer.sign("u-perm"));
    expect(status).toBe(200);
    expect(body).toMatchObject({ type: "admin", userId: "u-perm", email: "p@innkeep.example", role: "read_only", tenantId: null });
    expect(body.scopes).toContain("write:plans");
    expect(body.scopes).not.toContain("read:secrets");
  });

  test("R13: loses its rights with the next request once disabled, demoted or removed", async () => {
    await api.services.AdminUserService.create({ userId: "u-gone", email: "g@innkeep.example", name: "G", role: "admin" });
    const token = await api.signer.sign("u-gone");
    const change = () => api.send("POST", "/v1/plans", { token, json: {} });
    expectProblem(await change(), 422, "validation_failed");
    await api.services.AdminUserService.update("u-gone", { role: "read_only" });
    expectProblem(await change(), 403, "insufficient_scope");
    await api.services.AdminUserService.update("u-gone", { enabled: false });
    expectProblem(await me(token), 403, "forbidden");
    await api.services.AdminUserService.update("u-gone", { enabled: true });
    expect((await me(token)).status).toBe(200);
    await api.services.AdminUserService.remove("u-gone");
    expectProblem(await me(token), 403, "forbidden");
  });

  test("R13: has one login recorded for each token, and none for a token without iat", async () => {
    await api.services.AdminUserService.create({ userId: "u-login", email: "i@innkeep.example", name: "I", role: "support" });
    const lastLogin = async () => (await api.services.AdminUserService.get("u-login"))?.lastLoginAt;
    const silent = await api.signer.sign("u-login", { iat: undefined });
    expect((await me(silent)).status).toBe(200);
    expect(await lastLogin()).toBeUndefined();
    const before = await api.auditCount();
    const token = await api.signer.sign("u-login");
    for (let i = 0; i < 3; i++) expect((await me(token)).status).toBe(200);
    expect((await api.send("GET", "/v1/plans", { token })).status).toBe(200);
    expect(await lastLogin()).toBe(api.clock.iso());
    expect(await api.auditCount() - before).toBe(1);
    const { data } = await api.services.AuditService.getByResource("admin", "u-login");
    expect(data.find(({ action }) => action === "admin.signed_in")).toMatchObject({ actor: { type: "admin", id: "u-login" } });
  });

  test("R13: can read a disabled admin and the list of admins", async () => {
    const token = api.admin("super_admin");
    const made = await api.send("POST", "/v1/admins", {
      token,
      json: { userId: "u-list", email: "l@innkeep.example", name: "Lister", role: "support", enabled: false },
    });
    expect(made.status, made.text).toBe(201);
    expect(made.headers.get("location")).toBe("/v1/admins/u-list");
    expect((await api.send("GET", "/v1/admins/admin:u-list", { token })).body).toEqual(made.body);
    const list = await api.send("GET", "/v1/admins?role=support&enabled=false&search=LISTER&sort=-email", { token });
    expect(list.body.data.map((one: { userId: string }) => one.userId)).toEqual(["u-list"]);
    expect((await api.send("DELETE", "/v1/admins/u-list", { token })).status).toBe(204);
    expectProblem(await api.send("DELETE", "/v1/admins/u-list", { token }), 404, "not_found");
  });

  test("R11: cannot change its own role or permissions, and the last super_admin cannot be removed", async () => {
    const token = api.admin("super_admin");
    for (const json of [{ role: "support" }, { enabled: false }]) {
      const answer = await api.send("PATCH", "/v1/admins/user-super_admin", { token, json });
      expect([403, 409]).toContain(answer.status);
    }
    expectProblem(await api.send("DELETE", "/v1/admins/user-super_admin", { token }), 409, "last_super_admin");
    expectProblem(await api.send("PATCH", "/v1/admins/user-super_admin", { token, json: { enabled: false } }), 409, "last_super_admin");
    expectProblem(
      await api.send("PATCH", "/v1/admins/user-super_admin", { token, json: { permissions: ["read:plans"] } }),
      403,
      "forbidden",
    );
    expect((await api.send("PATCH", "/v1/admins/user-super_admin", { token, json: { name: "Renamed" } })).status).toBe(200);
  });

  test("R11: with the permission write:admins cannot grant more than it has", async () => {
    await api.services.AdminUserService.create({
      userId: "u-deputy",
      email: "d@innkeep.example",
      name: "D",
      role: "admin",
      permissions: ["write:admins"],
    });
    const token = await api.signer.sign("u-deputy");
    const json = (role: string, permissions: string[] = []) => ({
      userId: `u-${role}`,
      email: "x@innkeep.example",
      name: "X",
      role,
      permissions,
    });
    expectProblem(await api.send("POST", "/v1/admins", { token, json: json("super_admin") }), 403, "forbidden");
    expectProblem(await api.send("POST", "/v1/admins", { token, json: json("support", ["*"]) }), 403, "forbidden");
    expectProblem(await api.send("PATCH", "/v1/admins/user-super_admin", { token, json: { enabled: false } }), 403, "forbidden");
    expectProblem(await api.send("DELETE", "/v1/admins/user-super_admin", { token }), 403, "forbidden");
    expectProblem(await api.send("PATCH", "/v1/admins/u-deputy", { token, json: { role: "super_admin" } }), 403, "forbidden");
    expect((await api.send("POST", "/v1/admins", { token, json: json("support") })).status).toBe(201);
  });
});

describe("a tenant's user", () => {
  test("R01: has the tenant and role of app_metadata, whatever user_metadata says", async () => {
    const [own, other] = [await api.tenant(), await api.tenant()];
    const token = await api.signer.sign("u-guest", {
      app_metadata: { tenant_id: own.id, tenant_role: "viewer" },
      user_metadata: { tenant_id: other.id, tenant_role: "owner", role: "super_admin", app_metadata: { tenant_id: other.id } },
    });
    expect((await me(token)).body).toMatchObject({
      type: "user",
      role: "viewer",
      tenantId: own.id,
      tenant: { id: own.id, status: "active" },
    });
    expectProblem(await api.send("GET", `/v1/tenants/${other.id}`, { token }), 404, "not_found");
    expectProblem(await api.send("PATCH", `/v1/tenants/${own.id}`, { token, json: { name: "Mine" } }), 403, "insufficient_scope");
  });

  test("R01: with a tenant only in user_metadata is refused", async () => {
    const { id } = await api.tenant();
    const claims = { user_metadata: { tenant_id: id, tenant_role: "owner", role: "super_admin" }, tenant_id: id, tenant_role: "owner" };
    expectProblem(await me(await api.signer.sign("u-self", claims)), 403, "forbidden");
  });

  test("R01: with a malformed tenant, an unknown role or a deleted tenant is refused", async () => {
    const { id } = await api.tenant();
    for (
      const appMetadata of [{ tenant_id: `${id}:x` }, { tenant_id: 7 }, { tenant_id: "global" }, { tenant_id: "tn_none" }, {
        tenant_id: id,
        tenant_role: "root",
      }, { tenant_id: id, tenant_role: ["owner"] }]
    ) {
      expectProblem(await me(await api.signer.sign("u-odd", { app_metadata: appMetadata })), 403, "forbidden");
    }
    expect((await me(await api.signer.sign("u-plain", { app_metadata: { tenant_id: id } }))).body.role).toBe("viewer");
    await api.services.TenantService.delete(id);
    expectProblem(await me(await api.user(id, "owner")), 403, "forbidden");
  });

  test("R13: who is also an enabled platform admin has the rights of the admin", async () => {
    const { id } = await api.tenant();
    const token = await api.signer.sign("user-support", { app_metadata: { tenant_id: id, tenant_role: "owner" } });
    expect((await me(token)).body).toMatchObject({ type: "admin", role: "support", tenantId: null });
  });
});

test("R01: a credential that is not a valid bearer token returns 401 with the check that failed", async () => {
  const stranger = await makeSigner(api.clock);
  const now = api.clock.now() / 1_000;
  const headers = {
    scheme: "Basic dXNlcjpwYXNz",
    empty: "Bearer ",
    two: `Bearer ${api.admin("admin")} x`,
    none: `Bearer ${unsigned({ iss: ISSUER, aud: AUDIENCE, sub: "user-admin", exp: now + 60 })}`,
    stranger: `Bearer ${await stranger.sign("user-super_admin")}`,
    expired: `Bearer ${await api.signer.sign("user-super_admin", { exp: now - 1 })}`,
    issuer: `Bearer ${await api.signer.sign("user-super_admin", { iss: "https://evil.example" })}`,
    audience: `Bearer ${await api.signer.sign("user-super_admin", { aud: "anon" })}`,
    future: `Bearer ${await api.signer.sign("user-super_admin", { iat: now + 86_400, exp: now + 90_000 })}`,
    subject: `Bearer ${await api.signer.sign("user-super_admin\u0000")}`,
    email: `Bearer ${await api.signer.sign("user-super_admin", { email: "a\u0000@innkeep.example" })}`,
  };
  for (const [name, authorization] of Object.entries(headers)) {
    const answer = await api.send("GET", "/v1/tenants", { headers: { authorization } });
    expect(answer.status, name).toBe(401);
    expect(answer.text, name).not.toContain("jose");
    expect(answer.body.detail.length, name).toBeLessThan(80);
  }
});

test("R13: a subject that cannot be a key is refused", async () => {
  for (const subject of ["a:b", "admin:user-super_admin", "x".repeat(200), "../user-super_admin"]) {
    expectProblem(await me(await api.signer.sign(subject)), 403, "forbidden");
  }
});
