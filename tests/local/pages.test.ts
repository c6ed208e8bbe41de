import { request } from "node:http";
import { join } from "node:path";
import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cleanUp, startStack, temporaryFolder } from "./stack.ts";
import type { Stack } from "./stack.ts";

let stack: Stack;

beforeAll(async () => {
  stack = await startStack(join(await temporaryFolder(), "data"), ["--ephemeral"]);
});
afterAll(cleanUp);

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** The stack's response to a Host header that fetch would not send. */
function asHost(host: string, path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(`${stack.info.url}${path}`, { headers: { host } }, (response) => {
      const parts: string[] = [];
      response.on("data", (part: Buffer) => parts.push(String(part)));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text: parts.join("") }));
    });
    sent.on("error", reject).end();
  });
}

describe("the pages of the local stack", () => {
  test.each([
    ["/", "text/html; charset=utf-8"],
    ["/docs", "text/html; charset=utf-8"],
    ["/local/index.js", "text/javascript; charset=utf-8"],
    ["/local/index.css", "text/css; charset=utf-8"],
    ["/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8"],
  ])("H23: %s is sent with its type and a policy without inline scripts and other hosts", async (path, type) => {
    const response = await fetch(`${stack.info.url}${path}`);
    expect([response.status, response.headers.get("content-type")]).toEqual([200, type]);
    const policy = response.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    const head = await fetch(`${stack.info.url}${path}`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-type"), await head.text()]).toEqual([200, type, ""]);
  });

  test.each(["/local/", "/local/../start.ts", "/local/%2e%2e/start.ts", "/docs/package.json", "/docs/", "/package.json", "/local.json"])(
    "O01: %s returns the API's 404",
    async (path) => {
      const { status, text } = await asHost("127.0.0.1", path);
      expect(status).toBe(404);
      expect(JSON.parse(text)).toMatchObject({ code: "not_found" });
    },
  );

  test("O01: the API refuses a POST to the page", async () => {
    expect((await fetch(`${stack.info.url}/`, { method: "POST", body: "x" })).status).toBe(404);
  });

  test("R12: tokens are served only under this machine's own names, and not to other origins", async () => {
    for (const host of ["shop.example", "shop.example:8787", "localhost.shop.example", "127.0.0.1.shop.example", "[::ffff:1.2.3.4]"]) {
      for (const path of ["/local/tokens", "/"]) expect([host, (await asHost(host, path)).status]).toEqual([host, 404]);
    }
    expect((await asHost("localhost", "/local/tokens")).status).toBe(200);
    const response = await fetch(`${stack.info.url}/local/tokens`, { headers: { origin: "http://localhost:5173" } });
    expect(response.headers.get("access-control-allow-origin")).toBeNull();
    expect(response.headers.get("cross-origin-resource-policy")).toBe("same-origin");
    expect(response.headers.get("cache-control")).toBe("no-store");
  });

  test("O01: the tokens of tenant roles are for the requested tenant", async () => {
    const answer = await (await fetch(`${stack.info.url}/local/tokens?tenantId=tn_other`)).json() as {
      readonly tenant: { readonly token: string }[];
    };
    const claims = answer.tenant.map(({ token }) => decodeJwt(token)["app_metadata"]);
    expect(claims).toEqual(
      ["owner", "admin", "staff", "viewer"].map((role) => expect.objectContaining({ tenant_id: "tn_other", tenant_role: role })),
    );
    expect((await fetch(`${stack.info.url}/local/tokens?tenantId=a:b`)).status).toBe(404);
  });
});
