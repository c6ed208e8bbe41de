import { entityOfKey, registry } from "./features/index.ts";
import type { Clock } from "./kernel/clock.ts";
import type { Context } from "./kernel/context.ts";
import type { Logger } from "./kernel/logger.ts";
import { Turns } from "./kernel/turns.ts";
import { plainKv } from "./core/plain.ts";
import type { PlainKv } from "./core/plain.ts";
import type { Store } from "./kv/store.ts";
import { type HostRules, NO_HOST_RULES } from "./features/tenants/host-names.ts";
import { AdminUserService, type StoredAdmin } from "./features/admins/service.ts";
import { AuditService } from "./features/audit/service.ts";
import { PlanService } from "./features/plans/service.ts";
import { SubscriptionService } from "./features/subscriptions/service.ts";
import { TenantService } from "./features/tenants/service.ts";
import { UnitOfWork } from "./core/unit-of-work.ts";
import { UsageService } from "./features/usage/service.ts";

export interface ContainerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** ISO 4217 code of the platform's currency; USD when left out. */
  readonly currency?: string;
  /** Names no tenant may take; none when left out. */
  readonly hosts?: HostRules;
}

/** The services bound to one caller, under the names the user's guide calls them by. */
export interface Services {
  readonly TenantService: TenantService;
  readonly PlanService: PlanService;
  readonly SubscriptionService: SubscriptionService;
  readonly UsageService: UsageService;
  readonly AuditService: AuditService;
  readonly AdminUserService: AdminUserService;
  readonly kv: PlainKv;
}

export interface Container {
  /** The service-level store; a tenant's context never sees it. */
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  services(context: Context): Services;
}

/**
 * The first administrator, and before it the shipped plans: a start that dies in between is then made up by the next
 * one. Throws `bootstrap_closed`, without touching the plans, as soon as an enabled super_admin exists.
 */
export async function bootstrapPlatform(
  { AdminUserService, PlanService }: Services,
  first: Parameters<AdminUserService["bootstrap"]>[0],
): Promise<{ readonly admin: StoredAdmin; readonly plans: string[] }> {
  await AdminUserService.assertBootstrapOpen();
  const plans = await PlanService.seedDefaults();
  return { admin: await AdminUserService.bootstrap(first), plans };
}

/** The composition root: the one place that makes services. A bound caller gets the tenant-bound store. */
export function createContainer({ store, clock, logger, currency = "USD", hosts = NO_HOST_RULES }: ContainerOptions): Container {
  const turns = new Turns();
  return {
    store,
    clock,
    logger,
    services(context) {
      const own = context.tenantId === null ? store : store.forTenant(context.tenantId);
      const unitOfWork = new UnitOfWork(own, context, turns);
      return {
        TenantService: new TenantService(own, unitOfWork, { currency, hosts }),
        PlanService: new PlanService(own, unitOfWork),
        SubscriptionService: new SubscriptionService(own, unitOfWork),
        UsageService: new UsageService(own, unitOfWork),
        AuditService: new AuditService(own, unitOfWork),
        AdminUserService: new AdminUserService(own, unitOfWork),
        kv: plainKv(own, registry, entityOfKey),
      };
    },
  };
}
