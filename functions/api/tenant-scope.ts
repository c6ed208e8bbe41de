import type { Caller } from "../../shared/core/caller.ts";
import { Collection } from "../../shared/core/collection.ts";
import type { HostRules } from "../../shared/core/platform.ts";
import type { Route } from "../../shared/core/route.ts";
import { domainClaim, subdomainClaim } from "../../shared/features/tenants/claims.ts";
import { shortTenantId, tenant } from "../../shared/features/tenants/entity.ts";
import { nameOfHost } from "../../shared/features/tenants/host-names.ts";
import { errors, InnkeepError } from "../../shared/kernel/errors.ts";
import { keyOf } from "../../shared/kv/define.ts";
import { isSegment } from "../../shared/kv/key.ts";
import type { Store } from "../../shared/kv/store.ts";

/** The parts of a request that can name its tenant. */
export interface TenantSources {
  readonly path: string | undefined;
  /** `?tenantId=`, on routes with this parameter. */
  readonly query: string | undefined;
  readonly header: string | undefined;
  readonly host: HostClaim | null;
}

/** The tenant that has claimed the host of a request; null if no tenant has. */
export interface HostClaim {
  readonly tenantId: string | null;
}

/**
 * Returns the tenant of a request: from the path or query, else `X-Tenant-Id`, else the host, else the caller's own. A caller that is
 * bound to a tenant and names another in any of them gets the same 404 as for a tenant or host that does not exist.
 */
export async function resolveTenant(caller: Caller, sources: TenantSources, store: Store): Promise<string | null> {
  const { host } = sources;
  if (sources.header === "") {
    throw new InnkeepError("not_found", "The X-Tenant-Id header is empty. Send the id of a tenant, or omit the header.");
  }
  const [path, query, header] = namedIn(sources);
  if (caller.tenantId !== null) {
    const other = otherTenant(caller.tenantId, sources);
    if (other === null) return caller.tenantId;
    throw "id" in other
      ? errors.notFound("tenant", other.id.slice(0, 200))
      : new InnkeepError("not_found", "There is no tenant at this host.");
  }
  const outer = [header, host?.tenantId ?? undefined].filter((id) => id !== undefined);
  const distinct = [...new Set([path ?? query, ...outer].filter((id) => id !== undefined))];
  if (caller.kind !== "anonymous" && outer.length > 0) await assertReachable(distinct, store);
  return distinct[0] ?? null;
}

/** The tenants that the path, the query and the header name. */
function namedIn({ path, query, header }: TenantSources): (string | undefined)[] {
  return [path, query, header].map((id) => id === undefined ? id : shortTenantId(id));
}

/** What a request names that is not the tenant of its bound caller: an id, or the host. Null if there is nothing. */
export function otherTenant(own: string, sources: TenantSources): { readonly id: string } | { readonly host: true } | null {
  const other = namedIn(sources).find((id) => id !== undefined && id !== own);
  // An empty header names no tenant; it is refused before.
  if (other !== undefined) return other === "" ? null : { id: other };
  return sources.host && sources.host.tenantId !== own ? { host: true } : null;
}

/** Throws `not_found` if a tenant does not exist, and `tenant_mismatch` if there are several. */
async function assertReachable(ids: readonly string[], store: Store): Promise<void> {
  const malformed = ids.find((id) => !isSegment(id));
  if (malformed !== undefined) throw errors.notFound("tenant", malformed.slice(0, 200));
  const found = await store.mget(ids.map((id) => keyOf(tenant, { id })));
  const missing = ids.find((_, i) => !found[i]);
  if (missing !== undefined) throw errors.notFound("tenant", missing);
  if (ids.length > 1) throw new InnkeepError("tenant_mismatch", "The path, X-Tenant-Id and host of this request name different tenants.");
}

/** Refuses the users and keys of a suspended or cancelled tenant, then callers without the route's scope. */
export function authorize(caller: Caller, route: Route): void {
  if (route.scope === "public") return;
  const status = caller.kind === "user" || caller.kind === "key" ? caller.tenant?.status : undefined;
  if (!route.openWhenSuspended && (status === "suspended" || status === "cancelled")) {
    throw new InnkeepError("tenant_suspended", `Your tenant is ${status}. Ask the platform's support.`);
  }
  if (route.scope !== "caller" && !caller.scopes.has(route.scope)) {
    throw new InnkeepError("insufficient_scope", `You need the scope ${route.scope}.`, [], { requiredScope: route.scope });
  }
  if (route.platformOnly && caller.tenantId !== null) {
    throw new InnkeepError("forbidden", "Only platform admins and API keys without a tenant may do this.");
  }
}

/** Returns the claim on a host, or null if the host cannot name a tenant. */
export async function claimedBy(host: string, rules: HostRules, store: Store): Promise<HostClaim | null> {
  const name = nameOfHost(host, rules);
  if (!name) return null;
  const claim = "domain" in name
    ? await new Collection(domainClaim, store).get(name.domain)
    : await new Collection(subdomainClaim, store).get(name.subdomain);
  return { tenantId: claim?.tenantId ?? null };
}
