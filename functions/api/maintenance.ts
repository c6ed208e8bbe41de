import type { Caller } from "../../shared/core/caller.ts";
import { presentMaintenance, underMaintenance } from "../../shared/core/maintenance.ts";
import { isMutation, type Route } from "../../shared/core/route.ts";
import { currentSettings, type StoredSettings } from "../../shared/features/settings/current.ts";
import type { ApiDeps } from "./deps.ts";

type Backend = ApiDeps["backend"];

/**
 * The settings that decide whether the route may be called by a person, or change something; undefined if none do. Call it while the
 * caller is looked up.
 */
export function settingsFor(route: Route, backend: Backend, isPerson: boolean): Promise<StoredSettings> | undefined {
  return isPerson || isClosed(route) ? currentSettings(backend) : undefined;
}

/** Whether a maintenance closes the route. */
function isClosed(route: Route): boolean {
  return isMutation(route) && !route.openInMaintenance;
}

/**
 * Refuses changes during a maintenance of the platform, and those of a tenant's users and keys during a maintenance of the tenant. A
 * super_admin may change everything, the platform's callers everything of a tenant. A dry run is a read. Throws `maintenance`.
 */
export async function assertOpen(
  caller: Caller,
  route: Route,
  deciding: Promise<StoredSettings> | undefined,
  { clock }: Backend,
  isDryRun: boolean,
): Promise<void> {
  if (deciding === undefined || !isClosed(route) || isDryRun || (caller.kind === "admin" && caller.role === "super_admin")) return;
  const nowMs = clock.now();
  const whole = presentMaintenance((await deciding).maintenance, nowMs);
  if (whole) throw underMaintenance(whole, "The platform", nowMs);
  const own = caller.kind === "user" || caller.kind === "key" ? presentMaintenance(caller.tenant?.maintenance, nowMs) : null;
  if (own) throw underMaintenance(own, "Your tenant", nowMs);
}
