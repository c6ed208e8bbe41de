import { describe, expect, test } from "vitest";
import { environmentVariables, loadConfig as load } from "../../shared/config.ts";
import type { Environment } from "../../shared/config.ts";
import { admin } from "../../shared/features/admins/entity.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import { read } from "../architecture/sources.ts";
import { ROOT_KEY_TEXT } from "../support/root-key.ts";
import { DENO, finish, run } from "./stack.ts";

const SUPABASE = {
  SUPABASE_URL: "https://abc.supabase.co",
  SUPABASE_DB_URL: "postgresql://postgres:pw@db.abc.supabase.co:5432/postgres",
  SUPABASE_SERVICE_ROLE_KEY: "service-role-key",
} as const;

/** With a root key, which every configuration needs. */
function loadConfig(env: Environment) {
  return load({ INNKEEP_ROOT_KEY: ROOT_KEY_TEXT, ...env });
}

function refusalOf(env: Environment): InnkeepError {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof InnkeepError) return error;
    throw error;
  }
  throw new Error("the environment was accepted");
}

describe("configuration", () => {
  test("O01: the variables that Supabase injects and a root key suffice, and its gateway is the default connection", () => {
    const config = loadConfig(SUPABASE);
    expect(config.database).toEqual({ driver: "supabase", url: SUPABASE.SUPABASE_URL, key: "service-role-key", timeoutMs: 15_000 });
    expect(config.jwt).toEqual({
      issuer: "https://abc.supabase.co/auth/v1",
      audience: "authenticated",
      jwks: { url: "https://abc.supabase.co/auth/v1/.well-known/jwks.json" },
    });
  });

  test("O01: the newer dictionary of secret keys works as well", () => {
    const { SUPABASE_URL } = SUPABASE;
    const config = loadConfig({ SUPABASE_URL, SUPABASE_SECRET_KEYS: '{"default":"sb_secret_1"}' });
    expect(config.database).toMatchObject({ driver: "supabase", key: "sb_secret_1" });
    expect(loadConfig({ ...SUPABASE, INNKEEP_DB_TIMEOUT_MS: "700" }).database).toMatchObject({ driver: "supabase", timeoutMs: 700 });
  });

  test("O01: DATABASE_URL or INNKEEP_DRIVER selects a direct connection", () => {
    const own = loadConfig({ ...SUPABASE, DATABASE_URL: "postgres://u:p@127.0.0.1/innkeep" });
    expect(own.database).toMatchObject({ driver: "postgres", connectionString: "postgres://u:p@127.0.0.1/innkeep", prepare: true });
    const named = loadConfig({ ...SUPABASE, INNKEEP_DRIVER: "postgres" });
    expect(named.database).toMatchObject({ driver: "postgres", connectionString: SUPABASE.SUPABASE_DB_URL });
  });

  test.each([
    ["postgres://u:p@pooler.example:6543/postgres", undefined, false],
    ["postgres://u:p@db.example:5432/postgres?pgbouncer=true", undefined, false],
    ["postgres://u:p@db.example:5432/postgres", "true", false],
    ["postgres://u:p@pooler.example:6543/postgres", "false", true],
    ["postgres://u:p@db.example:5432/postgres", undefined, true],
  ])("O18: statements are unnamed behind a transaction pooler: %s, INNKEEP_DB_POOLER=%s", (url, pooler, prepare) => {
    const { database } = loadConfig({ SUPABASE_URL: SUPABASE.SUPABASE_URL, DATABASE_URL: url, INNKEEP_DB_POOLER: pooler });
    expect(database).toMatchObject({ prepare });
  });

  test("R01: inline keys take precedence over the project's URL; an empty set is ignored", () => {
    const key = { kty: "EC", kid: "k1" };
    expect(loadConfig({ ...SUPABASE, SUPABASE_JWKS: JSON.stringify({ keys: [key] }) }).jwt.jwks).toEqual({ keys: [key] });
    expect(loadConfig({ ...SUPABASE, SUPABASE_JWKS: '{"keys":[]}' }).jwt.jwks).toHaveProperty("url");
  });

  test("R01: HS256 is disabled unless its secret is set", () => {
    expect(loadConfig(SUPABASE).jwt).not.toHaveProperty("legacySecret");
    expect(loadConfig({ ...SUPABASE, INNKEEP_JWT_SECRET: "0123456789abcdef" }).jwt).toHaveProperty("legacySecret");
  });

  test("R01: INNKEEP_JWKS_URL takes precedence over the project's keys and inline keys", () => {
    const address = "https://auth.example.com/keys.json";
    const inline = JSON.stringify({ keys: [{ kty: "EC" }] });
    expect(loadConfig({ ...SUPABASE, INNKEEP_JWKS_URL: address, SUPABASE_JWKS: inline }).jwt.jwks).toEqual({ url: address });
    const own = { DATABASE_URL: "postgres://u:p@127.0.0.1/innkeep", INNKEEP_JWT_ISSUER: "https://auth.example.com" };
    expect(loadConfig({ ...own, INNKEEP_JWKS_URL: "http://localhost:9999/jwks" }).jwt.jwks).toEqual({ url: "http://localhost:9999/jwks" });
    for (const wrong of ["http://auth.example.com/jwks", "https://u:p@auth.example.com/jwks", "file:///jwks", "jwks"]) {
      expect(refusalOf({ ...own, INNKEEP_JWKS_URL: wrong }).fields.map(({ path }) => path), wrong).toEqual(["INNKEEP_JWKS_URL"]);
    }
  });

  test("B01: the currency is a current ISO 4217 code, by default USD", () => {
    expect(loadConfig(SUPABASE).currency).toBe("USD");
    expect(loadConfig({ ...SUPABASE, INNKEEP_CURRENCY: "KWD" }).currency).toBe("KWD");
    for (const wrong of ["usd", "EURO", "DEM", "XTS", "$"]) {
      expect(refusalOf({ ...SUPABASE, INNKEEP_CURRENCY: wrong }).message, wrong).toContain(
        "INNKEEP_CURRENCY must be an ISO 4217 currency code in use, such as USD, EUR or JPY",
      );
    }
  });

  test("W08: URLs may use port 443, and this machine only if that is allowed", () => {
    expect(loadConfig(SUPABASE).outbound).toEqual({ ports: [443], local: false });
    const given = loadConfig({ ...SUPABASE, INNKEEP_OUTBOUND_PORTS: "443, 8443", INNKEEP_OUTBOUND_LOCAL: "true" });
    expect(given.outbound).toEqual({ ports: [443, 8443], local: true });
    for (const wrong of ["0", "65536", "443,", "https", "443;8443"]) {
      expect(refusalOf({ ...SUPABASE, INNKEEP_OUTBOUND_PORTS: wrong }).message, wrong).toContain(
        "INNKEEP_OUTBOUND_PORTS must be port numbers from 1 to 65535, separated by commas",
      );
    }
  });

  test("O01: the regions are a list of unique ids", () => {
    expect(loadConfig(SUPABASE).regions).toEqual(["us-east-1", "us-west-2", "eu-west-1", "ap-southeast-1", "ap-northeast-1"]);
    expect(loadConfig({ ...SUPABASE, INNKEEP_REGIONS: " eu-central-2 , on.premise_1" }).regions).toEqual(["eu-central-2", "on.premise_1"]);
    const messages = (text: string) =>
      refusalOf({ ...SUPABASE, INNKEEP_REGIONS: text }).fields.map(({ path, message }) => `${path} ${message}`);
    for (const wrong of ["eu-1,", ",eu-1", "eu-1,,eu-2", "eu 1", "eu:1", ".", "eu-1,..", "a".repeat(129)]) {
      expect(messages(wrong), wrong).toEqual([expect.stringMatching(/^INNKEEP_REGIONS must be region ids of .* separated by commas/)]);
    }
    expect(messages("eu-1,eu-2, eu-1")).toEqual(["INNKEEP_REGIONS must name each region once"]);
  });

  test("R12: the CORS origins are either `*` or a list", () => {
    expect(loadConfig({ ...SUPABASE, INNKEEP_CORS_ORIGINS: "*" }).corsOrigins).toEqual(["*"]);
    expect(loadConfig({ ...SUPABASE, INNKEEP_CORS_ORIGINS: "https://a.example, https://b.example" }).corsOrigins).toHaveLength(2);
    for (const mixed of ["*,https://a.example", "https://a.example,*", "*,*"]) {
      expect(refusalOf({ ...SUPABASE, INNKEEP_CORS_ORIGINS: mixed }).message, mixed).toContain(
        "INNKEEP_CORS_ORIGINS must be `*` alone or a list of origins, not both",
      );
    }
  });

  test("O01: the API's hosts are a list of names in lower case", () => {
    expect(loadConfig(SUPABASE).apiHosts).toEqual([]);
    const hosts = loadConfig({ ...SUPABASE, INNKEEP_API_HOSTS: "API.acme.example, backend.innkeep.example" }).apiHosts;
    expect(hosts).toEqual(["api.acme.example", "backend.innkeep.example"]);
    expect(refusalOf({ ...SUPABASE, INNKEEP_API_HOSTS: "https://api.acme.example" }).fields.map(({ path }) => path)).toEqual([
      "INNKEEP_API_HOSTS",
    ]);
  });

  test.each(["correct horse battery staple", "scheduler-secret-0123456789\n", "geheimnis-mit-umläut"])(
    "O10: the scheduler's secret %j is refused, because no Authorization header can carry it",
    (JOBS_SECRET) => {
      expect(refusalOf({ ...SUPABASE, JOBS_SECRET }).fields).toMatchObject([{
        path: "JOBS_SECRET",
        message: "must be at least 16 visible ASCII characters, without spaces or line breaks",
      }]);
    },
  );

  test.each(["INNKEEP_API_KEY_SECRET", "INNKEEP_AUDIT_KEY"])(
    "AK02, A09: %s with a line break or space around it is refused, and can be replaced by one without",
    (name) => {
      const key = "0123456789abcdef0123456789abcdef";
      for (const wrong of [`${key}\n`, `${key} `, ` ${key}`, `${key}\r\n`, `\ufeff${key}`]) {
        expect(refusalOf({ ...SUPABASE, [name]: wrong }).fields, JSON.stringify(wrong)).toMatchObject([{
          path: name,
          message: "must be at least 32 characters, without spaces or line breaks at its beginning or end",
        }]);
        const config = loadConfig({ ...SUPABASE, [name]: key, [`${name}_PREVIOUS`]: wrong });
        expect(Object.values(config)).toEqual(expect.arrayContaining([key, wrong]));
      }
      expect(refusalOf({ ...SUPABASE, [name]: key.slice(1) }).fields.map(({ path }) => path)).toEqual([name]);
    },
  );

  test("O01: all invalid variables are reported at once, by name", () => {
    const { fields, code } = refusalOf({
      DATABASE_URL: "mysql://x",
      SUPABASE_JWKS: "{",
      INNKEEP_DRIVER: "sqlite",
      INNKEEP_DB_CONNECTIONS: "0",
      INNKEEP_CORS_ORIGINS: "https://ok.example,https://bad.example/path",
      INNKEEP_JWKS_URL: "http://keys.example",
      INNKEEP_CURRENCY: "dollars",
      INNKEEP_REGIONS: "eu,eu",
      JOBS_SECRET: "short",
    });
    expect(code).toBe("invalid_configuration");
    expect(fields.map(({ path }) => path)).toEqual([
      "DATABASE_URL",
      "SUPABASE_JWKS",
      "INNKEEP_DRIVER",
      "INNKEEP_DB_CONNECTIONS",
      "INNKEEP_JWKS_URL",
      "INNKEEP_CORS_ORIGINS",
      "INNKEEP_CURRENCY",
      "INNKEEP_REGIONS",
      "JOBS_SECRET",
      "INNKEEP_JWT_ISSUER",
    ]);
  });

  test("O01: an invalid variable does not hide a missing one, and is not reported as missing", () => {
    const paths = (env: Environment) => refusalOf(env).fields.map(({ path }) => path);
    expect(paths({ INNKEEP_DRIVER: "mysql" })).toEqual(["INNKEEP_DRIVER", "DATABASE_URL", "INNKEEP_JWT_ISSUER", "SUPABASE_JWKS"]);
    expect(paths({ SUPABASE_URL: "abc.supabase.co", INNKEEP_DRIVER: "supabase" })).toEqual(["SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY"]);
    expect(paths({ SUPABASE_URL: "abc.supabase.co", SUPABASE_SERVICE_ROLE_KEY: "key" })).toEqual(["SUPABASE_URL"]);
    expect(paths({ SUPABASE_URL: SUPABASE.SUPABASE_URL, SUPABASE_SECRET_KEYS: "{" })).toEqual(["SUPABASE_SECRET_KEYS"]);
    expect(paths({ DATABASE_URL: "mysql://x", INNKEEP_JWT_ISSUER: "i", INNKEEP_JWT_SECRET: "short" })).toEqual([
      "DATABASE_URL",
      "INNKEEP_JWT_SECRET",
    ]);
    expect(paths({ ...SUPABASE, INNKEEP_BOOTSTRAP_ADMIN_EMAIL: "nobody" })).toEqual([
      "INNKEEP_BOOTSTRAP_ADMIN_EMAIL",
      "INNKEEP_BOOTSTRAP_ADMIN_USER_ID",
    ]);
  });

  test("O01: an empty secret key counts as missing", () => {
    const { SUPABASE_URL } = SUPABASE;
    for (const keys of ['{"default":""}', '{"default":" "}', "{}"]) {
      const paths = (env: Environment) => refusalOf({ SUPABASE_URL, SUPABASE_SECRET_KEYS: keys, ...env }).fields.map(({ path }) => path);
      expect(paths({}), keys).toEqual(["DATABASE_URL"]);
      expect(paths({ INNKEEP_DRIVER: "supabase" }), keys).toEqual(["SUPABASE_SERVICE_ROLE_KEY"]);
    }
    const config = loadConfig({ SUPABASE_URL, SUPABASE_SECRET_KEYS: '{"old":"","default":"sb_secret_1"}' });
    expect(config.database).toMatchObject({ driver: "supabase", key: "sb_secret_1" });
  });

  test("O01: a URL has its two slashes, and loses the white space around it", () => {
    const config = loadConfig({ ...SUPABASE, SUPABASE_URL: ` ${SUPABASE.SUPABASE_URL}\n` });
    expect([config.database, config.jwt]).toEqual([loadConfig(SUPABASE).database, loadConfig(SUPABASE).jwt]);
    expect(refusalOf({ ...SUPABASE, SUPABASE_URL: "https:abc.supabase.co" }).fields.map(({ path }) => path)).toEqual(["SUPABASE_URL"]);
    expect(refusalOf({ ...SUPABASE, DATABASE_URL: "postgres:innkeep" }).fields.map(({ path }) => path)).toEqual(["DATABASE_URL"]);
  });

  test.each([
    ["of 31 bytes", Buffer.alloc(31, 1).toString("base64")],
    ["of 33 bytes", Buffer.alloc(33, 1).toString("base64")],
    ["in hexadecimal", "ab".repeat(32)],
    ["that is a sentence", "a key of 32 characters, not base64"],
    ["that is empty", "\n "],
  ])("I08: a root key %s stops the start with one line, which has nothing of it", (_, text) => {
    const error = refusalOf({ ...SUPABASE, INNKEEP_ROOT_KEY: text });
    expect(error.fields.map(({ path }) => path)).toEqual(["INNKEEP_ROOT_KEY"]);
    expect(error.message).toMatch(/\n {2}INNKEEP_ROOT_KEY .*openssl rand -base64 32/);
    if (text.trim() !== "") expect(JSON.stringify([error.message, error.fields])).not.toContain(text.slice(0, 12));
  });

  test("I07: the root key is 32 bytes in base64 or base64url, with any number of previous ones, and Vault needs none", () => {
    const keys = [[255, "base64"], [254, "base64url"], [253, "base64"]] as const;
    const [current = "", ...previous] = keys.map(([fill, encoding]) => Buffer.alloc(32, fill).toString(encoding));
    expect(loadConfig({ ...SUPABASE, INNKEEP_ROOT_KEY: `${current}\n`, INNKEEP_ROOT_KEY_PREVIOUS: previous.join(", ") }).rootKeys).toEqual({
      provider: "environment",
      current: new Uint8Array(32).fill(255),
      previous: [new Uint8Array(32).fill(254), new Uint8Array(32).fill(253)],
    });
    expect(loadConfig({ ...SUPABASE, INNKEEP_ROOT_KEY: "", INNKEEP_ROOT_KEY_PROVIDER: "vault" }).rootKeys).toEqual({ provider: "vault" });
    const { fields } = refusalOf({ ...SUPABASE, INNKEEP_ROOT_KEY_PREVIOUS: `${current},short` });
    expect(fields.map(({ path }) => path)).toEqual(["INNKEEP_ROOT_KEY_PREVIOUS"]);
  });

  test("O01: the first administrator's email address has at most 254 characters, like that of every admin", () => {
    const first = (email: string) => ({ ...SUPABASE, INNKEEP_BOOTSTRAP_ADMIN_EMAIL: email, INNKEEP_BOOTSTRAP_ADMIN_USER_ID: "u1" });
    const longest = `${"a".repeat(242)}@example.com`;
    expect(loadConfig(first(longest)).bootstrapAdmin?.email).toBe(longest);
    expect(admin.schema.shape.email.safeParse(longest).success).toBe(true);
    expect(refusalOf(first(`a${longest}`)).fields.map(({ path }) => path)).toEqual(["INNKEEP_BOOTSTRAP_ADMIN_EMAIL"]);
  });

  test("O01: a variable with several errors is reported once, without a library's text", () => {
    const { fields } = refusalOf({
      ...SUPABASE,
      INNKEEP_DB_CONNECTIONS: "-0.5",
      INNKEEP_CORS_ORIGINS: "a,b",
      INNKEEP_LOG_LEVEL: "loud",
      SUPABASE_JWKS: '{"keys":[{},{}]}',
    });
    expect(fields.map(({ path, message }) => `${path} ${message}`)).toEqual([
      "SUPABASE_JWKS must have keys with a kty",
      "INNKEEP_DB_CONNECTIONS must be a whole number from 1 to 200",
      "INNKEEP_CORS_ORIGINS must be `*` or origins such as https://app.example.com",
      "INNKEEP_LOG_LEVEL must be info, warn or error",
    ]);
  });

  test("O01: an email address that an administrator cannot have is refused at startup", () => {
    const accepts = (email: string) => {
      try {
        return loadConfig({ ...SUPABASE, INNKEEP_BOOTSTRAP_ADMIN_EMAIL: email, INNKEEP_BOOTSTRAP_ADMIN_USER_ID: "u1" }).bootstrapAdmin
          ?.email === email;
      } catch (error) {
        if (error instanceof InnkeepError) return false;
        throw error;
      }
    };
    const taken = ["ada@innkeep.example", "ada.l+ops@mail.innkeep.example", "o'hara_1@a-b.example", "A@B.CO"];
    const refused = ["ada", "ada@", "@b.example", "a@b", "a..b@c.example", ".a@b.example", "a.@b.example", "a'@b.example", "a b@c.example"];
    for (const email of [...taken, ...refused]) {
      expect(accepts(email), email).toBe(taken.includes(email));
      // What is taken here the administrator's own schema takes too.
      if (taken.includes(email)) expect(admin.schema.shape.email.safeParse(email).success, email).toBe(true);
    }
  });

  test("O01: the API logs one line for each invalid variable, without a stack, and ends", async () => {
    const { code, output } = await finish(run(DENO, ["run", "-A", "functions/api/index.ts"], { INNKEEP_DRIVER: "mysql" }));
    expect(code).toBe(1);
    const lines = output.trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.map(({ event, variable }) => [event, variable])).toEqual(
      ["INNKEEP_DRIVER", "DATABASE_URL", "INNKEEP_JWT_ISSUER", "SUPABASE_JWKS", "INNKEEP_ROOT_KEY"].map((
        variable,
      ) => ["invalid_configuration", variable]),
    );
    expect(lines[0]).toMatchObject({ level: "error", message: "must be postgres or supabase" });
  });

  test("O01: missing variables are named, and an empty value counts as missing", () => {
    const paths = (env: Environment) => refusalOf(env).fields.map(({ path }) => path);
    expect(paths({})).toEqual(["DATABASE_URL", "INNKEEP_JWT_ISSUER", "SUPABASE_JWKS"]);
    expect(paths({ SUPABASE_URL: "", DATABASE_URL: " " })).toEqual(["DATABASE_URL", "INNKEEP_JWT_ISSUER", "SUPABASE_JWKS"]);
    expect(paths({ SUPABASE_URL: SUPABASE.SUPABASE_URL, INNKEEP_DRIVER: "supabase" })).toEqual(["SUPABASE_SERVICE_ROLE_KEY"]);
    expect(paths({ ...SUPABASE, INNKEEP_BOOTSTRAP_ADMIN_EMAIL: "a@b.example" })).toEqual(["INNKEEP_BOOTSTRAP_ADMIN_USER_ID"]);
  });

  test("R12: no error about the environment contains a value", () => {
    const secret = "hunter2-hunter2";
    const env = Object.fromEntries(environmentVariables.map((name) => [name, `${secret} {"`]));
    const error = refusalOf(env);
    expect(error.fields.length).toBeGreaterThan(10);
    expect(JSON.stringify([error.message, error.fields, error.stack])).not.toContain("hunter2");
  });

  test("N09: the mail server needs a sender and the API's address, which is the project's by default, and no error quotes its password", () => {
    const url = "smtps://innkeep:pass%40word@smtp.example.com:465";
    const from = "Innkeep <no-reply@example.com>";
    expect(loadConfig(SUPABASE).mail).toBeNull();
    const given = loadConfig({ ...SUPABASE, INNKEEP_SMTP_URL: url, INNKEEP_MAIL_FROM: from }).mail;
    expect(given).toEqual({ url, from, apiUrl: `${SUPABASE.SUPABASE_URL}/functions/v1/api` });
    const own = { INNKEEP_SMTP_URL: url, INNKEEP_MAIL_FROM: "no-reply@example.com", INNKEEP_API_URL: "https://api.example.com/" };
    expect(loadConfig({ ...SUPABASE, ...own }).mail).toMatchObject({ from: "no-reply@example.com", apiUrl: "https://api.example.com" });
    expect(refusalOf({ ...SUPABASE, INNKEEP_SMTP_URL: url }).message).toContain("INNKEEP_MAIL_FROM is needed with INNKEEP_SMTP_URL");
    for (
      const [name, wrong] of [["INNKEEP_SMTP_URL", url.replace("smtps:", "https:")], ["INNKEEP_MAIL_FROM", "Innkeep\r\nBcc: <a@b.example>"]]
    ) {
      const { message } = refusalOf({ ...SUPABASE, ...own, [name ?? ""]: wrong });
      expect(message).toContain(`${name} must be`);
      expect(message).not.toMatch(/pass|Bcc/);
    }
  });

  test("O01: docs/operations.md documents every variable and no others", () => {
    const explained = read("docs/operations.md").split("\n").flatMap((line) => /^\| `([A-Z_]+)`/.exec(line)?.[1] ?? []);
    expect([...explained].sort()).toEqual([...environmentVariables].sort());
  });
});
