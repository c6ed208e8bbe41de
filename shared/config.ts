import type { JSONWebKeySet } from "jose";
import { z } from "zod";
import { DEFAULT_REGIONS, SELF_SERVICE_PLANS, type SelfServicePlans } from "./core/platform.ts";
import { CURRENCY_RULE, isCurrency } from "./kernel/currencies.ts";
import { InnkeepError } from "./kernel/errors.ts";
import type { FieldError } from "./kernel/errors.ts";
import { webUrlFault } from "./kernel/web-url.ts";

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
  /** The secret of the scheduler's requests. */
  readonly jobsSecret: string | null;
  readonly logLevel: "info" | "warn" | "error";
  /** The first super_admin. Created at startup if there is no enabled one. */
  readonly bootstrapAdmin: { readonly email: string; readonly userId: string } | null;
  /** ISO 4217 code of the currency of all plans. */
  readonly currency: string;
  /** The regions that a tenant can be assigned to; at least one. */
  readonly regions: readonly string[];
  /** The plan changes that a tenant's own users may make. */
  readonly selfServicePlans: SelfServicePlans;
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

export interface JwtConfig {
  readonly issuer: string;
  readonly audience: string;
  readonly jwks?: { readonly url: string } | JSONWebKeySet;
  /** HS256 tokens are refused without it. */
  readonly legacySecret?: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const url = (...protocols: string[]) =>
  z.string().refine(
    (text) => URL.canParse(text) && protocols.includes(new URL(text).protocol),
    `must be a URL beginning with ${protocols.join("// or ")}//`,
  );
const web = url("https:", "http:");
const postgres = url("postgres:", "postgresql:");
const secret = z.string().min(16, "must be at least 16 characters");
const count = (min: number, max: number) => {
  const rule = `must be a whole number from ${min} to ${max}`;
  return z.coerce.number(rule).int(rule).min(min, rule).max(max, rule);
};
const origin = z.string().refine(
  (text) => text === "*" || (URL.canParse(text) && new URL(text).origin === text),
  "must be `*` or origins such as https://app.example.com",
);

const origins = (list: readonly string[]) => list.length < 2 || !list.includes("*");
const webAddress = z.string().check(({ value, issues }) => {
  const message = webUrlFault(value);
  if (message !== null) issues.push({ code: "custom", message, input: value });
});

const list = z.string().transform((text) => text.split(",").map((part) => part.trim()).filter(Boolean));
/** One segment of a key, as in shared/kv/key.ts. */
const SEGMENT = /^(?!\.\.?$)[A-Za-z0-9._~@+-]{1,128}$/;
const regions = z.string().transform((text) => text.split(",").map((part) => part.trim())).pipe(
  z.array(z.string().regex(SEGMENT, "must be region ids of A-Z a-z 0-9 . _ ~ @ + - separated by commas, none of them empty"))
    .refine((ids) => new Set(ids).size === ids.length, "must name each region once"),
);
const hostname = z.string().toLowerCase().regex(/^[a-z0-9-]+(\.[a-z0-9-]+)*$/, "must be a host name such as example.com");

const jwks = json("a JSON Web Key Set").pipe(
  z.looseObject(
    { keys: z.array(z.looseObject({ kty: z.string("must have keys with a kty") }), "must have an array of keys") },
    'must be a JSON Web Key Set: {"keys": [...]}',
  ),
);
const keyDictionary = json("a JSON object of named keys").pipe(z.record(z.string(), z.string(), "must be a JSON object of named keys"));

/** Every variable that the program reads. A test compares the names with docs/operations.md. */
export const environmentSchema = z.object({
  DATABASE_URL: postgres.optional(),
  SUPABASE_DB_URL: postgres.optional(),
  SUPABASE_URL: web.optional(),
  SUPABASE_SERVICE_ROLE_KEY: z.string().optional(),
  SUPABASE_SECRET_KEYS: keyDictionary.optional(),
  SUPABASE_JWKS: jwks.optional(),
  INNKEEP_DRIVER: z.enum(["postgres", "supabase"], "must be postgres or supabase").optional(),
  INNKEEP_DB_POOLER: z.stringbool({ error: "must be true or false" }).optional(),
  INNKEEP_DB_CONNECTIONS: count(1, 200).default(10),
  INNKEEP_DB_TIMEOUT_MS: count(100, 120_000).default(15_000),
  INNKEEP_JWT_ISSUER: z.string().optional(),
  INNKEEP_JWT_AUDIENCE: z.string().default("authenticated"),
  INNKEEP_JWT_SECRET: secret.optional(),
  INNKEEP_JWKS_URL: webAddress.optional(),
  INNKEEP_CORS_ORIGINS: list.pipe(z.array(origin).refine(origins, "must be `*` alone or a list of origins, not both")).default([]),
  INNKEEP_BASE_DOMAIN: hostname.optional(),
  INNKEEP_API_HOSTS: list.pipe(z.array(hostname)).default([]),
  INNKEEP_CURRENCY: z.string().refine(isCurrency, CURRENCY_RULE).default("USD"),
  INNKEEP_REGIONS: regions.default([...DEFAULT_REGIONS]),
  INNKEEP_SELF_SERVICE_PLANS: z.enum(SELF_SERVICE_PLANS, "must be none, downgrade or any").default("none"),
  INNKEEP_LOG_LEVEL: z.enum(["info", "warn", "error"], "must be info, warn or error").default("info"),
  INNKEEP_BOOTSTRAP_ADMIN_EMAIL: z.email("must be an email address").optional(),
  INNKEEP_BOOTSTRAP_ADMIN_USER_ID: z.string().regex(SEGMENT, "must be a Supabase Auth user id").optional(),
  JOBS_SECRET: secret.optional(),
});

type Parsed = z.output<typeof environmentSchema>;

/**
 * Reads the configuration from an environment such as `Deno.env.toObject()`. Throws one `invalid_configuration`
 * error that names every invalid or missing variable, and never a value, which may be a secret.
 */
export function loadConfig(env: Environment): Config {
  const { settings, faults } = settingsOf(env);
  const database = databaseOf(settings);
  const jwt = jwtOf(settings);
  const bootstrapAdmin = bootstrapOf(settings);
  if (faults.length > 0 || !database) throw invalid(faults);
  const { env: usable } = settings;
  return {
    database,
    jwt,
    bootstrapAdmin,
    corsOrigins: usable.INNKEEP_CORS_ORIGINS,
    baseDomain: usable.INNKEEP_BASE_DOMAIN ?? null,
    apiHosts: usable.INNKEEP_API_HOSTS,
    jobsSecret: usable.JOBS_SECRET ?? null,
    logLevel: usable.INNKEEP_LOG_LEVEL,
    currency: usable.INNKEEP_CURRENCY,
    regions: usable.INNKEEP_REGIONS,
    selfServicePlans: usable.INNKEEP_SELF_SERVICE_PLANS,
  };
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
function readVariables(env: Environment): { readonly usable: Parsed; readonly wrong: readonly FieldError[] } {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value.trim() !== ""));
  const parsed = environmentSchema.safeParse(set);
  if (parsed.success) return { usable: parsed.data, wrong: [] };
  const wrong = new Map<string, FieldError>();
  for (const { path: [variable], message, code } of parsed.error.issues) {
    const path = String(variable);
    if (!wrong.has(path)) wrong.set(path, { path, message, code });
  }
  const rest = Object.fromEntries(Object.entries(set).filter(([name]) => !wrong.has(name)));
  return { usable: environmentSchema.parse(rest), wrong: [...wrong.values()] };
}

