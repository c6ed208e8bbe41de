import { beforeAll, describe, expect, test } from "vitest";
import { expectProblem, useApi } from "./support/api.ts";

const api = useApi();
const list = (query: string, token = api.admin("read_only")) => api.send("GET", `/v1/tenants${query}`, { token });
const names = (answer: { body: { data: { name: string }[] } }) => answer.body.data.map(({ name }) => name);

beforeAll(async () => {
  const hotels = [
    ["Zürich Palace", "Pro", "active", 900, "eu-west-1"],
    ["Café Inn", "Basic", "active", 100, "us-east-1"],
    ["aurora", "Pro", "trial", 300, undefined],
    ["Borealis", "Enterprise", "active", 900, "eu-west-1"],
    ["100% Hotel", "Trial", "trial", 0, undefined],
  ] as const;
  for (const [name, plan, status, mrr, region] of hotels) {
    api.clock.advance(60_000);
    await api.tenant({ name, plan, status, mrr, ...(region ? { region } : {}) });
  }
});

describe("the list of tenants", () => {
  test("T04: takes filters, any-of filters, ranges of time and sorts by several fields", async () => {
    expect(names(await list(""))).toEqual(["100% Hotel", "Borealis", "aurora", "Café Inn", "Zürich Palace"]);
    expect(names(await list("?sort=name"))).toEqual(["100% Hotel", "aurora", "Borealis", "Café Inn", "Zürich Palace"]);
    expect(names(await list("?sort=-mrr,name&status=active,trial&limit=2"))).toEqual(["Borealis", "Zürich Palace"]);
    expect(names(await list("?plan=plan:Pro,Basic&sort=name"))).toEqual(["aurora", "Café Inn", "Zürich Palace"]);
    expect(names(await list("?region=eu-west-1&status=active&sort=name"))).toEqual(["Borealis", "Zürich Palace"]);
    expect(names(await list("?sort=region,name")).slice(-2).sort()).toEqual(["100% Hotel", "aurora"]);
    expect(names(await list("?sort=-region,name")).slice(-2).sort()).toEqual(["100% Hotel", "aurora"]);
    expect(names(await list("?createdFrom=2026-03-01T12:04:00.000Z"))).toEqual(["100% Hotel", "Borealis"]);
    expect(names(await list("?createdTo=2026-03-01T12:02:00.000Z"))).toEqual(["Zürich Palace"]);
    expect(names(await list("?createdTo=2026-03-01"))).toHaveLength(5);
    expect(names(await list("?createdTo=2026-02-28"))).toHaveLength(0);
  });

  test("T04: takes ranges of numbers and times, of revenue, of use and of the end of a trial", async () => {
    expect(names(await list("?mrrFrom=100&mrrTo=900&sort=name"))).toEqual(["aurora", "Café Inn"]);
    expect(names(await list("?mrrFrom=900&sort=name"))).toEqual(["Borealis", "Zürich Palace"]);
    expect(names(await list("?mrr=0,100.00&sort=name"))).toEqual(["100% Hotel", "Café Inn"]);
    expect(names(await list("?usagePercentTo=0"))).toEqual([]);
    expect(names(await list("?trialEndsAtFrom=2026-03-01&sort=name"))).toEqual(["100% Hotel", "aurora"]);
    expect(names(await list("?trialEndsAtTo=2026-03-01"))).toEqual([]);
    for (const bad of ["mrrFrom=much", "mrr=1,x", "mrrTo=1e3", "trialEndsAt=soon", "trialEndsAtFrom=2026-02-30"]) {
      const answer = await list(`?${bad}`);
      expectProblem(answer, 400, "invalid_parameter");
      expect(answer.body.errors[0].path).toBe(bad.split("=")[0]);
    }
  });

  test("T05: searches without regard to case and accents, and % stands for itself", async () => {
    expect(names(await list("?search=CAFE"))).toEqual(["Café Inn"]);
    expect(names(await list("?search=zurich"))).toEqual(["Zürich Palace"]);
    expect(names(await list("?search=0%25%20h"))).toEqual(["100% Hotel"]);
    expect(names(await list("?search=_____"))).toEqual([]);
  });

  test("T05: refuses a search that would find everything, or reach from one field into the next", async () => {
    for (const search of ["%CC%81", "%CC%88%CC%81", "a%0Ab", "%0A", "a%0D", "%09", "%C2%85"]) {
      for (const path of ["/v1/tenants", "/v1/plans", "/v1/admins"]) {
        const answer = await api.send("GET", `${path}?search=${search}`, { token: api.admin("super_admin") });
        expectProblem(answer, 400, "invalid_parameter");
        expect(answer.body.errors.map(({ path }: { path: string }) => path), search).toEqual(["search"]);
      }
    }
    expect(names(await list("?search=e%CC%81"))).toContain("Café Inn");
  });

  test("H08: has the page form with totals, and a Link to the next page", async () => {
    const first = await list("?limit=2&page=1&sort=name");
    expect(first.body.pagination).toMatchObject({ page: 1, limit: 2, total: 5, totalPages: 3, hasNext: true, hasPrev: false });
    expect((await list("?limit=2&page=3&sort=name")).body.pagination).toEqual({
      page: 3,
      limit: 2,
      total: 5,
      totalPages: 3,
      hasNext: false,
      hasPrev: true,
    });
    const beyond = await list("?limit=2&page=9");
    expect([beyond.status, beyond.body.data]).toEqual([200, []]);
    expect(beyond.headers.has("link")).toBe(false);
  });

  test("H07: is walked by cursor or by Link to the same end, stable while rows come", async () => {
    const seen: string[] = [];
    let path: string | null = "/v1/tenants?limit=2&sort=name";
    for (let i = 0; path !== null; i++) {
      const answer = await api.send("GET", path, { token: api.admin("read_only") });
      seen.push(...names(answer));
      if (i === 0) await api.tenant({ name: "0 came meanwhile" });
      if (i > 0) {
        expect(Object.keys(answer.body.pagination).sort()).toEqual(
          answer.body.pagination.hasNext ? ["hasNext", "limit", "nextCursor"] : ["hasNext", "limit"],
        );
      }
      path = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get("link") ?? "")?.[1] ?? null;
    }
    expect(seen).toEqual(["100% Hotel", "aurora", "Borealis", "Café Inn", "Zürich Palace"]);
  });

  test("H07: a cursor with another filter or sort, or damaged, is refused with 400", async () => {
    const { nextCursor } = (await list("?limit=1&sort=name")).body.pagination;
    for (
      const query of [
        `sort=-name&cursor=${nextCursor}`,
        `sort=name&status=active&cursor=${nextCursor}`,
        "sort=name&cursor=garbage",
        `sort=name&cursor=${nextCursor.slice(0, -2)}`,
      ]
    ) {
      expectProblem(await list(`?limit=1&${query}`), 400, "invalid_cursor");
    }
    expectProblem(await list(`?page=1&cursor=${nextCursor}`), 400, "invalid_parameter");
  });

  test("H02: names every bad parameter at once with 400", async () => {
    const answer = await list("?limit=101&page=0&sort=secret&status=activ&colour=red&createdFrom=yesterday&search=%00&plan=,");
    expectProblem(answer, 400, "invalid_parameter");
    expect(new Set(answer.body.errors.map(({ path }: { path: string }) => path))).toEqual(
      new Set(["limit", "page", "sort", "status", "colour", "createdFrom", "search", "plan"]),
    );
  });

  test("H07: refuses limits and pages that are no plain numbers in range", async () => {
    for (
      const bad of [
        "limit=0",
        "limit=-1",
        "limit=1.5",
        "limit=1e1",
        "limit=0x5",
        "limit=%20",
        "limit=ten",
        "page=99999999999",
        "page=5002&limit=20",
        "limit=5&limit=6",
        "sort=name,-name",
        "sort=,",
        "page=1&cursor=x",
      ]
    ) {
      expectProblem(await list(`?${bad}`), 400, "invalid_parameter");
    }
  });

  test("T06: counts by status and plan, and the revenue, agree with the list", async () => {
    const { status, body } = await api.send("GET", "/v1/tenants/stats", { token: api.admin("support") });
    expect(status).toBe(200);
    const all = (await list("?limit=100")).body.data as { status: string; plan: string; mrr: number }[];
    expect(body.total).toBe(all.length);
    for (const [name, count] of Object.entries(body.byStatus)) expect(count).toBe(all.filter((one) => one.status === name).length);
    for (const [name, count] of Object.entries(body.byPlan)) expect(count).toBe(all.filter((one) => one.plan === name).length);
    expect(body.totalMrr).toBe(all.reduce((sum, { mrr }) => sum + mrr, 0));
  });
});

