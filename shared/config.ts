import type { JSONWebKeySet } from "jose";
import { DEFAULT_RATE_LIMITS, type RateLimits } from "./core/caller.ts";
import { DEFAULT_OUTBOUND_RULES, type OutboundRules } from "./core/outbound.ts";
import { DEFAULT_REGIONS } from "./core/platform.ts";
import type { RootKeyConfig } from "./core/root-keys.ts";
import * as read from "./environment-values.ts";
import { InnkeepError } from "./kernel/errors.ts";
import type { FieldError } from "./kernel/errors.ts";

/** The configuration of the program, read from its environment once at startup. */
export interface Config {
  readonly database: DatabaseConfig;
  readonly jwt: JwtConfig;
  /** The allowed browser origins. `["*"]` allows every origin, without credentials. */
  readonly corsOrigins: readonly string[];
  /** With `example.com`, the host `aurora.example.com` names the tenant with the subdomain `aurora`. Null: no host names a subdomain. */
  readonly baseDomain: string | null;
  /** The API's own hosts. They name no tenant. */
  readonly apiHosts: readonly string[];
  /** The key that signs the checkpoints of audit chains. Null: they are not signed. */
  readonly auditKey: string | null;
  /** The key before `auditKey`, `none` if there was none; null after the checkpoints were signed again. */
  readonly previousAuditKey: string | null;
  /** The key of the HMAC of API keys. Null: there are no API keys. */
  readonly apiKeySecret: string | null;
  /** The key before `apiKeySecret`; null after every key was used or rotated. */
  readonly previousApiKeySecret: string | null;
  /** Where the root keys are that encrypt credentials. */
  readonly rootKeys: RootKeyConfig;
  /** Where audit entries are archived. Null: nowhere. */
  readonly archive: ArchiveConfig | null;
  /** The secret of the scheduler's requests. */
  readonly jobsSecret: string | null;
  readonly logLevel: "info" | "warn" | "error";
  /** The first super_admin. Created at startup if there is no enabled one. */
  readonly bootstrapAdmin: { readonly email: string; readonly userId: string } | null;
  /** ISO 4217 code of the currency of all plans. */
  readonly currency: string;
  /** The regions that a tenant can be assigned to; at least one. */
  readonly regions: readonly string[];
  /** Null: callers are not limited. */
  readonly rateLimits: RateLimits | null;
  /** The URLs that may be called: receivers of webhooks, and providers. */
  readonly outbound: OutboundRules;
  /** Null: notifications are shown in the product only. */
  readonly mail: read.MailConfig | null;
}

export type DatabaseConfig =
  | {
    readonly driver: "postgres";
    readonly connectionString: string;
    /** Whether to use named prepared statements. False behind a transaction pooler. */
    readonly prepare: boolean;
    readonly maxConnections: number;
    readonly timeoutMs: number;
  }
  | { readonly driver: "supabase"; readonly url: string; readonly key: string; readonly timeoutMs: number };

export type ArchiveConfig =
  | { readonly kind: "storage"; readonly url: string; readonly key: string; readonly bucket: string }
  | { readonly kind: "directory"; readonly path: string };

