import { expect, test } from "vitest";
import { useApi } from "./support/api.ts";

const api = useApi();

test("T01: a tenant is created with its id, location, times and ETag", async () => {
  const answer = await api.send("POST", "/v1/tenants", {
    token: api.admin("super_admin"),
    json: { name: "Hotel Aurora", subdomain: "aurora", plan: "plan:Pro", owner: "ada@aurora.example", ownerName: "Ada Auer" },
  });
  expect(answer.status, answer.text).toBe(201);
  expect(answer.body.id).toMatch(/^tn_\d{13}_[0-9a-z]{12}$/);
  expect(answer.headers.get("location")).toBe(`/v1/tenants/${answer.body.id}`);
  expect(answer.headers.get("etag")).toBe(`"${answer.body.version}"`);
});
