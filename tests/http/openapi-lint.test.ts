import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import spectral, { type RulesetDefinition } from "@stoplight/spectral-core";
import rulesets from "@stoplight/spectral-rulesets";
import { expect, test } from "vitest";
import { ROOT } from "../architecture/sources.ts";
import { useApi } from "./support/api.ts";

const api = useApi();
const REDOCLY = join(ROOT, "node_modules", ".bin", "redocly");
const CONFIG = join(ROOT, "tests", "http", "support", "redocly.yaml");

/** The linter's findings. Its exit code is not 0 if one of them is an error. */
async function redocly(path: string): Promise<{ readonly ruleId: string; readonly message: string }[]> {
  const env = { PATH: process.env["PATH"], HOME: process.env["HOME"], REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true" };
  const { stdout } = await promisify(execFile)(REDOCLY, ["lint", path, "--config", CONFIG, "--format", "json"], { env }).catch(
    (error: { readonly stdout?: string; readonly message: string }) => {
      if (!error.stdout) throw new Error(error.message);
      return { stdout: error.stdout };
    },
  );
  return (JSON.parse(stdout) as { readonly problems: { readonly ruleId: string; readonly message: string }[] }).problems;
}

async function inFile<T>(text: string, use: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "innkeep-openapi-"));
  try {
    const path = join(folder, "openapi.json");
    await writeFile(path, text);
    return await use(path);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("H11: the OpenAPI file passes Redocly's recommended rules without a warning, and a planted fault is found", async () => {
  expect(await inFile(JSON.stringify(api.contract.document), redocly)).toEqual([]);
  const faulty = structuredClone(api.contract.document) as { paths: Record<string, Record<string, Record<string, unknown>>> };
  delete faulty.paths["/v1/tenants"]?.["get"]?.["operationId"];
  expect((await inFile(JSON.stringify(faulty), redocly)).map(({ ruleId }) => ruleId)).toEqual(["operation-operationId"]);
});

test("H11: the OpenAPI file passes Spectral's rules without a warning, and a planted fault is found", async () => {
  const linter = new spectral.Spectral();
  linter.setRuleset({ extends: [[rulesets.oas as RulesetDefinition, "recommended"]] });
  const lint = async (document: Record<string, unknown>) =>
    (await linter.run(structuredClone(document))).map(({ code, path }) => ({ code, path }));
  expect(await lint(api.contract.document)).toEqual([]);
  const faulty = structuredClone(api.contract.document) as { info: Record<string, unknown> };
  delete faulty.info["contact"];
  expect(await lint({ ...faulty, paths: {}, webhooks: {}, components: {}, tags: [] })).toEqual([{ code: "info-contact", path: ["info"] }]);
});
