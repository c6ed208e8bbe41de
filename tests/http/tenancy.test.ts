import { describe, expect, test } from "vitest";
import { createContainer } from "../../shared/container.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import { expectProblem, useApi } from "./support/api.ts";

const api = useApi({ baseDomain: "innkeep.example", apiHosts: ["backend.innkeep.example", "api.acme.example"] });

describe("the tenant of a request", () => {
  test("T13: is named by the path, X-Tenant-Id, the subdomain, the custom domain or the credential", async () => {
    const hotel = await api.tenant({ subdomain: "aurora", customDomain: "stay.aurora.example" });
    const token = api.admin("admin");
    const audit = (path: string, headers: Record<string, string> = {}) => api.send("GET", path, { token, headers });
    const count = (await audit(`/v1/audit?tenantId=${hotel.id}`)).body.pagination.total;
    expect(count).toBeGreaterThan(0);
    const same = [
      await audit(`/v1/audit?tenantId=tenant:${hotel.id}`),
      await audit("/v1/audit", { "x-tenant-id": hotel.id }),
      await audit("http://aurora.innkeep.example/v1/audit"),
      await audit("https://AURORA.innkeep.example:8443/v1/audit"),
      await audit("http://stay.aurora.example/v1/audit"),
    ];
    // A user's reads of the log are recorded in the tenant's chain, those of an administrator in the platform's.
    const own = await api.send("GET", "/v1/audit", { token: await api.user(hotel.id, "viewer") });
    for (const [{ status, body }, total] of [...same.map((each) => [each, count] as const), [own, count + 1] as const]) {
      expect(status).toBe(200);
      expect(body.pagination.total).toBe(total);
      expect(body.data.every((entry: { tenantId: string }) => entry.tenantId === hotel.id)).toBe(true);
    }
    expect(api.logs.at(-1)).toMatchObject({ tenantId: hotel.id, route: "/v1/audit" });
  });

  test("T14: two sources that name different reachable tenants are refused with 403", async () => {
    const [one, two] = [await api.tenant({ subdomain: "borealis" }), await api.tenant()];
    const token = api.admin("admin");
    const mixed = [
      await api.send("GET", `/v1/tenants/${two.id}`, { token, headers: { "x-tenant-id": one.id } }),
      await api.send("GET", `http://borealis.innkeep.example/v1/tenants/${two.id}`, { token }),
      await api.send("GET", "http://borealis.innkeep.example/v1/audit", { token, headers: { "x-tenant-id": two.id } }),
      await api.send("GET", `http://borealis.innkeep.example/v1/audit?tenantId=${two.id}`, { token }),
    ];
    for (const answer of mixed) expectProblem(answer, 403, "tenant_mismatch");
    const agreeing = await api.send("GET", `http://borealis.innkeep.example/v1/tenants/${one.id}`, {
      token,
      headers: { "x-tenant-id": `tenant:${one.id}` },
    });
    expect(agreeing.status).toBe(200);
    expectProblem(await api.send("GET", `/v1/tenants/${two.id}`, { token, headers: { "x-tenant-id": "tn_none" } }), 404, "not_found");
    expectProblem(await api.send("GET", `/v1/tenants/${two.id}`, { token, headers: { "x-tenant-id": "a:b%" } }), 404, "not_found");
  });

  test("H01: an empty X-Tenant-Id header is refused with what to send instead", async () => {
    const { id } = await api.tenant();
    for (const token of [api.admin("admin"), await api.user(id)]) {
      const answer = await api.send("GET", `/v1/tenants/${id}`, { token, headers: { "x-tenant-id": "" } });
      expectProblem(answer, 404, "not_found");
      expect(answer.body.detail).toBe("The X-Tenant-Id header is empty. Send the id of a tenant, or omit the header.");
    }
  });

  test("T14: a tenant's user who names another tenant by any source gets 404", async () => {
    const [own, other] = [
      await api.tenant({ subdomain: "cirrus" }),
      await api.tenant({ subdomain: "stratus", customDomain: "stay.stratus.example" }),
    ];
    const token = await api.user(own.id, "owner");
    const foreign = [
      await api.send("GET", `/v1/tenants/${other.id}`, { token }),
      await api.send("GET", `/v1/tenants/${own.id}`, { token, headers: { "x-tenant-id": other.id } }),
      await api.send("GET", `/v1/audit?tenantId=${other.id}`, { token }),
      await api.send("GET", "http://stratus.innkeep.example/v1/audit", { token }),
      await api.send("GET", "http://stay.stratus.example/v1/audit", { token }),
      await api.send("GET", `/v1/tenants/resolve?id=${other.id}`, { token }),
      await api.send("GET", "/v1/tenants/resolve?subdomain=stratus", { token }),
      await api.send("GET", "/v1/tenants/resolve?host=stay.stratus.example", { token }),
    ];
    for (const answer of foreign) expectProblem(answer, 404, "not_found");
    expect((await api.send("GET", "http://cirrus.innkeep.example/v1/audit", { token })).status).toBe(200);
    expect((await api.send("GET", "/v1/tenants", { token })).body.data.map(({ id }: { id: string }) => id)).toEqual([own.id]);
  });

  test("R03: a refusal names a tenant only as the request did", async () => {
    const [own, other] = [await api.tenant({ subdomain: "altus" }), await api.tenant({ subdomain: "fibratus" })];
    const token = await api.user(own.id, "owner");
    const asked: readonly [string, Record<string, string>, readonly string[]][] = [
      [`/v1/tenants/${other.id}`, {}, [other.id]],
      [`/v1/tenants/${own.id}`, { "x-tenant-id": other.id }, [other.id, own.id]],
      [`/v1/audit?tenantId=${other.id}`, {}, [other.id]],
      ["http://fibratus.innkeep.example/v1/audit", {}, []],
      [`http://fibratus.innkeep.example/v1/tenants/${own.id}`, {}, [own.id]],
      ["/v1/tenants/resolve?subdomain=fibratus", {}, []],
      ["/v1/tenants/resolve?host=fibratus.innkeep.example", {}, []],
    ];
    for (const [path, headers, said] of asked) {
      const answer = await api.send("GET", path, { token, headers });
      expectProblem(answer, 404, "not_found");
      for (const { id } of [own, other]) if (!said.includes(id)) expect(answer.text, path).not.toContain(id);
    }
    const twice = await api.send("GET", "http://fibratus.innkeep.example/v1/audit", {
      token: api.admin("admin"),
      headers: { "x-tenant-id": own.id },
    });
    expectProblem(twice, 403, "tenant_mismatch");
    expect(twice.text).not.toContain(other.id);
  });

  test("R03: an unclaimed host and another tenant's host give a tenant's user identical responses", async () => {
    const own = await api.tenant({ subdomain: "undulatus", customDomain: "stay.undulatus.example" });
    const other = await api.tenant({ subdomain: "lacunosus", customDomain: "stay.lacunosus.example" });
    const token = await api.user(own.id, "viewer");
    const ask = async (host: string, path: string) => {
      const { status, body, headers } = await api.send("GET", `http://${host}${path}`, { token, headers: { "x-request-id": "same" } });
      const shown = [...headers].filter(([name]) => name !== "server-timing" && name !== "date");
      return { status, body, headers: Object.fromEntries(shown) };
    };
    for (const path of ["/v1/me", "/v1/audit", "/v1/tenants", "/v1/plans", `/v1/tenants/${own.id}`, `/v1/tenants/${other.id}`]) {
      const claimed = await ask("lacunosus.innkeep.example", path);
      expect(claimed.status, path).toBe(404);
      for (const host of ["stay.lacunosus.example", "nobody.innkeep.example", "stay.nobody.example", "www.innkeep.example"]) {
        expect(await ask(host, path), `${host}${path}`).toEqual(claimed);
      }
    }
    for (const host of ["undulatus.innkeep.example", "stay.undulatus.example", "innkeep.example", "backend.innkeep.example", "localhost"]) {
      expect((await ask(host, "/v1/audit")).status, host).toBe(200);
    }
    for (const host of ["nobody.innkeep.example", "stay.nobody.example"]) {
      const answer = await api.send("GET", `http://${host}/v1/tenants/${other.id}`, { token: api.admin("read_only") });
      expect(answer.status, host).toBe(200);
    }
  });

  test("R03: another tenant's record and a missing record give identical responses", async () => {
    const [own, other] = [await api.tenant(), await api.tenant()];
    const token = await api.user(own.id, "owner");
    const never = other.id.replace(/.{12}$/, "000000000000");
    const ask = async (id: string, rest: string) => {
      const { status, body } = await api.send("GET", `/v1/tenants/${id}${rest}`, { token, headers: { "x-request-id": "same" } });
      return JSON.stringify({ status, body }).replaceAll(id, "ID");
    };
    for (const rest of ["", "/subscription", "/usage", "/usage/rooms", "/usage/rooms/check?amount=1"]) {
      expect(await ask(other.id, rest)).toBe(await ask(never, rest));
    }
  });

  test("T15: reserved labels, addresses and punycode look-alikes name no tenant", async () => {
    const token = api.admin("admin");
    for (const name of ["www", "api", "admin", "app", "xn--e1afmkfd"]) {
      expect((await api.send("GET", `http://${name}.innkeep.example/v1/audit`, { token })).status).toBe(200);
      expectProblem(await api.send("GET", `/v1/tenants/resolve?subdomain=${name}`, { token }), 404, "not_found");
      const json = { name: "Hotel", subdomain: name, plan: "Pro", owner: "a@b.example", ownerName: "A" };
      const answer = await api.send("POST", "/v1/tenants", { token, json });
      expectProblem(answer, 422, "validation_failed");
      expect(answer.body.errors[0].path).toBe("/subdomain");
    }
    for (const name of ["127.0.0.1", "[::1]", "localhost", "project.supabase.co"]) {
      expect((await api.send("GET", `http://${name}/v1/audit`, { token })).status).toBe(200);
    }
  });

  test("T15: a custom domain that no request can use is refused", async () => {
    const token = api.admin("admin");
    const { id } = await api.tenant();
    for (const customDomain of ["x.supabase.co", "a.localhost"]) {
      const json = { name: "Hotel", subdomain: "unreachable", plan: "Pro", owner: "a@b.example", ownerName: "A", customDomain };
      for (const [method, path, body] of [["POST", "/v1/tenants", json], ["PATCH", `/v1/tenants/${id}`, { customDomain }]] as const) {
        const answer = await api.send(method, path, { token, json: body });
        expectProblem(answer, 422, "validation_failed");
        expect(answer.body.errors.map((error: { path: string }) => error.path)).toEqual(["/customDomain"]);
      }
    }
  });

  test("R03: the API's own hosts name no tenant, and no tenant can claim them", async () => {
    const [thief, other] = [await api.tenant(), await api.tenant()];
    const token = api.admin("admin");
    const patch = (sender: string, json: unknown) => api.send("PATCH", `/v1/tenants/${thief.id}`, { token: sender, json });
    expectProblem(await patch(await api.user(thief.id, "admin"), { customDomain: "hotel.example" }), 403, "forbidden");
    expectProblem(await patch(await api.user(thief.id, "owner"), { customDomain: null }), 403, "forbidden");
    for (const customDomain of ["api.acme.example", "innkeep.example", "other.innkeep.example"]) {
      const answer = await patch(token, { customDomain });
      expectProblem(answer, 422, "validation_failed");
      expect(answer.body.errors[0].path).toBe("/customDomain");
    }
    const refused = await patch(await api.user(thief.id, "admin"), { subdomain: "backend" });
    expectProblem(refused, 422, "validation_failed");
    expect(refused.body.errors[0].path).toBe("/subdomain");
    // Claims that are older than the list name no tenant either.
    const unruled = await createContainer({ store: api.container.store, clock: api.clock, logger: silentLogger });
    const { TenantService } = unruled.services(systemContext(api.clock));
    await TenantService.update(thief.id, { subdomain: "backend", customDomain: "api.acme.example" });
    const guest = await api.user(other.id, "viewer");
    for (const host of ["backend.innkeep.example", "API.acme.example:443"]) {
      expect((await api.send("GET", `http://${host}/v1/tenants/${other.id}`, { token: guest })).status).toBe(200);
      expect((await api.send("GET", `https://${host}/v1/tenants/${other.id}`, { token })).status).toBe(200);
    }
  });

  test("T02: a tenant is resolved by its host, its subdomain or its id", async () => {
    const hotel = await api.tenant({ id: "cumulus", subdomain: "nimbus", customDomain: "stay.nimbus.example" });
    await api.tenant({ id: "nimbus", subdomain: "cumulus" });
    const token = api.admin("read_only");
    const find = async (query: string) => (await api.send("GET", `/v1/tenants/resolve?${query}`, { token })).body.id;
    expect(await find("host=stay.nimbus.example")).toBe(hotel.id);
    expect(await find("host=NIMBUS.innkeep.example:443")).toBe(hotel.id);
    expect(await find("id=tenant:cumulus")).toBe(hotel.id);
    expect(await find("subdomain=Nimbus")).toBe("cumulus");
    expect(await find("subdomain=cumulus")).toBe("nimbus");
    for (const query of ["", "id=a&host=b"]) {
      expectProblem(await api.send("GET", `/v1/tenants/resolve?${query}`, { token }), 400, "invalid_parameter");
    }
  });

  test("H02: a parameter with invalid text is one error and is not reported as missing", async () => {
    const token = api.admin("read_only");
    for (const name of ["host", "subdomain", "id"]) {
      const answer = await api.send("GET", `/v1/tenants/resolve?${name}=%00`, { token });
      expectProblem(answer, 400, "invalid_parameter");
      expect(answer.body.errors).toEqual([{ path: name, message: "must not contain U+0000", code: "null_character" }]);
    }
  });
});

