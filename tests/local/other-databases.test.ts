import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { openDataDirectory } from "../../functions/local/data-directory.ts";
import { localTokens } from "../../functions/local/people.ts";
import { seedStack } from "../../functions/local/seed.ts";
import { ROOT } from "../architecture/sources.ts";
import { emptyDatabase, freshDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { API_KEYS, startPostgrest } from "../support/postgrest.ts";
import { expectExactCount, expectTourToHold } from "./flows.ts";
import { call, cleanUp, finish, run, runLocal, startStack, stopStack, temporaryFolder, unusedPort } from "./stack.ts";

const databases: TestDatabase[] = [];
afterEach(cleanUp);
afterAll(async () => void await Promise.all(databases.map((database) => database.drop())));

function keep(database: TestDatabase): TestDatabase {
  databases.push(database);
  return database;
}

describe("other databases than the embedded one", () => {
  test("O02: the function under Deno passes the README's tour with the supabase driver (through the test bridge)", async () => {
    const database = keep(await freshDatabase());
    const bridge = await startPostgrest({ databaseUrl: database.authenticatorUrl, poolSize: 30 });
    const tenantId = await seedStack({ databaseUrl: database.appUrl, demo: true, ownDatabase: true, say: () => undefined });
    // The bridge represents the whole project, so its address is also the issuer of the tokens.
    const directory = await openDataDirectory(join(await temporaryFolder(), "data"));
    const tokens = await localTokens(directory.secrets, bridge.url, tenantId);
    const info = { url: bridge.url, databaseUrl: database.superUrl, jobsSecret: directory.secrets.jobsSecret, tokens, tenantId };
    await directory.writeInfo(info);
    const port = await unusedPort();
    const url = `http://127.0.0.1:${port}`;
    const api = run(join(ROOT, "node_modules", ".bin", "deno"), ["run", "-A", "functions/api/index.ts"], {
      SUPABASE_URL: bridge.url,
      SUPABASE_SERVICE_ROLE_KEY: API_KEYS.serviceKey,
      SUPABASE_JWKS: JSON.stringify({ keys: [directory.secrets.signingKey.publicJwk] }),
      INNKEEP_API_KEY_SECRET: directory.secrets.apiKeySecret ?? "",
      INNKEEP_ROOT_KEY: directory.secrets.rootKey ?? "",
      DENO_SERVE_ADDRESS: `tcp:127.0.0.1:${port}`,
    });
    await answers(`${url}/ready`);
    await expectTourToHold(url, directory.path);
    await expectExactCount({ ...info, url });
    api.kill("SIGTERM");
    await api.ended;
    await bridge.close();
  });

  test("O01: npm start creates roles, schema and demo in the empty PostgreSQL of DATABASE_URL", async () => {
    const database = keep(await emptyDatabase());
    const env = { DATABASE_URL: database.ownerUrl };
    const folder = join(await temporaryFolder(), "data");
    const stack = await startStack(folder, [], env);
    expect(stack.output()).toContain("using the PostgreSQL of DATABASE_URL");
    expect(stack.info.databaseUrl).toBe(database.ownerUrl);
    expect(await call(stack.info, "GET", "/v1/tenants/stats")).toMatchObject({ body: { total: 12 } });
    const { tenantId, jobsSecret } = stack.info;
    await stopStack(stack);
    const second = await startStack(folder, [], env);
    expect(second.output()).toContain("the database contains data and was not seeded");
    expect(second.info).toMatchObject({ tenantId, jobsSecret });
    await stopStack(second);
  });

  test("O19, R14: an operator migrates a database after a dry run and creates its first administrator", async () => {
    const database = keep(await emptyDatabase());
    const env = { DATABASE_URL: database.ownerUrl };
    const migrate = async (...args: readonly string[]) => await finish(runLocal("migrate", args, env));
    expect(await migrate("--dry-run")).toMatchObject({ code: 0, output: expect.stringMatching(/^would apply \d{14}_/) });
    expect(await migrate()).toMatchObject({ code: 0, output: expect.stringMatching(/^applied \d{14}_/) });
    expect(await migrate()).toMatchObject({ code: 0, output: "nothing to apply\n" });
    const admin = ["--email", "ops@innkeep.example", "--user-id", "ops"];
    expect(await finish(runLocal("bootstrap-admin", admin, env))).toMatchObject({
      code: 0,
      output: expect.stringContaining("is super_admin"),
    });
    expect(await finish(runLocal("bootstrap-admin", admin, env))).toMatchObject({
      code: 1,
      output: expect.stringContaining("An enabled super_admin already exists."),
    });
  });
});

async function answers(url: string): Promise<void> {
  for (const deadline = Date.now() + 20_000;;) {
    if (await fetch(url).then((response) => response.ok, () => false)) return;
    if (Date.now() > deadline) throw new Error(`${url} stays away`);
    await sleep(50);
  }
}
