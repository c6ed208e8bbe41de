import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeJwt } from "jose";
import { HOTELS } from "../../functions/local/hotels.ts";
import { DEFAULT_METRICS } from "../../shared/features/metrics/default-metrics.ts";
import { call, cleanUp, finish, run, runLocal, startStack, temporaryFolder } from "./stack.ts";
import type { Stack } from "./stack.ts";
import { expectExactCount, expectTourToHold } from "./flows.ts";

let dataDir: string;
let stack: Stack;

beforeAll(async () => {
  dataDir = join(await temporaryFolder(), "data");
  stack = await startStack(dataDir, ["--ephemeral"]);
});
afterAll(cleanUp);

describe("the README", () => {
  test("O01: has a tour whose commands print the documented output", () => expectTourToHold(stack.info.url, dataDir));

  test("O01: matches npm start, whose printed curl command works as pasted", async () => {
    const [command = ""] = /^ {2}curl .*$/m.exec(stack.output()) ?? [];
    const { output } = await finish(run("bash", ["-c", command]));
    expect(JSON.parse(output)).toMatchObject({ pagination: { limit: 3, total: 12 } });
  });
});

test("U06: the seeded usagePercent of a hotel is the highest percentage of its usage", async () => {
  const { data: tenants } = await read<{ readonly data: readonly { id: string; subdomain: string; usagePercent?: number }[] }>(
    "/v1/tenants?limit=100",
  );
  for (const { subdomain } of HOTELS) {
    const tenant = tenants.find((one) => one.subdomain === subdomain);
    const { data: usage } = await read<{ readonly data: readonly { percentage: number }[] }>(`/v1/tenants/${tenant?.id}/usage`);
    expect(usage, subdomain).toHaveLength(DEFAULT_METRICS.length);
    expect(tenant?.usagePercent, subdomain).toBe(Math.max(...usage.map(({ percentage }) => percentage)));
  }
});

test("T09: the seeded hotels have paid this month, and none is overdue or suspended when the jobs run", async () => {
  expect(await finish(runLocal("jobs", ["subscriptions", "--data", dataDir]))).toMatchObject({ code: 0 });
  const { data: tenants } = await read<{ readonly data: readonly { id: string; status: string; plan: string }[] }>("/v1/tenants?limit=100");
  const paying = tenants.filter(({ status, plan }) => status === "active" && plan !== "Trial");
  expect(paying).toHaveLength(HOTELS.filter(({ plan, ending }) => plan !== "Trial" && !ending).length);
  for (const { id } of paying) {
    const { data: invoices } = await read<{ readonly data: readonly { status: string }[] }>(`/v1/tenants/${id}/invoices`);
    expect(invoices.map(({ status }) => status)).toEqual(["paid"]);
    expect(await read(`/v1/tenants/${id}/subscription`)).toMatchObject({ status: "active" });
  }
});

async function read<T>(path: string): Promise<T> {
  return (await call(stack.info, "GET", path)).body as T;
}

describe("a browser frontend", () => {
  test.each(["http://localhost:4321", "http://127.0.0.1:9000", "https://localhost:5173", "http://localhost"])(
    "O01: from %s may read, change and send credentials",
    async (origin) => {
      const preflight = { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" };
      const asked = await fetch(`${stack.info.url}/v1/tenants`, { method: "OPTIONS", headers: preflight });
      expect(asked.status).toBe(204);
      const body = JSON.stringify({ name: "" });
      const headers = { origin, authorization: `Bearer ${stack.info.tokens.superAdmin}`, "content-type": "application/json" };
      const sent = await fetch(`${stack.info.url}/v1/tenants`, { method: "POST", headers, body });
      expect(await sent.json()).toMatchObject({ code: "validation_failed" });
      for (const response of [asked, sent]) {
        expect(response.headers.get("access-control-allow-origin")).toBe(origin);
        expect(response.headers.get("access-control-allow-credentials")).toBe("true");
        expect(response.headers.get("vary")).toContain("Origin");
      }
    },
  );

  test.each(["https://shop.example", "http://localhost.shop.example", "http://127.0.0.1.shop.example:80", "null"])(
    "O01: from %s may not",
    async (origin) => {
      const response = await fetch(`${stack.info.url}/health`, { headers: { origin } });
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
    },
  );
});

describe("tokens", () => {
  async function token(...args: readonly string[]) {
    return await finish(runLocal("token", ["--data", dataDir, ...args]));
  }

  test("O01: in local.json have the role that the API reports for them", async () => {
    const roles = Object.entries(stack.info.tokens).map(async ([name, value]) => {
      const response = await fetch(`${stack.info.url}/v1/me`, { headers: { authorization: `Bearer ${value}` } });
      return [name, response.status];
    });
    expect(Object.fromEntries(await Promise.all(roles))).toEqual({
      superAdmin: 200,
      admin: 200,
      support: 200,
      readOnly: 200,
      tenantOwner: 200,
      tenantStaff: 200,
      tenantViewer: 200,
    });
  });

  test("O01: are printed for a role, a tenant, a user and a lifetime", async () => {
    const { code, output } = await token("--role", "staff", "--tenant", "tn_elsewhere", "--user", "u-7", "--expires", "15m");
    expect(code).toBe(0);
    const claims = decodeJwt(output.trim());
    expect(claims).toMatchObject({
      sub: "u-7",
      aud: "authenticated",
      iss: `${stack.info.url}/auth/v1`,
      app_metadata: { tenant_id: "tn_elsewhere", tenant_role: "staff" },
    });
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(900);
  });

  test.each(["role", "tenant", "user", "expires"])("O01: are not printed if --%s is empty, as from an unset variable", async (name) => {
    expect(await token("--role=owner", `--${name}=`)).toEqual({
      code: 1,
      output: `innkeep: --${name} must not be empty: set a value or omit the option\n`,
    });
  });

  test.each([
    ["super_admin", "local-super-admin", undefined],
    ["readOnly", "local-read-only", undefined],
    ["admin", "local-admin", undefined],
    ["tenantOwner", "local-tenant-owner", "owner"],
    ["tenant_admin", "local-tenant-admin", "admin"],
  ])("O01: for --role %s have the subject %s", async (role, subject, tenantRole) => {
    const claims = decodeJwt((await token("--role", role)).output.trim());
    expect(claims.sub).toBe(subject);
    expect((claims["app_metadata"] as { readonly tenant_role?: string }).tenant_role).toBe(tenantRole);
  });

  test.each([
    [
      ["--role", "emperor"],
      "--role must be one of super_admin, admin, support, read_only, owner, tenant_admin, staff, viewer, not emperor",
    ],
    [[], "--role is missing: use one of super_admin, admin, support, read_only, owner, tenant_admin, staff, viewer"],
    [["--role", "support", "--tenant", "tn_1"], "support is a platform role: omit --tenant, or use a tenant role"],
    [["--role", "admin", "--expires", "soon"], "--expires must be a number followed by s, m, h or d"],
  ])("O01: are refused for %j in one line that says what to do", async (args, message) => {
    expect(await token(...args)).toMatchObject({ code: 1, output: expect.stringContaining(message) });
  });
});

test("O01: 64 concurrent callers of the API under Deno increment a counter exactly", () => expectExactCount(stack.info));
