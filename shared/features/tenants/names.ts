import { revenueProblem } from "../../core/money.ts";
import type { Platform } from "../../core/platform.ts";
import type { Change } from "../../core/unit-of-work.ts";
import { errors, type FieldError, InnkeepError } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import { RESERVED_TENANT_IDS } from "../../kv/key.ts";
import type { Mutation } from "../../kv/store.ts";
import { domainClaim, subdomainClaim } from "./claims.ts";
import type { Tenant } from "./entity.ts";
import { heldDomainProblem, heldSubdomainProblem } from "./host-names.ts";

interface Given {
  readonly id?: string | undefined;
  readonly subdomain?: string | undefined;
  readonly customDomain?: string | null | undefined;
  readonly region?: string | null | undefined;
  readonly mrr?: number | undefined;
}

type Rules = Pick<Platform, "hosts" | "regions" | "currency">;

/**
 * Refuses what this platform does not allow: reserved ids, subdomains and domains, unknown regions, and revenue with more decimals
 * than its currency has. Throws `validation_failed` with a pointer to each.
 */
export function assertAllowed({ id, subdomain, customDomain, region, mrr }: Given, { hosts, regions, currency }: Rules): void {
  const problems: FieldError[] = [];
  const add = (path: string, message: string | null) => {
    if (message !== null) problems.push({ path, message, code: "invalid" });
  };
  if (id !== undefined && RESERVED_TENANT_IDS.has(id)) add("/id", `must not be ${id}, which is reserved`);
  if (subdomain !== undefined) add("/subdomain", heldSubdomainProblem(subdomain, hosts));
  if (typeof customDomain === "string") add("/customDomain", heldDomainProblem(customDomain, hosts));
  if (typeof region === "string" && !regions.includes(region)) add("/region", `must be one of ${regions.join(", ")}`);
  if (mrr !== undefined) add("/mrr", revenueProblem(mrr, currency));
  if (problems.length > 0) throw errors.validation(problems);
}

/** Claims new names in the same commit. A name that is taken is a conflict on the claim's key. */
export function claimChanges(before: Tenant | null, after: Tenant, createdAt: string): Change[] {
  const { id: tenantId, subdomain, customDomain } = after;
  return [
    ...(subdomain === before?.subdomain
      ? []
      : [{ entity: subdomainClaim, before: null, after: { label: subdomain, tenantId, createdAt } }]),
    ...(customDomain === undefined || customDomain === before?.customDomain
      ? []
      : [{ entity: domainClaim, before: null, after: { hostname: customDomain, tenantId, createdAt } }]),
  ];
}

/** Releases names. While this tenant's version is unchanged, no other tenant can hold them. */
export function releasedClaims(before: Tenant, after: Tenant): Mutation[] {
  return [
    ...(after.subdomain === before.subdomain ? [] : [keyOf(subdomainClaim, { label: before.subdomain })]),
    ...(after.customDomain === before.customDomain || before.customDomain === undefined
      ? []
      : [keyOf(domainClaim, { hostname: before.customDomain })]),
  ].map((key) => ({ op: "delete", key }));
}

/** The error of a commit that lost a claim to another tenant. Undefined for a conflict on another key. */
export function refuseClaim(record: Tenant): (conflict: string) => InnkeepError | undefined {
  return (conflict) => {
    if (conflict === keyOf(subdomainClaim, { label: record.subdomain })) {
      return new InnkeepError("subdomain_taken", `The subdomain ${record.subdomain} is taken. Choose another one.`);
    }
    if (record.customDomain !== undefined && conflict === keyOf(domainClaim, { hostname: record.customDomain })) {
      return new InnkeepError("domain_taken", `The domain ${record.customDomain} is taken. Choose another one.`);
    }
    return undefined;
  };
}
