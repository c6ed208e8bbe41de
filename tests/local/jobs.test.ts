import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { call, cleanUp, finish, runLocal, startStack, temporaryFolder } from "./stack.ts";
import type { Stack } from "./stack.ts";

let dataDir: string;
let stack: Stack;

beforeAll(async () => {
  dataDir = join(await temporaryFolder(), "data");
  stack = await startStack(dataDir, ["--ephemeral", "--seed", "none", "--webhook-echo"]);
});
afterAll(cleanUp);

interface JobList {
  readonly data: readonly { readonly name: string; readonly running: boolean; readonly lastFinishedAt: string | null }[];
}
const jobs = async () => (await call(stack.info, "GET", "/v1/jobs")).body as JobList;

describe("the jobs of the local stack", () => {
  test("O10: npm start runs what is due, and GET /v1/jobs shows it", async () => {
    const finished = async () => (await jobs()).data.every(({ lastFinishedAt, running }) => lastFinishedAt !== null && !running);
    await expect.poll(finished, { timeout: 30_000 }).toBe(true);
    expect((await jobs()).data.map(({ name }) => name)).toContain("cleanup");
    expect(stack.output()).not.toContain('"path":"/jobs"');
  });

  test("W02, W16: npm start -- --webhook-echo prints the events of the first start, whose signatures are valid", async () => {
    await expect.poll(() => stack.output(), { timeout: 30_000 }).toMatch(/webhook evt_\S+: plan\.created Pro; valid signature/);
    expect(stack.output()).not.toContain("INVALID");
  });

  test.each<[string, string[], number, RegExp, string?]>([
    ["a job by its name", ["cleanup"], 0, /^cleanup: 0 items in [\d.]+ s\n$/],
    ["a job as a dry run", ["cleanup", "--dry-run"], 0, /^cleanup: 0 items in [\d.]+ s, dry run: nothing was changed\n$/],
    ["what is due", [], 0, /no job is due|cleanup: /],
    ["an unknown job", ["nothing"], 1, /innkeep: .*There is no job of this name\. The jobs are: .*cleanup/],
    [
      "a secret that no header can carry",
      ["--url", "http://127.0.0.1:1/jobs"],
      1,
      /JOBS_SECRET must be at least 16 visible ASCII characters/,
      "漢字-secret-0123456789",
    ],
    [
      "an address without a scheme",
      ["--url", "project.supabase.co/functions/v1/jobs"],
      1,
      /--url must be a URL beginning with https:\/\/ or http:\/\//,
    ],
    ["a function that does not respond", ["--url", "http://127.0.0.1:1/jobs"], 1, /http:\/\/127\.0\.0\.1:1\/jobs does not respond/],
  ])("O10: npm run jobs runs %s, or says why it cannot", async (_, args, code, said, secret = "not-the-secret-of-this-stack") => {
    const ended = await finish(runLocal("jobs", [...args, "--data", dataDir], { JOBS_SECRET: secret }));
    expect(ended.output).toMatch(said);
    expect(ended.code).toBe(code);
  });

  test("O10: the function refuses another secret, and asks for one", async () => {
    for (const authorization of [undefined, "Bearer not-the-secret-of-this-stack"]) {
      const response = await fetch(`${stack.info.url}/jobs`, { method: "POST", ...(authorization ? { headers: { authorization } } : {}) });
      expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([401, "unauthenticated"]);
    }
    const { code, output } = await finish(
      runLocal("jobs", ["--url", `${stack.info.url}/jobs`], { JOBS_SECRET: "not-the-secret-of-this-stack" }),
    );
    expect([code, output]).toEqual([1, expect.stringContaining("The scheduler's secret is wrong.")]);
  });
});
