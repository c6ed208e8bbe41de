import { z } from "zod";
import { defineEntity } from "../../kv/define.ts";
import { instant, segment } from "../../core/values.ts";

/** A claim makes a name unique among all tenants: its key contains the name and is written with check(key, null). */
export const subdomainClaim = defineEntity({
  name: "subdomain-claim",
  summary: "The tenant that holds a subdomain label.",
  key: "subdomain:{label}",
  schema: z.looseObject({ label: segment, tenantId: segment, createdAt: instant }),
  owner: "tenant",
  example: { label: "aurora", tenantId: "tn_1767225600000_a1b2c3d4e5f6", createdAt: "2026-01-01T00:00:00.000Z" },
});

export const domainClaim = defineEntity({
  name: "domain-claim",
  summary: "The tenant that holds a custom domain.",
  key: "domain:{hostname}",
  schema: z.looseObject({ hostname: segment, tenantId: segment, createdAt: instant }),
  owner: "tenant",
  example: { hostname: "stay.aurora.example", tenantId: "tn_1767225600000_a1b2c3d4e5f6", createdAt: "2026-01-01T00:00:00.000Z" },
});
