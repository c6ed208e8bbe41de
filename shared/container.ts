import { DEFAULT_REGIONS, type HostRules, NO_HOST_RULES, type Platform, type SelfServicePlans } from "./core/platform.ts";
import { type PlainKv, plainKv } from "./core/plain.ts";
import { UnitOfWork } from "./core/unit-of-work.ts";
import { features, scopes } from "./features/index.ts";
import type { Clock } from "./kernel/clock.ts";
import type { Context } from "./kernel/context.ts";
import type { Logger } from "./kernel/logger.ts";
import { Turns } from "./kernel/turns.ts";
import type { Entry, Store } from "./kv/store.ts";

export interface ContainerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** ISO 4217 code of the platform's currency; USD when left out. */
  readonly currency?: string;
  /** Names no tenant may take; none when left out. */
  readonly hosts?: HostRules;
  readonly regions?: readonly string[];
  /** `none` when left out. */
  readonly selfServicePlans?: SelfServicePlans;
}

/** The store and what holds for all callers; binds a unit of work to each. */
export interface Backend {
  /** The service-level store; a tenant's context never sees it. */
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly platform: Platform;
  /** A bound caller gets the tenant-bound store; `loaded` are entries on their way that it may see. */
  bind(context: Context, loaded?: readonly (readonly [key: string, entry: Promise<Entry | null>])[]): UnitOfWork;
}

export function createBackend(options: ContainerOptions): Backend {
  const { store, clock, logger, currency = "USD", hosts = NO_HOST_RULES, regions = DEFAULT_REGIONS, selfServicePlans = "none" } = options;
  const registry = async () => (await import("./features/registry.ts")).registry;
  const platform: Platform = { currency, hosts, regions, selfServicePlans, registry, scopes, logger };
  const turns = new Turns();
  return {
    store,
    clock,
    logger,
    platform,
    bind(context, loaded) {
      const own = context.tenantId === null ? store : store.forTenant(context.tenantId);
      return new UnitOfWork(own, context, platform, turns, loaded);
    },
  };
}

type Modules = Awaited<ReturnType<(typeof features)[number]["services"]>>;
type ClassNames<M> = M extends unknown ? Extract<keyof M, `${string}Service`> : never;
type ClassOf<M, N> = M extends unknown ? N extends keyof M ? M[N] : never : never;

/** The services bound to one caller, under the names the user's guide calls them by. */
export type Services =
  & {
    readonly [N in ClassNames<Modules>]: ClassOf<Modules, N> extends new (work: UnitOfWork) => infer T ? T : never;
  }
  & { readonly kv: PlainKv };

export interface Container extends Backend {
  services(context: Context): Services;
}

/** Every feature's services, for use as a library. */
export async function createContainer(options: ContainerOptions): Promise<Container> {
  const backend = createBackend(options);
  const servicesOf = await loadServices();
  return { ...backend, services: (context) => servicesOf(backend.bind(context)) };
}

/** Makes a caller's services, each when it is first used. */
export async function loadServices(): Promise<(work: UnitOfWork) => Services> {
  const { entityOfKey, registry } = await import("./features/registry.ts");
  const modules = await Promise.all(features.map((feature): Promise<object> => feature.services()));
  const classes = modules.flatMap((module) => Object.entries(module).filter(([name]) => name.endsWith("Service"))) as [
    string,
    new (work: UnitOfWork) => object,
  ][];
  return (work) => {
    const services: Record<string, unknown> = { kv: plainKv(work.store, registry, entityOfKey) };
    for (const [name, Service] of classes) lazily(services, name, () => new Service(work));
    // Its names and types are those of the modules of the list.
    return services as unknown as Services;
  };
}

function lazily(target: Record<string, unknown>, name: string, make: () => unknown): void {
  let made: unknown;
  Object.defineProperty(target, name, { enumerable: true, get: () => made ??= make() });
}

/**
 * The first administrator, and before it the shipped metrics and plans: a start that dies in between is then made up by the next
 * one. Throws `bootstrap_closed`, without touching them, as soon as an enabled super_admin exists.
 */
export async function bootstrapPlatform(
  { AdminUserService, MetricService, PlanService }: Services,
  first: Parameters<Services["AdminUserService"]["bootstrap"]>[0],
): Promise<{ readonly admin: Awaited<ReturnType<Services["AdminUserService"]["bootstrap"]>>; readonly plans: string[] }> {
  await AdminUserService.assertBootstrapOpen();
  await MetricService.seedDefaults();
  const plans = await PlanService.seedDefaults();
  return { admin: await AdminUserService.bootstrap(first), plans };
}
