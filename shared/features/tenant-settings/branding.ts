import { publicBranding } from "../../core/branding.ts";
import type { Platform } from "../../core/platform.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { keyOf } from "../../kv/define.ts";
import { isSegment } from "../../kv/key.ts";
import { currentSettings } from "../settings/current.ts";
import { domainClaim, subdomainClaim } from "../tenants/claims.ts";
import { tenant } from "../tenants/entity.ts";
import { nameOfHost } from "../tenants/host-names.ts";

/** A host, or the label of a subdomain. */
export interface BrandedHost {
  readonly host?: string | undefined;
  readonly subdomain?: string | undefined;
}
export type Branding = ReturnType<typeof publicBranding.parse>;

/**
 * The branding at a host: the tenant's over the platform's, and the platform's alone at a host that no tenant has claimed. At most 10
 * seconds old.
 */
export async function brandingAt(work: UnitOfWork, at: BrandedHost): Promise<Branding> {
  const [settings, owner] = await Promise.all([currentSettings(work), tenantAt(work.platform, at)]);
  return publicBranding.parse({
    name: owner?.name ?? settings.platformName,
    ...settings.branding,
    ...(owner ? { name: owner.name, ...owner.branding } : {}),
  });
}

async function tenantAt({ records, hosts }: Platform, { host, subdomain }: BrandedHost) {
  const name = subdomain === undefined ? nameOfHost(host ?? "", hosts) : { subdomain: subdomain.toLowerCase() };
  const [label] = name ? Object.values(name) as string[] : [];
  if (!name || label === undefined || !isSegment(label)) return null;
  const claim = "domain" in name
    ? await records.cached(domainClaim, keyOf(domainClaim, { hostname: label }))
    : await records.cached(subdomainClaim, keyOf(subdomainClaim, { label }));
  return claim && await records.cached(tenant, keyOf(tenant, { id: claim.tenantId }));
}
