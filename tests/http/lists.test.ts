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
  test("T04: accepts filters, any-of filters, time ranges and sorting by several fields", async () => {
    expect(names(await list(""))).toEqual(["100% Hotel", "Borealis", "aurora", "Café Inn", "Zürich Palace"]);
    expect(names(await list("?sort=name"))).toEqual(["100% Hotel", "aurora", "Borealis", "Café Inn", "Zürich Palace"]);
    expect(names(await list("?sort=-mrr,name&status=active,trial&limit=2"))).toEqual(["Borealis", "Zürich Palace"]);
    expect(names(await list("?plan=plan:Pro,Basic&sort=name"))).toEqual(["aurora", "Café Inn", "Zürich Palace"]);
    expect(names(await list("?plan=plan:"))).toEqual([]);
    expect(names(await list("?region=eu-west-1&status=active&sort=name"))).toEqual(["Borealis", "Zürich Palace"]);
    expect(names(await list("?sort=region,name")).slice(-2).sort()).toEqual(["100% Hotel", "aurora"]);
    expect(names(await list("?sort=-region,name")).slice(-2).sort()).toEqual(["100% Hotel", "aurora"]);
    expect(names(await list("?createdFrom=2026-03-01T12:04:00.000Z"))).toEqual(["100% Hotel", "Borealis"]);
    expect(names(await list("?createdTo=2026-03-01T12:02:00.000Z"))).toEqual(["Zürich Palace"]);
    expect(names(await list("?createdTo=2026-03-01"))).toHaveLength(5);
    expect(names(await list("?createdTo=2026-02-28"))).toHaveLength(0);
  });

  test("T04: accepts ranges of revenue, usage and the end of a trial", async () => {
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

  test("T05: searches without regard to case and accents; % has no special meaning", async () => {
    expect(names(await list("?search=CAFE"))).toEqual(["Café Inn"]);
    expect(names(await list("?search=zurich"))).toEqual(["Zürich Palace"]);
    expect(names(await list("?search=0%25%20h"))).toEqual(["100% Hotel"]);
    expect(names(await list("?search=_____"))).toEqual([]);
  });

  test("T05: refuses a search that would match everything or match across fields", async () => {
    for (const search of ["%CC%81", "%CC%88%CC%81", "a%0Ab", "%0A", "a%0D", "%09", "%C2%85"]) {
      for (const path of ["/v1/tenants", "/v1/plans", "/v1/admins"]) {
        const answer = await api.send("GET", `${path}?search=${search}`, { token: api.admin("super_admin") });
        expectProblem(answer, 400, "invalid_parameter");
        expect(answer.body.errors.map(({ path }: { path: string }) => path), search).toEqual(["search"]);
      }
    }
    expect(names(await list("?search=e%CC%81"))).toContain("Café Inn");
  });

  test("H08: returns pages with totals and a Link to the next page", async () => {
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

  test("H07: gives the same rows by cursor and by Link, also while rows are added", async () => {
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

  test("H02: returns all invalid parameters at once, with 400", async () => {
    const answer = await list("?limit=101&page=0&sort=secret&status=activ&colour=red&createdFrom=yesterday&search=%00&plan=,");
    expectProblem(answer, 400, "invalid_parameter");
    expect(new Set(answer.body.errors.map(({ path }: { path: string }) => path))).toEqual(
      new Set(["limit", "page", "sort", "status", "colour", "createdFrom", "search", "plan"]),
    );
  });

  test("H07: refuses limits and pages that are not plain numbers in range", async () => {
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

  test("H07: a request without page or cursor can be continued by either, to the end of the list", async () => {
    const first = (await list("?sort=name&limit=4")).body;
    expect(Object.keys(first.pagination).sort()).toEqual(["hasNext", "hasPrev", "limit", "nextCursor", "page", "total", "totalPages"]);
    const second = await list("?sort=name&limit=4&page=2");
    const onwards = await list(`?sort=name&limit=4&cursor=${first.pagination.nextCursor}`);
    expect(names(onwards)).toEqual(names(second));
    expect(onwards.body.pagination).toEqual({ limit: 4, hasNext: false });
    const all = (await list("?limit=100&sort=name")).body;
    expect(all.pagination).not.toHaveProperty("nextCursor");
    expect([...names({ body: first }), ...names(second)]).toEqual(names({ body: all }));
  });

  test("H07: the Link of any page has a cursor and the same filters", async () => {
    const answer = await list("?status=active&sort=-name&limit=1&page=1&createdTo=2027-01-01");
    const next = new URL(/^<([^>]+)>; rel="next"$/.exec(answer.headers.get("link") ?? "")?.[1] ?? "", "http://localhost");
    expect(Object.fromEntries(next.searchParams)).toEqual({
      status: "active",
      sort: "-name",
      limit: "1",
      createdTo: "2027-01-01",
      cursor: answer.body.pagination.nextCursor,
    });
    const followed = await api.send("GET", next.pathname + next.search, { token: api.admin("read_only") });
    expect(names(followed)).toEqual(names(await list("?status=active&sort=-name&limit=1&page=2")));
  });

  test("T04: region is free text, and an empty parameter counts as absent", async () => {
    expect(names(await list("?region=moon-1"))).toEqual([]);
    expect(names(await list("?region=moon-1,us-east-1"))).toEqual(["Café Inn"]);
    expect(names(await list("?region=&status=&mrrFrom=&sort=&search=&limit=100"))).toEqual(names(await list("?limit=100")));
  });

  test("H20: in the OpenAPI file, every number and time filter has From and To parameters, and text filters have none", async () => {
    const { parameters } = (await api.send("GET", "/openapi.json")).body.paths["/v1/tenants"].get;
    const offered = parameters.map(({ name }: { name: string }) => name);
    const ranges = ["mrr", "usagePercent", "trialEndsAt", "created"].flatMap((field) => [`${field}From`, `${field}To`]);
    expect(offered.filter((name: string) => /(From|To)$/.test(name)).sort()).toEqual(ranges.sort());
    for (const name of ["statusFrom", "nameTo", "createdAtFrom", "createdAt", "updatedAtFrom", "id"]) {
      const answer = await list(`?${name}=1`);
      expectProblem(answer, 400, "invalid_parameter");
      expect(answer.body.errors).toMatchObject([{ path: name }]);
    }
  });

  test("H07: can be sorted only by its sortable fields, which a refusal lists", async () => {
    for (const sort of ["metadata", "name,secret", "-", "ownerName", "NAME", "name:asc", "--name", " name"]) {
      const answer = await list(`?sort=${encodeURIComponent(sort)}`);
      expectProblem(answer, 400, "invalid_parameter");
      expect(answer.body.errors).toMatchObject([{ path: "sort", message: expect.stringContaining("name, subdomain, status") }]);
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

test("H20: every list accepts every parameter in the OpenAPI file", async () => {
  const token = api.admin("super_admin");
  const typed: Readonly<Record<string, string>> = { boolean: "true", number: "1", integer: "1", "date-time": "2026-03-01T12:00:00.000Z" };
  for (const path of ["/v1/tenants", "/v1/plans", "/v1/admins", "/v1/audit"]) {
    const { parameters } = (await api.send("GET", "/openapi.json")).body.paths[path].get;
    const inQuery = parameters.filter((parameter: { in?: string; name: string }) =>
      parameter.in === "query" && parameter.name !== "cursor"
    );
    expect(inQuery.length).toBeGreaterThan(5);
    for (const { name, schema } of inQuery) {
      const one = schema.items ?? schema;
      const value = one.examples?.[0] ?? one.enum?.[0] ?? typed[one.format ?? one.type] ?? "x";
      const { status, text } = await api.send("GET", `${path}?${name}=${value}`, { token });
      expect(status, `${path}?${name}=${value} ${text}`).toBe(200);
    }
  }
});

test("T04: plans and admins can be sorted by the time of their creation", async () => {
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
