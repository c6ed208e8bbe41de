import { domainClaim, subdomainClaim } from "../../shared/features/tenants/claims.ts";
import { shortTenantId, tenant } from "../../shared/features/tenants/entity.ts";
import { errors, InnkeepError } from "../../shared/kernel/errors.ts";
import { keyOf } from "../../shared/kv/define.ts";
import { isSegment } from "../../shared/kv/key.ts";
import type { Store } from "../../shared/kv/store.ts";
import { domainProblem, type HostRules, normalizeHost, subdomainProblem } from "../../shared/features/tenants/host-names.ts";
import { forbiddenFields, type OwnRecord } from "../../shared/core/scopes.ts";
import type { Route } from "../../shared/core/route.ts";
import type { Caller } from "./authenticate.ts";

/** What a request says about its tenant; undefined where it says nothing. */
export interface TenantSources {
  readonly path: string | undefined;
  /** `?tenantId=`, on routes that have it. */
  readonly query: string | undefined;
  readonly header: string | undefined;
  readonly host: string | undefined;
}

/**
 * The tenant of a request: path, else `X-Tenant-Id`, else the host, else the credential's own. A bound
 * credential asked for another by any source sees what it would see of a tenant that does not exist.
 */
export async function resolveTenant(
  caller: Caller,
  sources: TenantSources,
  rules: HostRules,
  store: Store,
): Promise<string | null> {
  const byHost = await claimedBy(sources.host, rules, store);
  const [path, query, header] = [sources.path, sources.query, sources.header].map((id) => id === undefined ? id : shortTenantId(id));
  const named = [path, query, header, byHost].filter((id) => id !== undefined);
  if (caller.kind === "user") {
    const other = named.find((id) => id !== caller.tenantId);
    if (other !== undefined) throw errors.notFound("tenant", other);
    return caller.tenantId;
  }
  const outer = [header, byHost].filter((id) => id !== undefined);
  const distinct = [...new Set([path ?? query, ...outer].filter((id) => id !== undefined))];
  if (caller.kind === "admin" && outer.length > 0) await assertReachable(distinct, store);
  return distinct[0] ?? null;
}

/** A header or host names only a tenant that exists; two that exist and differ are a mistake worth naming. */
async function assertReachable(ids: readonly string[], store: Store): Promise<void> {
  const malformed = ids.find((id) => !isSegment(id));
  if (malformed !== undefined) throw errors.notFound("tenant", malformed.slice(0, 200));
  const found = await store.mget(ids.map((id) => keyOf(tenant, { id })));
  const missing = ids.find((_, i) => !found[i]);
  if (missing !== undefined) throw errors.notFound("tenant", missing);
  if (ids.length > 1) throw new InnkeepError("tenant_mismatch", "the path, X-Tenant-Id and host of this request name different tenants");
}

/** After tenancy: a suspended tenant's own users, then the route's scope. */
export function authorize(caller: Caller, route: Route): void {
  if (route.scope === "public") return;
  if (
    caller.kind === "user" && !route.openWhenSuspended && (caller.tenant.status === "suspended" || caller.tenant.status === "cancelled")
  ) {
    throw new InnkeepError("tenant_suspended", `the tenant is ${caller.tenant.status}`);
  }
  if (route.scope !== "caller" && !caller.scopes.has(route.scope)) {
    throw new InnkeepError("insufficient_scope", `this needs the scope ${route.scope}`, [], { requiredScope: route.scope });
  }
  if (route.platformOnly && caller.kind !== "admin") throw new InnkeepError("forbidden", "this is for platform admins");
}

/** Refuses a tenant's own user what in its records is the platform's, or its owner's, to change. */
export function assertOwnFields(caller: Caller, kind: OwnRecord, change: Readonly<Record<string, unknown>>): void {
  if (caller.kind !== "user") return;
  const forbidden = forbiddenFields(kind, caller.role, change);
  if (forbidden.length === 0) return;
  const fields = forbidden.map((path) => ({ path, message: "is not yours to change", code: "forbidden" }));
  throw new InnkeepError("forbidden", `not yours to change: ${forbidden.join(", ")}`, fields);
}

export type TenantName = { readonly subdomain: string } | { readonly domain: string };

/** The key of the claim on a name; null when it is none that could be claimed. */
export function claimKey(name: TenantName): string | null {
  if ("domain" in name) return keyOf(domainClaim, { hostname: name.domain });
  return subdomainProblem(name.subdomain) === null ? keyOf(subdomainClaim, { label: name.subdomain }) : null;
}

/** A host's tenant name: the label below the base domain, else a custom domain. Null for hosts that can name none. */
export function nameOfHost(host: string, { baseDomain, apiHosts }: HostRules): TenantName | null {
  const name = normalizeHost(host);
  if (name === baseDomain || apiHosts.includes(name)) return null;
  if (baseDomain && name.endsWith(`.${baseDomain}`)) {
    return { subdomain: name.slice(0, -baseDomain.length - 1) };
  }
  return domainProblem(name) === null ? { domain: name } : null;
}

async function claimedBy(host: string | undefined, rules: HostRules, store: Store): Promise<string | undefined> {
  const name = host === undefined ? null : nameOfHost(host, rules);
  const key = name && claimKey(name);
  const claim = key && await store.get(key);
  return claim ? subdomainClaim.schema.pick({ tenantId: true }).parse(claim.value).tenantId : undefined;
}
