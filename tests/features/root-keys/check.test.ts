import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { apiFrom } from "../../../functions/api/start.ts";
import { jobsFrom } from "../../../functions/jobs/start.ts";
import { systemClock } from "../../../shared/kernel/clock.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { read } from "../../architecture/sources.ts";
import { withClient } from "../../support/client.ts";
import { nodeFiles } from "../../support/files.ts";
import { freshStore, type OpenStore } from "../../support/store.ts";
import { bytesOf, processWith } from "./support.ts";

let opened: OpenStore;
beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
});
afterAll(() => opened.close());
beforeEach(async () => {
  for await (const { key } of opened.store.entries({ prefix: "rootkey" })) await opened.store.del(key);
});

const refused = { code: "root_key_unavailable" };

async function actions(): Promise<string[]> {
  const found: string[] = [];
  for await (const { value } of opened.store.entries({ prefix: "audit" })) found.push(String((value as JsonObject)["action"]));
  return found;
}

describe("the start", () => {
  test("I08: records the first key with an audit entry, and writes nothing when it starts with it again", async () => {
    const before = (await actions()).length;
    const { current } = await processWith(opened, 1).start();
    expect(await opened.store.getByPrefix("rootkey")).toMatchObject([{ id: current.id, records: 0 }]);
    expect((await actions()).slice(before)).toEqual(["root-key.added"]);
    await processWith(opened, 1).start();
    expect(await actions()).toHaveLength(before + 1);
  });

  test("I08: is refused with another key, and the error names the ids of both keys and no key", async () => {
    const { current } = await processWith(opened, 1).start();
    const before = await opened.store.count("");
    const wrong = processWith(opened, 2);
    const failure = await wrong.start().catch((error: Error) => error);
    expect(failure).toMatchObject(refused);
    expect(String(failure)).toContain(current.id);
    expect(String(failure)).toContain((await processWith(opened, 2, [1]).start()).current.id);
    for (
      const text of [1, 2].flatMap((fill) => ["base64", "base64url", "hex"].map((as) => Buffer.from(bytesOf(fill)).toString(as as "hex")))
    ) {
      expect(String(failure)).not.toContain(text.slice(0, 16));
    }
    await expect(wrong.seal("safe:tn_1:s_1", "first", "value")).rejects.toMatchObject(refused);
    // The refused process wrote nothing; the one with both keys wrote the new key and an audit entry.
    expect(await opened.store.count("")).toBe(before + 2);
  });

  test("I07: takes a new key only with the previous one, until no record is under the previous one", async () => {
    const { current: old } = await processWith(opened, 1).start();
    await processWith(opened, 2, [1]).start();
    await expect(processWith(opened, 2).start()).rejects.toMatchObject(refused);
    await expect(processWith(opened, 1).start()).rejects.toMatchObject(refused);
    const rotating = processWith(opened, 2, [1]);
    expect(await rotating.list()).toContainEqual(expect.objectContaining({ id: old.id, state: "previous", available: true }));
    await rotating.run();
    await processWith(opened, 2).start();
    // The old key can be the current one again.
    await processWith(opened, 1, [2]).start();
    expect((await processWith(opened, 1, [2]).states())[old.id]).toEqual(["current", 0]);
  });

  test("I08: of two processes with different first keys at the same time, at most one starts", async () => {
    for (let round = 0; round < 4; round++) {
      const stores = await opened.racers(2);
      const results = await Promise.allSettled(stores.map((store, i) => processWith(opened, 10 + i, [], store).start()));
      expect(results.filter(({ status }) => status === "fulfilled").length).toBeLessThanOrEqual(1);
      for (const result of results) if (result.status === "rejected") expect(result.reason).toMatchObject(refused);
      for await (const { key } of opened.store.entries({ prefix: "rootkey" })) await opened.store.del(key);
    }
  });

  test("I08: with a lost key, the statement of docs/security.md lets a platform start with a new key", async () => {
    const { current } = await processWith(opened, 1).start();
    const key = await processWith(opened, 1).safeWith("tn_1", "s_1", "lost");
    const [, statement = ""] = /^```sql\n(delete from kv\.entries[\s\S]*?)^```$/m.exec(read("docs/security.md")) ?? [];
    await withClient(opened.database.ownerUrl, (client) => client.query(statement.replace("<id>", current.id)));
    const next = processWith(opened, 2);
    await next.start();
    const value = (await opened.store.get(key))?.value as JsonObject;
    await expect(next.secrets.open(key, "first", value["first"] as never)).rejects.toMatchObject(refused);
    // What no retry can decrypt is no error of the job, and becomes no dead letter.
    expect(await next.run()).toMatchObject({ complete: true, processed: 0, errors: [], report: { records: { [current.id]: 1 } } });
    // The job has counted the record that is left. Later starts need the lost key as little as the first one.
    expect((await next.states())[current.id]).toEqual(["lost", 1]);
    await processWith(opened, 2).start();
    expect(await actions()).toContain("root-key.lost");
    // The first phase of a rotation in two phases: the new key is known before it encrypts.
    await processWith(opened, 2, [3]).start();
    const recovered = processWith(opened, 2, [1]);
    expect((await recovered.states())[current.id]).toEqual(["previous", 1]);
    await opened.store.del(key);
    await recovered.run();
    expect((await recovered.states())[current.id]).toEqual(["unused", 0]);
  });
});

