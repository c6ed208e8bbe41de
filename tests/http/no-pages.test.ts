import { expect, test } from "vitest";
import { useApi } from "./support/api.ts";

const api = useApi();

test.each(["/", "/docs", "/docs/swagger-ui-bundle.js", "/local/tokens", "/local/about", "/local/index.js", "/functions/v1/api/", "/api"])(
  "R12: the deployed API returns 404 for %s: the pages and tokens of the local stack are not part of it",
  async (path) => {
    const { status, headers, body } = await api.send("GET", path, { token: api.admin("super_admin") });
    expect([status, headers.get("content-type"), body.code]).toEqual([404, "application/problem+json", "not_found"]);
    expect(headers.get("content-security-policy")).toBe("default-src 'none'; frame-ancestors 'none'");
  },
);