describe("what a tenant's own users may change", () => {
  test("R11: excludes status, plan, revenue and owner for its admin; its owner may change the owner and the subscription", async () => {
    const { id } = await api.tenant();
    const admin = await api.user(id, "admin");
    const owner = await api.user(id, "owner");
    const patch = (token: string, json: unknown) => api.send("PATCH", `/v1/tenants/${id}`, { token, json });
    expect((await patch(admin, { name: "Renamed", settings: { locale: "de" } })).status).toBe(200);
    for (const json of [{ status: "suspended" }, { plan: "Enterprise" }, { mrr: 0 }, { metadata: { legalHold: false } }]) {
      for (const token of [admin, owner]) {
        const answer = await patch(token, json);
        expectProblem(answer, 403, "forbidden");
        expect(answer.body.errors[0].path).toMatch(/^\/(status|plan|mrr|metadata\/legalHold)$/);
      }
    }
    expectProblem(await patch(admin, { owner: "new@hotel.example" }), 403, "forbidden");
    expect((await patch(owner, { owner: "new@hotel.example" })).body.owner).toBe("new@hotel.example");
    const subscription = `/v1/tenants/${id}/subscription`;
    expectProblem(await api.send("PUT", subscription, { token: admin, json: { planId: "Basic" } }), 403, "insufficient_scope");
    expectProblem(
      await api.send("PUT", subscription, { token: owner, json: { status: "active", currentPeriodEnd: "2099-01-01T00:00:00.000Z" } }),
      403,
      "forbidden",
    );
    expectProblem(await api.send("PUT", subscription, { token: owner, json: { planId: "Basic" } }), 403, "plan_change_forbidden");
    const paid = await api.send("PUT", subscription, { token: owner, json: { paymentMethod: "card" } });
    expect(paid.body?.paymentMethod, paid.text).toBe("card");
  });

  test("U01: excludes its usage", async () => {
    const { id } = await api.tenant();
    const path = `/v1/tenants/${id}/usage/rooms`;
    for (const role of ["viewer", "staff", "admin", "owner"] as const) {
      const token = await api.user(id, role);
      expectProblem(await api.send("PUT", path, { token, json: { value: 0 } }), 403, "insufficient_scope");
      expectProblem(await api.send("POST", `${path}/increment`, { token }), 403, "insufficient_scope");
      expect((await api.send("GET", path, { token })).status).toBe(200);
    }
  });
});