describe("the functions", () => {
  const lines: JsonObject[] = [];
  const surroundings = {
    clock: systemClock,
    fetch,
    files: nodeFiles,
    write: (line: string) => void lines.push(JSON.parse(line) as JsonObject),
  };
  const environment = (fill: number) => ({
    DATABASE_URL: opened.database.appUrl,
    INNKEEP_JWT_ISSUER: "https://auth.example",
    INNKEEP_JWT_SECRET: "a secret of this test",
    JOBS_SECRET: "scheduler-secret-0123456789",
    INNKEEP_ROOT_KEY: Buffer.from(bytesOf(fill)).toString("base64"),
  });
  const apiOf = (env: Record<string, string>) => {
    const api = apiFrom(env, surroundings);
    return async (path: string) => {
      const response = await api?.fetch(new Request(`http://localhost${path}`));
      return { status: response?.status, body: await response?.json() as JsonObject };
    };
  };

  test("I08: with a wrong root key, the API answers no request but health checks, and the log says why", async () => {
    await processWith(opened, 1).start();
    const [wrong, right] = [apiOf(environment(2)), apiOf(environment(1))];
    expect(await wrong("/health")).toMatchObject({ status: 200 });
    for (const path of ["/ready", "/v1/tenants", "/openapi.json"]) {
      expect(await wrong(path), path).toMatchObject({ status: 503, body: refused });
    }
    expect(lines).toContainEqual(expect.objectContaining({ event: "request_failed", ...refused }));
    expect(await right("/ready")).toMatchObject({ status: 200 });
    expect(await right("/v1/tenants")).toMatchObject({ status: 401 });
  });

  test("I08: with a wrong root key, no job runs", async () => {
    await processWith(opened, 1).start();
    const call = async (fill: number) => {
      const headers = { authorization: "Bearer scheduler-secret-0123456789" };
      const jobs = jobsFrom(environment(fill), surroundings);
      return (await jobs?.fetch(new Request("http://localhost/jobs/root-keys?dryRun=true", { method: "POST", headers })))?.status;
    };
    expect([await call(2), await call(1)]).toEqual([503, 200]);
  });

  test("I08: without a root key, neither function starts, and one line names the variable", () => {
    lines.length = 0;
    const { INNKEEP_ROOT_KEY: _, ...without } = environment(1);
    expect([apiFrom(without, surroundings), jobsFrom(without, surroundings)]).toEqual([null, null]);
    const line = expect.objectContaining({ event: "invalid_configuration", variable: "INNKEEP_ROOT_KEY", level: "error" });
    expect(lines).toEqual([line, line]);
  });

  test("I08: while the database is not available, the API answers as before, and checks the key before its first use", async () => {
    const down = apiOf({ ...environment(1), DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" });
    expect(await down("/openapi.json")).toMatchObject({ status: 200 });
    expect(await down("/ready")).toMatchObject({ status: 503, body: { code: "store_unavailable" } });
  });
});
