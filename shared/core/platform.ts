import type { Archive } from "../kernel/archive.ts";
import type { Logger } from "../kernel/logger.ts";
import type { AnyEntity } from "../kv/define.ts";
import type { Actions } from "./actions.ts";
import type { Coalescer } from "./coalescer.ts";
import type { Mailer } from "./mail.ts";
import type { Outbound } from "./outbound.ts";
import type { PersonalKeys } from "./personal-keys.ts";
import type { PlatformRecords } from "./platform-records.ts";
import type { RateLimiter } from "./rate-limiter.ts";
import type { ScopeCatalogue } from "./scopes.ts";
import type { SecretBox } from "./secret-box.ts";

/** What is the same for all callers: settings, and values derived from the declarations. */
export interface Platform {
  /** ISO 4217 code. */
  readonly currency: string;
  readonly hosts: HostRules;
  readonly regions: readonly string[];
  /** The key that signs the checkpoints of audit chains. Null: they are not signed. */
  readonly auditKey: string | null;
  /** The key until `auditKey` replaced it; `none` if there was none. Its signatures are accepted, and replaced by the job. */
  readonly previousAuditKey: string | null;
  /** Retention deletes nothing while the program's clock and the server's differ by more. Null: they are not compared. */
  readonly maxClockSkewMs: number | null;
  /** Where audit entries are written before their deletion, if a policy says so. Null: nowhere. */
  readonly archive: Archive | null;
  /** Loads every declared entity. A function, because most requests need only the entities of their feature. */
  readonly registry: () => Promise<readonly AnyEntity[]>;
  /** Loads the background jobs of all features, of the type `Job`. */
  readonly jobs: () => Promise<readonly { readonly name: string }[]>;
  /** Loads the services of the records that the configuration describes, by feature, of the type `ServiceClass`. */
  readonly configured: () => Promise<ReadonlyMap<string, new (work: never) => unknown>>;
  readonly scopes: ScopeCatalogue;
  /** The actions that the features declare for their audit entries. */
  readonly actions: Actions;
  /** The key of the HMAC of API keys, and the key before it. Null: there are no API keys. */
  readonly apiKeySecret: string | null;
  readonly previousApiKeySecret: string | null;
  /** Encrypts fields such as credentials. */
  readonly secrets: SecretBox;
  /** Encrypts the personal data of audit entries. */
  readonly personal: PersonalKeys;
  /** Records that the program reads for every caller, such as the settings. */
  readonly records: PlatformRecords;
  /** Counts uses of records in the background. */
  readonly uses: Coalescer;
  /** Null: calls are not limited. */
  readonly limiter: RateLimiter | null;
  /** Calls receivers of webhooks and providers. */
  readonly outbound: Outbound;
  /** Sends e-mail. Null: notifications are shown in the product only. */
  readonly mailer: Mailer | null;
  /** For what a call goes on without. */
  readonly logger: Logger;
}

/** The plan changes that a tenant's own users may make: none, to a cheaper plan, or to any plan. */
export const SELF_SERVICE_PLANS = ["none", "downgrade", "any"] as const;
export type SelfServicePlans = (typeof SELF_SERVICE_PLANS)[number];

/** The host names of the platform. */
export interface HostRules {
  /** With `example.com`, the host `aurora.example.com` names the tenant with the subdomain `aurora`. */
  readonly baseDomain: string | null;
  /** The API's own hosts. They name no tenant, and no tenant may claim them. */
  readonly apiHosts: readonly string[];
}

export const NO_HOST_RULES: HostRules = { baseDomain: null, apiHosts: [] };

export const DEFAULT_REGIONS: readonly string[] = ["us-east-1", "us-west-2", "eu-west-1", "ap-southeast-1", "ap-northeast-1"];