interface Settings {
  readonly env: Parsed;
  /** Whether a variable is set, also to an invalid value: an invalid variable is not reported as missing too. */
  readonly has: (variable: keyof Parsed) => boolean;
  readonly missing: (variable: keyof Parsed, message: string) => void;
}

/** Supabase sets the variables of both drivers. Its REST gateway is the default there, because it holds no connections. */
function databaseOf({ env, has, missing }: Settings): DatabaseConfig | null {
  const key = env.SUPABASE_SERVICE_ROLE_KEY ?? Object.values(env.SUPABASE_SECRET_KEYS ?? {})[0];
  const direct = env.DATABASE_URL ?? env.SUPABASE_DB_URL;
  const hasKey = key !== undefined || has("SUPABASE_SECRET_KEYS") && env.SUPABASE_SECRET_KEYS === undefined;
  const isGateway = !has("DATABASE_URL") && has("SUPABASE_URL") && hasKey;
  if ((env.INNKEEP_DRIVER ?? (isGateway ? "supabase" : "postgres")) === "supabase") {
    if (!has("SUPABASE_URL")) missing("SUPABASE_URL", "is needed by the supabase driver");
    if (!hasKey) missing("SUPABASE_SERVICE_ROLE_KEY", "or SUPABASE_SECRET_KEYS is needed by the supabase driver");
    if (!env.SUPABASE_URL || !key) return null;
    return { driver: "supabase", url: env.SUPABASE_URL, key, timeoutMs: env.INNKEEP_DB_TIMEOUT_MS };
  }
  if (!has("DATABASE_URL") && !has("SUPABASE_DB_URL")) {
    missing("DATABASE_URL", "is missing: set it, or SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY, to name the database");
  }
  return direct === undefined ? null : {
    driver: "postgres",
    connectionString: direct,
    prepare: !(env.INNKEEP_DB_POOLER ?? looksPooled(direct)),
    maxConnections: env.INNKEEP_DB_CONNECTIONS,
    timeoutMs: env.INNKEEP_DB_TIMEOUT_MS,
  };
}