test("H20: every list takes every parameter that the description of the API says it takes", async () => {
  const token = api.admin("super_admin");
  const instant = "2026-03-01T12:00:00.000Z";
  const named: Readonly<Record<string, string>> = { action: "tenant.created", from: instant, to: instant };
  const typed: Readonly<Record<string, string>> = { boolean: "true", number: "1", integer: "1" };
  const described: [RegExp, string][] = [[/^(At or after|Before|One instant)/, instant], [/^One number/, "1"], [/^One value/, "x"]];
  for (const path of ["/v1/tenants", "/v1/plans", "/v1/admins", "/v1/audit"]) {
    const { parameters } = (await api.send("GET", "/openapi.json")).body.paths[path].get;
    const inQuery = parameters.filter((parameter: { in?: string; name: string }) =>
      parameter.in === "query" && parameter.name !== "cursor"
    );
    expect(inQuery.length).toBeGreaterThan(5);
    for (const { name, schema } of inQuery) {
      const description: string = schema.description ?? "";
      const first = /(?:commas: |some of )([\w-]+)/.exec(description)?.[1] ?? "x";
      const value = named[name] ?? typed[schema.type] ?? described.find(([pattern]) => pattern.test(description))?.[1] ?? first;
      const { status, text } = await api.send("GET", `${path}?${name}=${value}`, { token });
      expect(status, `${path}?${name}=${value} ${text}`).toBe(200);
    }
  }
});

