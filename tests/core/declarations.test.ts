import { describe, expect, test } from "vitest";
import { z } from "zod";
import { cascadePlan } from "../../shared/core/cascade.ts";
import { diff, redact, REDACTED } from "../../shared/core/redaction.ts";
import { retentionPlan } from "../../shared/core/retention.ts";
import { registry } from "../../shared/features/registry.ts";
import { declaredBy } from "../../shared/kv/declared.ts";
import { defineEntity } from "../../shared/kv/define.ts";
import { entityContract } from "./entity-contract.ts";

const declared = declaredBy(registry);

entityContract();

describe("the registry", () => {
  test("names and key shapes are unique, so that a row has one declaration", () => {
    const shapes = declared.entities.map(({ family, colons }) => `${family}/${colons}`);
    expect(new Set(shapes).size).toBe(shapes.length);
    expect(new Set(registry.map(({ name }) => name)).size).toBe(registry.length);
  });

  test("T10: the cascade and the data model agree on what is deleted, retained and not affected", () => {
    const rules = Object.fromEntries(cascadePlan(registry).map(({ entity, rule }) => [entity, rule]));
    expect(rules).toMatchObject({
      "tenant": "delete",
      "subdomain-claim": "delete",
      "domain-claim": "delete",
      "subscription": "delete",
      "usage-record": "delete",
      "audit-entry": "retain",
      "plan": "platform",
      "metric": "platform",
      "admin": "platform",
    });
  });

  test("retention keeps audit entries and usage 730 days, unless a policy says otherwise", () => {
    const days = (plan: ReturnType<typeof retentionPlan>) => Object.fromEntries(plan.map((row) => [row.entity, row.days]));
    expect(days(retentionPlan(registry))).toMatchObject({ "audit-entry": 730, "usage-record": 730 });
    const changed = days(retentionPlan(registry, { "audit-entry": 3_650, "usage-record": null, "plan": 1 }));
    expect(changed["audit-entry"]).toBe(3_650);
    expect(changed).not.toHaveProperty("usage-record");
    expect(changed).not.toHaveProperty("plan");
  });
});

describe("a declaration", () => {
  const vault = defineEntity({
    name: "vault",
    summary: "A record with a secret, declared for this test.",
    key: "vault:{id}",
    schema: z.looseObject({ id: z.string(), label: z.string(), secret: z.string().nullable().optional() }),
    owner: "platform",
    secrets: ["secret"],
    example: { id: "v_1", label: "safe", secret: "hunter2" },
  });

  test("with a key parameter or a field its schema lacks does not compile", () => {
    const key = "vault:{tenantId}";
    // @ts-expect-error -- the schema has no tenantId
    expect(defineEntity({ ...vault, key }).key).toBe(key);
    // @ts-expect-error -- the schema has no status
    expect(defineEntity({ ...vault, sortable: ["status"] }).sortable).toEqual(["status"]);
  });

  test("A04: a secret is redacted whatever its value, and an absent one stays absent", () => {
    expect(redact(vault, vault.example)).toEqual({ id: "v_1", label: "safe", secret: REDACTED });
    expect(redact(vault, { id: "v_1", secret: { nested: "hunter2" } })).toEqual({ id: "v_1", secret: REDACTED });
    expect(redact(vault, { id: "v_1", secret: null })).toEqual({ id: "v_1", secret: null });
    expect(redact(vault, { id: "v_1" })).toEqual({ id: "v_1" });
  });

  test("A04: a diff shows that a secret changed, and neither of its values", () => {
    const after = { ...vault.example, secret: "correct horse" };
    expect(diff(vault, vault.example, after)).toEqual({ before: { secret: REDACTED }, after: { secret: REDACTED } });
    expect(diff(vault, vault.example, null)).toEqual({ before: { id: "v_1", label: "safe", secret: REDACTED }, after: {} });
    expect(diff(vault, null, after)).toEqual({ before: {}, after: { id: "v_1", label: "safe", secret: REDACTED } });
  });

  test("A04: a diff is minimal, and there is none without a change", () => {
    const { example } = vault;
    expect(diff(vault, { ...example, version: "1" }, { ...example, label: "chest", version: "2" })).toEqual({
      before: { label: "safe" },
      after: { label: "chest" },
    });
    expect(diff(vault, { ...example, version: "1" }, { ...example, version: "2", updatedAt: "2026-01-01T00:00:00.000Z" })).toBeUndefined();
    expect(diff(vault, null, null)).toBeUndefined();
  });
});
