import { expect, test } from "vitest";
import { isMutation, pathParams } from "../../../shared/core/route.ts";
import { useApi } from "../../http/support/api.ts";
import { bodyOf, pathOf } from "../../http/support/samples.ts";

const api = useApi();
const PLANTED = /plantagenet/i;

test("F24: no answer that a tenant's user or API key can read has a server-only flag, a rule, or the name of another tenant", async () => {
  const { FeatureFlagService: flags } = api.services;
  const [own, other] = [await api.tenant(), await api.tenant({ name: "Hotel Plantagenet" })];
  const names = { name: "For Hotel Plantagenet", description: "Hotel Plantagenet paid.", metadata: { customer: "Hotel Plantagenet" } };
  const shared = await flags.create({
    ...names,
    key: "shared",
    status: "enabled",
    enabledForTenants: [other.id],
    rules: [
      { id: "plantagenet", when: [{ attribute: "tenantId", operator: "in", values: [other.id] }] },
      { id: "not-plantagenet", when: [{ attribute: "guest", operator: "notIn", values: ["Plantagenet"] }] },
    ],
  });
  const hidden = await flags.create({ ...names, key: "plantagenet-only", status: "enabled", serverOnly: true });
  for (const { id } of [shared, hidden]) await flags.setOverride(id, other.id, { enabled: false, reason: "Hotel Plantagenet asked." });
  // An override of the tenant's own that a tenant may see, so that its audit log names the flags.
  await flags.setOverride(shared.id, own.id, { enabled: true, expiresAt: api.clock.iso(60_000) });

  const routes = api.routes.filter((route) => route.scope !== "public" && !isMutation(route));
  const read = { evaluations: 0, others: 0 };
  const tokens = [await api.user(own.id, "viewer"), await api.user(own.id, "owner"), await api.key(["read:*"], own.id)];
  for (const token of tokens) {
    for (const route of routes) {
      const isOfFlag = pathParams(route.path).some((name) => name === "flagId" || name === "key");
      for (const { id, key } of isOfFlag ? [shared, { id: hidden.id, key: "no-such" }] : [shared]) {
        const ids = { tenantId: own.id, flagId: id, key };
        const body = route.path.startsWith("/ofrep/") ? { context: { guest: "anyone" } } : bodyOf(route, ids);
        const { status, text, headers } = await api.send(route.method, pathOf(route, ids), { token, ...(body ? { json: body } : {}) });
        const place = `${route.method} ${route.path}: ${text}`;
        expect(text, place).not.toMatch(PLANTED);
        expect(text, place).not.toContain(other.id);
        expect([...headers].join(), place).not.toMatch(PLANTED);
        if (status === 200) read[text.includes('"shared"') ? "evaluations" : "others"] += 1;
      }
    }
  }
  expect(read.evaluations, "results of the shared flag").toBeGreaterThan(3 * tokens.length);
  expect(read.others).toBeGreaterThan(15 * tokens.length);
});

test("F24: what the test above looks for is there for a platform administrator", async () => {
  const token = api.admin("read_only");
  const listed = await api.send("GET", "/v1/flags", { token });
  expect(listed.body.data.map(({ name }: { name: string }) => name)).toEqual(["For Hotel Plantagenet", "For Hotel Plantagenet"]);
  const stale = await api.send("GET", "/v1/flags/stale?days=1", { token });
  expect(stale.status, stale.text).toBe(200);
});
