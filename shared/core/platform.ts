import type { Logger } from "../kernel/logger.ts";
import type { AnyEntity } from "../kv/define.ts";
import type { ScopeCatalogue } from "./scopes.ts";

/** What holds for all callers: configuration, and what follows from the declarations. */
export interface Platform {
  /** ISO 4217 code. */
  readonly currency: string;
  readonly hosts: HostRules;
  readonly regions: readonly string[];
  readonly selfServicePlans: SelfServicePlans;
  /** Every declared entity; a request loads those of its own features alone. */
  readonly registry: () => Promise<readonly AnyEntity[]>;
  readonly scopes: ScopeCatalogue;
  /** For what a call goes on without. */
  readonly logger: Logger;
}

/** Where a tenant's own users may move their subscription: nowhere, to a cheaper plan, or to any. */
export const SELF_SERVICE_PLANS = ["none", "downgrade", "any"] as const;
export type SelfServicePlans = (typeof SELF_SERVICE_PLANS)[number];

/** What the platform keeps for itself among the names a request can come by. */
export interface HostRules {
  /** `aurora.example.com` is tenant `aurora` when this is `example.com`. */
  readonly baseDomain: string | null;
  /** The API's own hosts: they name no tenant, and no tenant may take them. */
  readonly apiHosts: readonly string[];
}

export const NO_HOST_RULES: HostRules = { baseDomain: null, apiHosts: [] };

export const DEFAULT_REGIONS: readonly string[] = ["us-east-1", "us-west-2", "eu-west-1", "ap-southeast-1", "ap-northeast-1"];
