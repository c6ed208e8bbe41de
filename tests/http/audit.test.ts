import { expect, test } from "vitest";
import { expectProblem, useApi } from "./support/api.ts";

const api = useApi();
const audit = async (query: string, token = api.admin("super_admin")) => (await api.send("GET", `/v1/audit?${query}`, { token })).body;
const verify = (query: string, token = api.admin("support")) => api.send("GET", `/v1/audit/verify?${query}`, { token });

/** Creates a tenant with this many entries in its chain. Another admin writes all but the first. */
async function tenantWith(entries: number): Promise<string> {
  const { id } = await api.tenant();
  for (let i = 1; i < entries; i++) {
    const answer = await api.send("PATCH", `/v1/tenants/${id}`, { token: api.admin("admin"), json: { name: `Name ${i}` } });
    expect(answer.status, answer.text).toBe(200);
  }
  return id;
}

test("A02: the audit log can be filtered by resource, action, actor and time, and its chain is intact", async () => {
  const token = api.admin("super_admin");
  const made = await api.send("POST", "/v1/tenants", {
    token,
    json: { name: "Audited", subdomain: "audited", plan: "Pro", owner: "a@b.example", ownerName: "A" },
  });
  await api.send("PATCH", `/v1/tenants/${made.body.id}`, { token, json: { name: "Audited twice" } });
  const entries = (await audit(`tenantId=${made.body.id}`)).data;
  expect(entries.map((entry: { action: string }) => entry.action)).toEqual(["tenant.updated", "tenant.created"]);
  expect(entries[0]).toMatchObject({
    seq: 2,
    changes: { before: { name: "Audited" }, after: { name: "Audited twice" } },
    userId: "user-super_admin",
  });
  expect((await audit(`resource=tenant&resourceId=${made.body.id}&action=tenant.upd*&actorId=user-super_admin`)).data).toHaveLength(1);
  expect((await audit(`resourceId=${made.body.id}&to=2026-01-01`)).data).toEqual([]);
  expect((await verify(`tenantId=${made.body.id}`)).body).toEqual({ ok: true, checked: 2 });
  expect((await verify("")).body.ok).toBe(true);
});

test("A02: actorId and actorEmail return the entries of one person, in one tenant or in all", async () => {
  const id = await tenantWith(3);
  const user = await api.user(id, "admin", "guest-1");
  await api.send("PATCH", `/v1/tenants/${id}`, { token: user, json: { name: "By its own" } });
  const actors = async (query: string) => (await audit(`${query}&limit=100`)).data.map(({ userId }: { userId: string }) => userId);
  expect(await actors(`tenantId=${id}&actorId=user-admin`)).toEqual(["user-admin", "user-admin"]);
  expect(await actors(`tenantId=${id}&actorEmail=admin@innkeep.example`)).toEqual(["user-admin", "user-admin"]);
  expect(await actors(`tenantId=${id}&actorEmail=guest@hotel.example`)).toEqual(["guest-1"]);
  expect(await actors(`tenantId=${id}&actorId=user-admin&actorEmail=guest@hotel.example`)).toEqual([]);
  expect(await actors("actorEmail=guest@hotel.example")).toEqual(["guest-1"]);
  expect(await actors(`tenantId=${id}&actorId=user-admi`)).toEqual([]);
  const other = await tenantWith(1);
  expect((await audit("actorId=guest-1", await api.user(other, "admin"))).data).toEqual([]);
  for (const name of ["actorid", "userId", "actor"]) {
    expectProblem(await api.send("GET", `/v1/audit?${name}=x`, { token: api.admin("admin") }), 400, "invalid_parameter");
  }
});

test("A08: the chain of an unknown tenant returns 404; that of a deleted tenant can be verified", async () => {
  const id = await tenantWith(2);
  for (const unknown of ["tn_none", `${id}x`, `tenant:${id.slice(0, -1)}`]) {
    const answer = await verify(`tenantId=${unknown}`);
    expectProblem(answer, 404, "not_found");
    expect(answer.text).not.toContain(`${id}"`);
  }
  expect((await api.send("DELETE", `/v1/tenants/${id}`, { token: api.admin("admin") })).status).toBe(200);
  expect((await verify(`tenantId=${id}`)).body).toEqual({ ok: true, checked: 3 });
  const other = await tenantWith(1);
  expectProblem(await verify(`tenantId=${id}`, await api.user(other, "owner")), 404, "not_found");
});

test("A08: a long chain is verified in pages, whose cursors are valid for one tenant", async () => {
  const [id, other] = [await tenantWith(5), await tenantWith(3)];
  const first = await verify(`tenantId=${id}&limit=2`);
  expect(first.body).toEqual({ ok: true, checked: 2, nextCursor: expect.any(String) });
  const second = await verify(`tenantId=${id}&limit=2&cursor=${first.body.nextCursor}`);
  expect(second.body).toEqual({ ok: true, checked: 2, nextCursor: expect.any(String) });
  expect((await verify(`tenantId=${id}&cursor=${second.body.nextCursor}`)).body).toEqual({ ok: true, checked: 1 });
  const own = await api.user(id, "admin");
  expect((await verify(`limit=4&cursor=${first.body.nextCursor}`, own)).body).toEqual({ ok: true, checked: 3 });
  expectProblem(await verify(`tenantId=${other}&cursor=${first.body.nextCursor}`), 400, "invalid_cursor");
  expectProblem(await verify("cursor=garbage"), 400, "invalid_cursor");
  for (const limit of ["0", "5001", "x"]) expectProblem(await verify(`limit=${limit}`), 400, "invalid_parameter");
});