test("T04: plans and admins are listed by the time they were made", async () => {
  const token = api.admin("super_admin");
  api.clock.advance(60_000);
  const limits = { users: 1, properties: 1, rooms: 1, bookings: 1, api_calls: 1, storage: 1, customDomains: 1 };
  const plan = { name: "Late", price: 100, currency: "USD", interval: "monthly", limits };
  const admin = { userId: "late", email: "late@innkeep.example", name: "Late", role: "support" };
  for (const [path, json] of [["/v1/plans", plan], ["/v1/admins", admin]] as const) {
    const from = api.clock.iso();
    expect((await api.send("POST", path, { token, json })).status).toBe(201);
    const total = async (query: string) => (await api.send("GET", `${path}?${query}`, { token })).body.pagination.total;
    expect(await total(`createdFrom=${from}`)).toBe(1);
    expect(await total(`createdTo=${from}`)).toBe(4);
    expect(await total("createdFrom=2026-03-01&createdTo=2026-02-01")).toBe(0);
  }
});

test("A05: the audit log is filtered by resource, action, actor and time, and its chain verifies", async () => {
  const token = api.admin("super_admin");
  const made = await api.send("POST", "/v1/tenants", {
    token,
    json: { name: "Audited", subdomain: "audited", plan: "Pro", owner: "a@b.example", ownerName: "A" },
  });
  await api.send("PATCH", `/v1/tenants/${made.body.id}`, { token, json: { name: "Audited twice" } });
  const audit = async (query: string) => (await api.send("GET", `/v1/audit?${query}`, { token })).body;
  const entries = (await audit(`tenantId=${made.body.id}`)).data;
  expect(entries.map((entry: { action: string }) => entry.action)).toEqual(["tenant.updated", "tenant.created"]);
  expect(entries[0]).toMatchObject({
    seq: 2,
    changes: { before: { name: "Audited" }, after: { name: "Audited twice" } },
    userId: "user-super_admin",
  });
  expect((await audit(`resource=tenant&resourceId=${made.body.id}&action=tenant.upd*&actorId=user-super_admin`)).data).toHaveLength(1);
  expect((await audit(`resourceId=${made.body.id}&to=2026-01-01`)).data).toEqual([]);
  expect((await api.send("GET", `/v1/audit/verify?tenantId=${made.body.id}`, { token })).body).toEqual({ ok: true, checked: 2 });
  expect((await api.send("GET", "/v1/audit/verify", { token })).body.ok).toBe(true);
});
