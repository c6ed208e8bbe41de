import { describe, expect, test } from "vitest";
import { useApi } from "../../http/support/api.ts";

const api = useApi();

describe("the routes of retention", () => {
  test("C14: create, replace and list policies, which no tenant's user may", async () => {
    const token = api.admin("admin");
    const json = { type: "outbox-event", retentionDays: 60, enabled: true, legalBasis: "Contract." };
    const made = await api.send("PUT", "/v1/policies/events", { token, json });
    expect([made.status, made.body.retentionDays, made.headers.get("location")]).toEqual([201, 60, "/v1/policies/events"]);
    expect((await api.send("PUT", "/v1/policies/events", { token, json: { ...json, retentionDays: 90 } })).status).toBe(200);
    const listed = await api.send("GET", "/v1/policies?type=outbox-event", { token: api.admin("read_only") });
    expect(listed.body.data).toMatchObject([{ id: "events", retentionDays: 90 }]);
    const { id } = await api.tenant();
    const owner = await api.user(id, "owner");
    expect((await api.send("GET", "/v1/policies", { token: owner })).status).toBe(403);
    expect((await api.send("POST", "/v1/policies/run", { token: owner })).status).toBe(403);
  });

  test("C14: refuse an unknown type, fields of the program and days that are none, all at once", async () => {
    const token = api.admin("admin");
    const faulty = { type: 5, retentionDays: 0, enabled: "yes", lastDeleted: 1 };
    const { status, body } = await api.send("PUT", "/v1/policies/bad", { token, json: faulty });
    expect(status).toBe(422);
    expect(body.errors.map(({ path }: { path: string }) => path).sort()).toEqual(["/enabled", "/lastDeleted", "/retentionDays", "/type"]);
    const unknown = await api.send("PUT", "/v1/policies/bad", { token, json: { type: "plan", retentionDays: 1, enabled: true } });
    expect([unknown.status, unknown.body.errors[0].path]).toEqual([422, "/type"]);
    expect(unknown.body.errors[0].message).toContain("usage-record");
  });

  test("C15: count what a run would delete, and write nothing", async () => {
    const token = api.admin("admin");
    const before = await api.container.store.count("audit");
    const { status, body } = await api.send("POST", "/v1/policies/run?dryRun=true", { token });
    expect([status, body.dryRun, body.complete]).toEqual([200, true, true]);
    expect(body.tasks).toContainEqual({ type: "usage-record", scanned: 0, deleted: 0, error: null });
    expect(await api.container.store.count("audit")).toBe(before);
    expect((await api.send("POST", "/v1/policies/run?dryRun=maybe", { token })).status).toBe(400);
  });
});

describe("who may see and run retention", () => {
  test("C14: platform administrators who may write; all platform roles may read; no user of a tenant may do either", async () => {
    const { id } = await api.tenant();
    const json = { type: "outbox-event", retentionDays: 60, enabled: false };
    const statusesOf = async (token: string) => {
      const list = await api.send("GET", "/v1/policies", { token });
      const put = await api.send("PUT", "/v1/policies/roles", { token, json });
      const run = await api.send("POST", "/v1/policies/run", { token });
      const dry = await api.send("POST", "/v1/policies/run?dryRun=true", { token });
      return [list, put, run, dry].map(({ status }) => status < 300 ? "ok" : status);
    };
    for (const role of ["super_admin", "admin"] as const) {
      expect([role, await statusesOf(api.admin(role))]).toEqual([role, ["ok", "ok", "ok", "ok"]]);
    }
    for (const role of ["support", "read_only"] as const) {
      expect([role, await statusesOf(api.admin(role))]).toEqual([role, ["ok", 403, 403, 403]]);
    }
    for (const role of ["owner", "admin", "staff", "viewer"] as const) {
      expect([role, await statusesOf(await api.user(id, role))]).toEqual([role, [403, 403, 403, 403]]);
    }
  });

  test("C14: a policy for a tenant or a plan is listed by it, and refused with a pointer if there is none", async () => {
    const token = api.admin("admin");
    const { id } = await api.tenant();
    const json = { type: "usage-record", retentionDays: 60, enabled: false };
    const made = await api.send("PUT", "/v1/policies/of-tenant", { token, json: { ...json, tenantId: `tenant:${id}` } });
    expect([made.status, made.body.tenantId, made.body.action]).toEqual([201, id, "delete"]);
    expect((await api.send("GET", `/v1/policies?tenantId=${id}`, { token })).body.data).toMatchObject([{ id: "of-tenant" }]);
    for (
      const [wrong, path] of [[{ tenantId: "tn_none" }, "/tenantId"], [{ planId: "None" }, "/planId"], [
        { action: "archive" },
        "/action",
      ]] as const
    ) {
      const { status, body } = await api.send("PUT", "/v1/policies/wrong", { token, json: { ...json, ...wrong } });
      expect([status, body.errors.map((error: { path: string }) => error.path)]).toEqual([422, [path]]);
    }
  });
});
