import { DEFAULT_REGIONS, type HostRules, NO_HOST_RULES, type Platform } from "./core/platform.ts";
import { PlatformRecords } from "./core/platform-records.ts";
import type { Actions } from "./core/actions.ts";
import type { Job } from "./core/job.ts";
import { Coalescer } from "./core/coalescer.ts";
import type { Mailer } from "./core/mail.ts";
import { NO_OUTBOUND, type Outbound } from "./core/outbound.ts";
import { PersonalKeys } from "./core/personal-keys.ts";
import { type PlainKv, plainKv } from "./core/plain.ts";
import type { RateLimits } from "./core/caller.ts";
import { RateLimiter } from "./core/rate-limiter.ts";
import { NO_ROOT_KEYS, type RootKeySource } from "./core/root-keys.ts";
import { SecretBox } from "./core/secret-box.ts";
import { UnitOfWork } from "./core/unit-of-work.ts";
import { actions as declared, features, loadConfigured, loadJobs, scopes } from "./features/index.ts";
import type { Archive } from "./kernel/archive.ts";
import type { Clock } from "./kernel/clock.ts";
import type { Context } from "./kernel/context.ts";
import type { Logger } from "./kernel/logger.ts";
import { Turns } from "./kernel/turns.ts";
import type { AnyEntity } from "./kv/define.ts";
import type { Entry, Store } from "./kv/store.ts";

export interface ContainerOptions {
  /** Background jobs. Default: those of the features. */
  readonly jobs?: () => Promise<readonly Job[]>;
  /** Every declared entity. Default: those of the features. */
  readonly registry?: () => Promise<readonly AnyEntity[]>;
  /** The actions of audit entries that the program declares. Default: those of the features. */
  readonly actions?: Actions;
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** ISO 4217 code of the platform's currency. Default: USD. */
  readonly currency?: string;
  /** The platform's own host names, which no tenant may claim. Default: none. */
  readonly hosts?: HostRules;
  readonly regions?: readonly string[];
  /** Signs the checkpoints of audit chains. Default: none, so they are not signed. */
  readonly auditKey?: string | null;
  /** The key before `auditKey`, or `none`. Default: none is accepted besides `auditKey`. */
  readonly previousAuditKey?: string | null;
  /** The key of the HMAC of API keys, at least 32 characters. Default: none, so there are no API keys. */
  readonly apiKeySecret?: string | null;
  /** The key before `apiKeySecret`. */
  readonly previousApiKeySecret?: string | null;
  /** Default: none, so nothing can be encrypted, and audit entries hold personal data as it is. */
  readonly rootKeys?: RootKeySource;
  /** Keeps the runtime alive until work in the background has ended. */
  readonly background?: (work: Promise<unknown>) => void;
  /** See `Platform`. Default: null, for programs with a clock of their own. */
  readonly maxClockSkewMs?: number | null;
  /** Where audit entries are archived. Default: nowhere. */
  readonly archive?: Archive | null;
  /** Default: null, so callers are not limited. */
  readonly rateLimits?: RateLimits | null;
  /** Calls receivers of webhooks and providers. Default: every call fails. */
  readonly outbound?: Outbound;
  /** Default: none, so there is no e-mail. */
  readonly mailer?: Mailer | null;
}

/** The store and the settings that all callers share. `bind` makes the unit of work of one caller. */
export interface Backend {
  /** The store with access to all tenants. A caller bound to a tenant never gets it. */
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly platform: Platform;
  /** A caller bound to a tenant gets that tenant's store. `loaded`: reads already started, of entries that the caller may see. */
  bind(context: Context, loaded?: readonly (readonly [key: string, entry: Promise<Entry | null>])[]): UnitOfWork;
}

export function createBackend(options: ContainerOptions): Backend {
  const {
    store,
    clock,
    logger,
    currency = "USD",
    hosts = NO_HOST_RULES,
    regions = DEFAULT_REGIONS,
    auditKey = null,
    previousAuditKey = null,
    apiKeySecret = null,
    previousApiKeySecret = null,
    maxClockSkewMs = null,
    archive = null,
    outbound = NO_OUTBOUND,
    mailer = null,
    jobs = loadJobs,
    actions = declared,
    registry = async () => (await import("./features/registry.ts")).registry,
  } = options;
  const settings = { currency, hosts, regions, auditKey, previousAuditKey, maxClockSkewMs, archive, outbound, mailer };
  const catalogues = { registry, jobs, configured: loadConfigured, scopes, actions };
  const platform: Platform = { ...settings, ...catalogues, ...sharedBy(options), apiKeySecret, previousApiKeySecret, logger };
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

/** What all callers use, with the state that it keeps in the process. */
function sharedBy(
  { store, clock, logger, rootKeys = NO_ROOT_KEYS, background, rateLimits = null }: ContainerOptions,
): Pick<Platform, "secrets" | "personal" | "records" | "uses" | "limiter"> {
  const secrets = new SecretBox(rootKeys, clock);
  return {
    secrets,
    personal: new PersonalKeys({ store, secrets: rootKeys === NO_ROOT_KEYS ? null : secrets, clock, logger }),
    records: new PlatformRecords(store, clock),
    uses: new Coalescer({ store, logger, background }),
    limiter: rateLimits && new RateLimiter({ store, logger, limits: rateLimits }),
  };
}

type Modules = Awaited<ReturnType<(typeof features)[number]["services"]>>;
type ClassNames<M> = M extends unknown ? Extract<keyof M, `${string}Service`> : never;
type ClassOf<M, N> = M extends unknown ? N extends keyof M ? M[N] : never : never;

/** The services bound to one caller, by class name. */
export type Services =
  & {
    readonly [N in ClassNames<Modules>]: ClassOf<Modules, N> extends new (work: UnitOfWork) => infer T ? T : never;
  }
  & { readonly kv: PlainKv };

export interface Container extends Backend {
  services(context: Context): Services;
}

/** A container with the services of every feature, for use as a library. */
export async function createContainer(options: ContainerOptions): Promise<Container> {
  const backend = createBackend(options);
  const servicesOf = await loadServices();
  return { ...backend, services: (context) => servicesOf(backend.bind(context)) };
}

/** Loads all service classes. The returned function makes a caller's services, each on first use. */
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
    // The names and types are those of the modules in the list of features.
    return services as unknown as Services;
  };
}

function lazily(target: Record<string, unknown>, name: string, make: () => unknown): void {
  let made: unknown;
  Object.defineProperty(target, name, { enumerable: true, get: () => made ??= make() });
}

/**
 * Creates the default metrics and plans, and last the first administrator, so that the next run completes one that was
 * interrupted. If an enabled super_admin exists, throws `bootstrap_closed` and writes nothing.
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
