import type { Container } from "../../../shared/container.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { errors, InnkeepError } from "../../../shared/kernel/errors.ts";
import { isSegment } from "../../../shared/kv/key.ts";
import type { Route } from "../define-route.ts";
import type { Caller } from "./authenticate.ts";

/** What a request says about its tenant; undefined where it says nothing. */
export interface TenantSources {
  readonly path: string | undefined;
  /** `?tenantId=`, on routes that have it. */
  readonly query: string | undefined;
  readonly header: string | undefined;
  readonly host: string | undefined;
}

export interface HostRules {
  /** `aurora.example.com` is tenant `aurora` when this is `example.com`. */
  readonly baseDomain: string | null;
}

/**
 * The tenant of a request: path, else `X-Tenant-Id`, else the host, else the credential's own. A bound
 * credential asked for another by any source sees what it would see of a tenant that does not exist.
 */
export async function resolveTenant(
  caller: Caller, sources: TenantSources, rules: HostRules, container: Container, requestId: string,
): Promise<string | null> {
  const byHost = await tenantOfHost(sources.host, rules, container, requestId);
  const named = [shortId(sources.path), shortId(sources.query), shortId(sources.header), byHost].filter((id) => id !== undefined);
  if (caller.kind === "user") {
    const other = named.find((id) => id !== caller.tenantId);
    if (other !== undefined) throw errors.notFound("tenant", other);
    return caller.tenantId;
  }
  const outer = [shortId(sources.header), byHost].filter((id) => id !== undefined);
  const distinct = [...new Set([shortId(sources.path) ?? shortId(sources.query), ...outer].filter((id) => id !== undefined))];
  if (caller.kind === "admin" && outer.length > 0) await assertReachable(distinct, container, requestId);
  return distinct[0] ?? null;
}

/** A header or host names only a tenant that exists; two that exist and differ are a mistake worth naming. */
async function assertReachable(ids: readonly string[], container: Container, requestId: string): Promise<void> {
  const { TenantService } = container.services(systemContext(container.clock, requestId));
  const found = await Promise.all(ids.map((id) => isSegment(id) ? TenantService.get(id) : null));
  const missing = ids.find((_, i) => !found[i]);
  if (missing !== undefined) throw errors.notFound("tenant", missing);
  if (ids.length > 1) throw new InnkeepError("tenant_mismatch", "the path, X-Tenant-Id and host of this request name different tenants");
}

/** After tenancy: a suspended tenant's own users, then the route's scope. */
export function authorize(caller: Caller, route: Route): void {
  if (route.scope === "public") return;
  if (caller.kind === "user" && !route.openWhenSuspended && (caller.tenant.status === "suspended" || caller.tenant.status === "cancelled")) {
    throw new InnkeepError("tenant_suspended", `the tenant is ${caller.tenant.status}`);
  }
  if (route.scope !== "caller" && !caller.scopes.has(route.scope)) {
    throw new InnkeepError("insufficient_scope", `this needs the scope ${route.scope}`, [], { requiredScope: route.scope });
  }
  if (route.platformOnly && caller.kind !== "admin") throw new InnkeepError("forbidden", "this is for platform admins");
}

const NEVER_TENANTS = /^(localhost|[\d.]+|\[.*\])$|\.(localhost|supabase\.co|supabase\.red|supabase\.net)$/;

/** A subdomain of the base domain, or a custom domain, through the claims. An own or unknown host names no tenant. */
async function tenantOfHost(
  host: string | undefined, { baseDomain }: HostRules, container: Container, requestId: string,
): Promise<string | undefined> {
  const name = host?.toLowerCase().replace(/:\d+$/, "").replace(/\.$/, "");
  if (!name || name === baseDomain || NEVER_TENANTS.test(name)) return undefined;
  const { TenantService } = container.services(systemContext(container.clock, requestId));
  const label = baseDomain && name.endsWith(`.${baseDomain}`) ? name.slice(0, -baseDomain.length - 1) : null;
  if (label?.includes(".")) return undefined;
  const found = await TenantService.resolve(label ?? name);
  return found?.id;
}

/** `tenant:tn_1` and `tn_1` name the same record. */
function shortId(id: string | undefined): string | undefined {
  return id?.startsWith("tenant:") ? id.slice("tenant:".length) : id;
}
