import type { Caller } from "../../core/caller.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import { shortTenantId } from "./entity.ts";

/** The tenant of a new record: that of the body, else of the request. Throws `tenant_mismatch`. */
export function tenantOfBody(given: string | undefined, ofRequest: string | null, caller: Caller): string | undefined {
  const own = given === undefined ? undefined : shortTenantId(given);
  // The service refuses a bound caller's other tenant.
  if (own === undefined || ofRequest === null || own === ofRequest || caller.tenantId !== null) return own ?? ofRequest ?? undefined;
  throw new InnkeepError("tenant_mismatch", "The body and the rest of this request name different tenants.");
}