/** Supabase's transaction pooler listens on 6543. */
function looksPooled(connectionString: string): boolean {
  const { port, searchParams } = new URL(connectionString);
  return port === "6543" || searchParams.get("pgbouncer") === "true";
}

function jwtOf({ env, has, missing }: Settings): JwtConfig {
  const auth = env.SUPABASE_URL ? `${env.SUPABASE_URL.replace(/\/+$/, "")}/auth/v1` : undefined;
  const issuer = env.INNKEEP_JWT_ISSUER ?? auth;
  const inline = env.SUPABASE_JWKS?.keys.length ? (env.SUPABASE_JWKS as JSONWebKeySet) : undefined;
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
    audience: env.INNKEEP_JWT_AUDIENCE,
    ...(keys ? { jwks: keys } : {}),
    ...(env.INNKEEP_JWT_SECRET ? { legacySecret: env.INNKEEP_JWT_SECRET } : {}),
  };
}

function bootstrapOf({ env, has, missing }: Settings): Config["bootstrapAdmin"] {
  const { INNKEEP_BOOTSTRAP_ADMIN_EMAIL: email, INNKEEP_BOOTSTRAP_ADMIN_USER_ID: userId } = env;
  const [hasEmail, hasUserId] = [has("INNKEEP_BOOTSTRAP_ADMIN_EMAIL"), has("INNKEEP_BOOTSTRAP_ADMIN_USER_ID")];
  if (hasEmail && !hasUserId) missing("INNKEEP_BOOTSTRAP_ADMIN_USER_ID", "is needed with INNKEEP_BOOTSTRAP_ADMIN_EMAIL");
  if (hasUserId && !hasEmail) missing("INNKEEP_BOOTSTRAP_ADMIN_EMAIL", "is needed with INNKEEP_BOOTSTRAP_ADMIN_USER_ID");
  return email && userId ? { email, userId } : null;
}

function json(what: string) {
  return z.string().transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue({ code: "custom", message: `must be ${what}` });
      return z.NEVER;
    }
  });
}

function invalid(fields: readonly FieldError[]): InnkeepError {
  const lines = fields.map(({ path, message }) => `  ${path} ${message}`);
  return new InnkeepError("invalid_configuration", `The configuration is not valid. Correct these variables:\n${lines.join("\n")}`, fields);
}