export interface JwtConfig {
  readonly issuer: string;
  readonly audience: string;
  readonly jwks?: { readonly url: string } | JSONWebKeySet;
  /** HS256 tokens are refused without it. */
  readonly legacySecret?: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_TIMEOUT_MS = 15_000;

/** Every variable that the program reads. A test compares the names with docs/operations.md. */
const READERS = {
  DATABASE_URL: read.url("postgres:", "postgresql:"),
  SUPABASE_DB_URL: read.url("postgres:", "postgresql:"),
  SUPABASE_URL: read.url("https:", "http:"),
  SUPABASE_SERVICE_ROLE_KEY: read.anyText,
  SUPABASE_SECRET_KEYS: read.keyDictionary,
  SUPABASE_JWKS: read.keySet,
  INNKEEP_DRIVER: read.oneOf("postgres", "supabase"),
  INNKEEP_DB_POOLER: read.boolean,
  INNKEEP_DB_CONNECTIONS: read.count(1, 200),
  INNKEEP_DB_TIMEOUT_MS: read.count(100, 120_000),
  INNKEEP_JWT_ISSUER: read.anyText,
  INNKEEP_JWT_AUDIENCE: read.anyText,
  INNKEEP_JWT_SECRET: read.secret,
  INNKEEP_JWKS_URL: read.webAddress,
  INNKEEP_CORS_ORIGINS: read.origins,
  INNKEEP_BASE_DOMAIN: read.hostName,
  INNKEEP_API_HOSTS: read.hostNames,
  INNKEEP_CURRENCY: read.currency,
  INNKEEP_REGIONS: read.regions,
  INNKEEP_RATE_LIMITS: read.boolean,
  INNKEEP_RATE_LIMIT_USER: read.rateLimit,
  INNKEEP_RATE_LIMIT_KEY: read.rateLimit,
  INNKEEP_RATE_LIMIT_ADDRESS: read.rateLimit,
  INNKEEP_LOG_LEVEL: read.oneOf("info", "warn", "error"),
  INNKEEP_BOOTSTRAP_ADMIN_EMAIL: read.email,
  INNKEEP_BOOTSTRAP_ADMIN_USER_ID: read.userId,
  INNKEEP_AUDIT_KEY: read.signingKey,
  INNKEEP_AUDIT_KEY_PREVIOUS: read.previousKey,
  INNKEEP_API_KEY_SECRET: read.signingKey,
  INNKEEP_API_KEY_SECRET_PREVIOUS: read.replacedKey,
  INNKEEP_ROOT_KEY: read.rootKey,
  INNKEEP_ROOT_KEY_PREVIOUS: read.rootKeys,
  INNKEEP_ROOT_KEY_PROVIDER: read.oneOf("environment", "vault"),
  INNKEEP_ARCHIVE_BUCKET: read.bucket,
  INNKEEP_ARCHIVE_DIR: read.anyText,
  INNKEEP_OUTBOUND_PORTS: read.ports,
  INNKEEP_OUTBOUND_LOCAL: read.boolean,
  INNKEEP_SMTP_URL: read.url("smtps:", "smtp:"),
  INNKEEP_MAIL_FROM: read.sender,
  INNKEEP_API_URL: read.webAddress,
  JOBS_SECRET: read.bearerSecret,
} as const satisfies Record<string, read.Reader<unknown>>;

type Variable = keyof typeof READERS;
type Values = { -readonly [V in Variable]?: ReturnType<(typeof READERS)[V]> };

export const environmentVariables = Object.keys(READERS) as readonly Variable[];

/**
 * Reads the configuration from an environment such as `Deno.env.toObject()`. Throws one `invalid_configuration`
 * error that names every invalid or missing variable, and never a value, which may be a secret.
 */
export function loadConfig(env: Environment): Config {
  const { settings, faults } = settingsOf(env);
  const database = databaseOf(settings);
  const jwt = jwtOf(settings);
  const bootstrapAdmin = bootstrapOf(settings);
  const archive = archiveOf(settings);
  const rootKeys = rootKeysOf(settings);
  const mail = read.mailOf(settings.env, settings.missing);
  for (const variable of ["INNKEEP_AUDIT_KEY", "INNKEEP_API_KEY_SECRET"] as const) {
    if (settings.has(`${variable}_PREVIOUS`) && !settings.has(variable)) settings.missing(variable, `is needed with ${variable}_PREVIOUS`);
  }
  if (faults.length > 0 || !database || !rootKeys) throw invalid(faults);
  const { env: usable } = settings;
  return {
    database,
    jwt,
    bootstrapAdmin,
    corsOrigins: usable.INNKEEP_CORS_ORIGINS ?? [],
    baseDomain: usable.INNKEEP_BASE_DOMAIN ?? null,
    apiHosts: usable.INNKEEP_API_HOSTS ?? [],
    auditKey: usable.INNKEEP_AUDIT_KEY ?? null,
    previousAuditKey: usable.INNKEEP_AUDIT_KEY_PREVIOUS ?? null,
    apiKeySecret: usable.INNKEEP_API_KEY_SECRET ?? null,
    previousApiKeySecret: usable.INNKEEP_API_KEY_SECRET_PREVIOUS ?? null,
    rootKeys,
    archive,
    jobsSecret: usable.JOBS_SECRET ?? null,
    logLevel: usable.INNKEEP_LOG_LEVEL ?? "info",
    mail,
    currency: usable.INNKEEP_CURRENCY ?? "USD",
    regions: usable.INNKEEP_REGIONS ?? DEFAULT_REGIONS,
    rateLimits: rateLimitsOf(usable),
    outbound: outboundOf(usable),
  };
}

function rateLimitsOf(env: Values): RateLimits | null {
  if (env.INNKEEP_RATE_LIMITS === false) return null;
  const { INNKEEP_RATE_LIMIT_USER: user, INNKEEP_RATE_LIMIT_KEY: key, INNKEEP_RATE_LIMIT_ADDRESS: address } = env;
  const { user: ofUser, key: ofKey, address: ofAddress } = DEFAULT_RATE_LIMITS;
  return { user: user ?? ofUser, key: key ?? ofKey, address: address ?? ofAddress };
}

function outboundOf({ INNKEEP_OUTBOUND_PORTS: ports, INNKEEP_OUTBOUND_LOCAL: local }: Values): OutboundRules {
  return { ports: ports ?? DEFAULT_OUTBOUND_RULES.ports, local: local ?? DEFAULT_OUTBOUND_RULES.local };
}

/** Reads only the database configuration, for programs that verify no tokens. Throws like {@link loadConfig}. */
export function loadDatabaseConfig(env: Environment): DatabaseConfig {
  const { settings, faults } = settingsOf(env);
  const database = databaseOf(settings);
  if (faults.length > 0 || !database) throw invalid(faults);
  return database;
}

/** The parsed variables, and the list of faults, to which `missing` adds. */
function settingsOf(env: Environment): { readonly settings: Settings; readonly faults: readonly FieldError[] } {
  const { usable, wrong } = readVariables(env);
  const faults: FieldError[] = [...wrong];
  const settings: Settings = {
    env: usable,
    has: (variable) => usable[variable] !== undefined || wrong.some(({ path }) => path === variable),
    missing: (path, message) => void faults.push({ path, message, code: "missing" }),
  };
  return { settings, faults };
}

/** The valid variables, and the fault of each invalid one, which counts as not set. */
function readVariables(env: Environment): { readonly usable: Values; readonly wrong: readonly FieldError[] } {
  const usable: Values = {};
  const wrong: FieldError[] = [];
  const readOne = <V extends Variable>(variable: V, text: string) => {
    try {
      usable[variable] = READERS[variable](text) as Values[V];
    } catch (error) {
      if (!(error instanceof read.WrongValue)) throw error;
      wrong.push({ path: variable, message: error.message, code: "invalid_value" });
    }
  };
  for (const variable of environmentVariables) {
    const text = env[variable];
    if (text !== undefined && text.trim() !== "") readOne(variable, text);
  }
  return { usable, wrong };
}

interface Settings {
  readonly env: Values;
  /** Whether a variable is set, also to an invalid value: an invalid variable is not reported as missing too. */
  readonly has: (variable: Variable) => boolean;
  readonly missing: (variable: Variable, message: string) => void;
}

/** Supabase sets the variables of both drivers. Its REST gateway is the default there, because it holds no connections. */
function databaseOf({ env, has, missing }: Settings): DatabaseConfig | null {
  const key = env.SUPABASE_SERVICE_ROLE_KEY ?? Object.values(env.SUPABASE_SECRET_KEYS ?? {}).find((each) => each.trim() !== "");
  const direct = env.DATABASE_URL ?? env.SUPABASE_DB_URL;
  const hasKey = key !== undefined || has("SUPABASE_SECRET_KEYS") && env.SUPABASE_SECRET_KEYS === undefined;
  const isGateway = !has("DATABASE_URL") && has("SUPABASE_URL") && hasKey;
  if ((env.INNKEEP_DRIVER ?? (isGateway ? "supabase" : "postgres")) === "supabase") {
    if (!has("SUPABASE_URL")) missing("SUPABASE_URL", "is needed by the supabase driver");
    if (!hasKey) missing("SUPABASE_SERVICE_ROLE_KEY", "or SUPABASE_SECRET_KEYS is needed by the supabase driver");
    if (!env.SUPABASE_URL || !key) return null;
    return { driver: "supabase", url: env.SUPABASE_URL, key, timeoutMs: env.INNKEEP_DB_TIMEOUT_MS ?? DEFAULT_TIMEOUT_MS };
  }
  if (!has("DATABASE_URL") && !has("SUPABASE_DB_URL")) {
    missing("DATABASE_URL", "is missing: set it, or SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY, to name the database");
  }
  return direct === undefined ? null : {
    driver: "postgres",
    connectionString: direct,
    prepare: !(env.INNKEEP_DB_POOLER ?? read.looksPooled(direct)),
    maxConnections: env.INNKEEP_DB_CONNECTIONS ?? 10,
    timeoutMs: env.INNKEEP_DB_TIMEOUT_MS ?? DEFAULT_TIMEOUT_MS,
  };
}

function jwtOf({ env, has, missing }: Settings): JwtConfig {
  const auth = env.SUPABASE_URL ? `${env.SUPABASE_URL.replace(/\/+$/, "")}/auth/v1` : undefined;
  const issuer = env.INNKEEP_JWT_ISSUER ?? auth;
  const inline = env.SUPABASE_JWKS?.keys.length ? env.SUPABASE_JWKS : undefined;
  const address = env.INNKEEP_JWKS_URL;
  const keys = address ? { url: address } : inline ?? (auth ? { url: `${auth}/.well-known/jwks.json` } : undefined);
  if (!has("INNKEEP_JWT_ISSUER") && !has("SUPABASE_URL")) {
    missing("INNKEEP_JWT_ISSUER", "is missing: set it, or SUPABASE_URL, so that tokens can be verified");
  }
  const wrong = (variable: "SUPABASE_JWKS" | "INNKEEP_JWKS_URL") => has(variable) && env[variable] === undefined;
  const hasKeys = keys !== undefined || has("SUPABASE_URL") || wrong("SUPABASE_JWKS") || wrong("INNKEEP_JWKS_URL");
  if (!hasKeys && !has("INNKEEP_JWT_SECRET")) {
    missing("SUPABASE_JWKS", "is missing: set it, INNKEEP_JWKS_URL, INNKEEP_JWT_SECRET or SUPABASE_URL, so that tokens can be verified");
  }
  return {
    issuer: issuer ?? "",
    audience: env.INNKEEP_JWT_AUDIENCE ?? "authenticated",
    ...(keys ? { jwks: keys } : {}),
    ...(env.INNKEEP_JWT_SECRET ? { legacySecret: env.INNKEEP_JWT_SECRET } : {}),
  };
}

/** Null if the key is missing or invalid. */
function rootKeysOf({ env, has, missing }: Settings): RootKeyConfig | null {
  if (env.INNKEEP_ROOT_KEY_PROVIDER === "vault") return { provider: "vault" };
  const { INNKEEP_ROOT_KEY: current, INNKEEP_ROOT_KEY_PREVIOUS: previous = [] } = env;
  if (!has("INNKEEP_ROOT_KEY")) {
    missing("INNKEEP_ROOT_KEY", "is missing: set it to the output of openssl rand -base64 32, and keep a copy outside the database");
  }
  return current === undefined ? null : { provider: "environment", current, previous };
}

/** A bucket of the project's Storage, or a directory. The bucket takes precedence. */
function archiveOf({ env, has, missing }: Settings): ArchiveConfig | null {
  const { INNKEEP_ARCHIVE_BUCKET: bucket, INNKEEP_ARCHIVE_DIR: path, SUPABASE_URL: url } = env;
  if (bucket === undefined) return path === undefined ? null : { kind: "directory", path };
  const key = env.SUPABASE_SERVICE_ROLE_KEY ?? Object.values(env.SUPABASE_SECRET_KEYS ?? {}).find((each) => each.trim() !== "");
  if (!has("SUPABASE_URL")) missing("SUPABASE_URL", "is needed with INNKEEP_ARCHIVE_BUCKET");
  if (key === undefined) missing("SUPABASE_SERVICE_ROLE_KEY", "is needed with INNKEEP_ARCHIVE_BUCKET");
  return url !== undefined && key !== undefined ? { kind: "storage", url, key, bucket } : null;
}

function bootstrapOf({ env, has, missing }: Settings): Config["bootstrapAdmin"] {
  const { INNKEEP_BOOTSTRAP_ADMIN_EMAIL: email, INNKEEP_BOOTSTRAP_ADMIN_USER_ID: userId } = env;
  const [hasEmail, hasUserId] = [has("INNKEEP_BOOTSTRAP_ADMIN_EMAIL"), has("INNKEEP_BOOTSTRAP_ADMIN_USER_ID")];
  if (hasEmail && !hasUserId) missing("INNKEEP_BOOTSTRAP_ADMIN_USER_ID", "is needed with INNKEEP_BOOTSTRAP_ADMIN_EMAIL");
  if (hasUserId && !hasEmail) missing("INNKEEP_BOOTSTRAP_ADMIN_EMAIL", "is needed with INNKEEP_BOOTSTRAP_ADMIN_USER_ID");
  return email && userId ? { email, userId } : null;
}

function invalid(fields: readonly FieldError[]): InnkeepError {
  const lines = fields.map(({ path, message }) => `  ${path} ${message}`);
  return new InnkeepError("invalid_configuration", `The configuration is not valid. Correct these variables:\n${lines.join("\n")}`, fields);
}
