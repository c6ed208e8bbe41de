import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createHash } from "node:crypto";
import { join } from "node:path";
import canonicalize from "canonicalize";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../shared/config.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import { withClient } from "../support/client.ts";
import { temporaryPrefix } from "../support/interrupted.ts";
import { call, cleanUp, finish, runLocal, startStack, temporaryFolder } from "./stack.ts";
import type { Stack } from "./stack.ts";
import { ROOT_KEY_TEXT } from "../support/root-key.ts";

const sha256 = (text: string) => createHash("sha256").update(text, "utf8").digest("hex");
const DAY_MS = 24 * 3_600_000;

/** Makes the last 60 days a chain of a tenant that was deleted: one entry a day. */
async function writeChain(stack: Stack, id: string): Promise<void> {
  await withClient(stack.info.databaseUrl, async (client) => {
    let hash = "0".repeat(64);
    for (let seq = 1; seq <= 60; seq++) {
      const timestamp = new Date(Date.now() - (60 - seq) * DAY_MS).toISOString();
      const key = `audit:${id}:${timestamp}:n${seq}`;
      const actor = { type: "user", id: "u1" };
      const entry = { id: key, action: "room.opened", resource: "room", resourceId: "r1", tenantId: id, actor, userId: "u1", timestamp };
      const prevHash = hash;
      hash = sha256(`${prevHash}:${seq}:${sha256(canonicalize(entry) ?? "")}`);
      await client.query(
        "insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at) values ($1, $2, 1, $3, false, now(), now())",
        [key, JSON.stringify({ ...entry, seq, prevHash, hash }), id],
      );
    }
    await client.query("insert into kv.chains (scope, seq, hash) values ($1, 60, $2)", [id, hash]);
  });
}

describe("the archive of the local stack", () => {
  let dataDir: string;
  let stack: Stack;
  beforeAll(async () => {
    dataDir = join(await temporaryFolder(), "da,ta");
    stack = await startStack(dataDir, ["--seed", "none"], { INNKEEP_AUDIT_KEY: "a signing key of at least 32 characters" });
  });
  afterAll(cleanUp);

  test("A17: gets the audit entries that a policy archives, and npm run verify-archive verifies them without the database", async () => {
    const id = "tn_archived";
    // The scheduler's first run of the job would archive the entries before the request does.
    await expect.poll(async () => (await call(stack.info, "GET", "/v1/jobs")).body, { timeout: 30_000 }).toMatchObject({
      data: expect.arrayContaining([
        expect.objectContaining({ name: "cleanup", running: false, lastFinishedAt: expect.any(String) as unknown }),
      ]) as unknown,
    });
    await writeChain(stack, id);
    const policy = { type: "audit-entry", retentionDays: 40, action: "archive", enabled: true, tenantId: id };
    expect(await call(stack.info, "PUT", "/v1/policies/archived", policy)).toMatchObject({ status: 201 });
    const run = await call(stack.info, "POST", "/v1/policies/run");
    expect((run.body as { readonly tasks: readonly object[] }).tasks).toContainEqual({
      type: "audit-entry",
      scanned: 19,
      deleted: 19,
      error: null,
    });
    const archive = join(dataDir, "archive");
    expect(await readdir(join(archive, "audit", id))).toEqual(["1-19.ndjson.gz"]);
    const verify = (env: Record<string, string>) => finish(runLocal("verify-archive", [archive], env));
    expect(await verify({ INNKEEP_AUDIT_KEY: "a signing key of at least 32 characters" })).toMatchObject({
      code: 0,
      output: expect.stringMatching(/^tn_archived: entries 1 to 19 in 1 files, [0-9a-f]{64}\n$/) as unknown,
    });
    expect(await verify({})).toMatchObject({ code: 0, output: expect.stringContaining("signatures were not verified") as unknown });
    const wrong = await verify({ INNKEEP_AUDIT_KEY: "another key of at least 32 characters" });
    expect([wrong.code, wrong.output]).toEqual([1, expect.stringContaining("the signature of the checkpoint is wrong")]);
  });
});

describe("npm run verify-archive", () => {
  test("A17: names what it needs: a directory that exists and has archived entries", async () => {
    const empty = await mkdtemp(temporaryPrefix("archive"));
    const cases = [[[], /name the directory/], [[empty], /contains no archived audit entries/], [
      [join(empty, "none")],
      /cannot be read/,
    ]] as const;
    for (const [args, said] of cases) {
      const ended = await finish(runLocal("verify-archive", [...args]));
      expect([ended.code, ended.output]).toEqual([1, expect.stringMatching(said)]);
    }
    await rm(empty, { recursive: true });
  });
});

describe("the configuration of the archive", () => {
  const base = {
    DATABASE_URL: "postgres://u:p@127.0.0.1/innkeep",
    SUPABASE_URL: "https://abc.supabase.co",
    INNKEEP_ROOT_KEY: ROOT_KEY_TEXT,
  };
  const faultsOf = (env: Record<string, string>) => {
    try {
      return loadConfig(env).archive;
    } catch (error) {
      return error instanceof InnkeepError ? error.fields.map(({ path }) => path) : error;
    }
  };

  test("A17: is a bucket with the project's URL and key, or a directory, or none", () => {
    expect(faultsOf(base)).toBeNull();
    expect(faultsOf({ ...base, INNKEEP_ARCHIVE_DIR: "/srv/archive" })).toEqual({ kind: "directory", path: "/srv/archive" });
    const bucket = { ...base, INNKEEP_ARCHIVE_BUCKET: "audit", INNKEEP_ARCHIVE_DIR: "/srv/archive" };
    const expected = { kind: "storage", url: base.SUPABASE_URL, bucket: "audit" };
    expect(faultsOf({ ...bucket, SUPABASE_SERVICE_ROLE_KEY: "k" })).toEqual({ ...expected, key: "k" });
    expect(faultsOf({ ...bucket, SUPABASE_SECRET_KEYS: '{"default":"sb_secret_1"}' })).toEqual({ ...expected, key: "sb_secret_1" });
    expect(faultsOf(bucket)).toEqual(["SUPABASE_SERVICE_ROLE_KEY"]);
    expect(faultsOf({ ...bucket, SUPABASE_SERVICE_ROLE_KEY: "k", INNKEEP_ARCHIVE_BUCKET: "../x" })).toEqual(["INNKEEP_ARCHIVE_BUCKET"]);
    const { SUPABASE_URL: _, ...without } = {
      ...bucket,
      SUPABASE_SERVICE_ROLE_KEY: "k",
      INNKEEP_JWT_ISSUER: "https://auth.example",
      INNKEEP_JWT_SECRET: "x".repeat(20),
    };
    expect(faultsOf(without)).toEqual(["SUPABASE_URL"]);
  });

  test("A09: a previous key is 32 characters or the word none, and needs a current key", () => {
    const key = "a signing key of at least 32 characters";
    expect(loadConfig({ ...base, INNKEEP_AUDIT_KEY: key, INNKEEP_AUDIT_KEY_PREVIOUS: "none" })).toMatchObject({
      auditKey: key,
      previousAuditKey: "none",
    });
    expect(faultsOf({ ...base, INNKEEP_AUDIT_KEY: key, INNKEEP_AUDIT_KEY_PREVIOUS: "short" })).toEqual(["INNKEEP_AUDIT_KEY_PREVIOUS"]);
    expect(faultsOf({ ...base, INNKEEP_AUDIT_KEY_PREVIOUS: key })).toEqual(["INNKEEP_AUDIT_KEY"]);
  });
});
