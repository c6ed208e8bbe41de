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

/** Compiles the schema of each example; alone it would take nine tenths of the time. */
const EXAMPLES = "oas3-valid-media-example";

type Members = Record<string, unknown>;

/** The parts of the document in which a fault is planted. */
interface Planted {
  readonly paths: Record<"/v1/tenants", { readonly post: { readonly requestBody: { readonly content: Content } } }>;
  readonly components: { readonly responses: Members; readonly examples: Record<"internal", { readonly value: Members }> };
}
type Content = Record<"application/json", { readonly example: Members }>;

async function spectralFindings(
  document: Record<string, unknown>,
  ruleset: RulesetDefinition,
): Promise<{ code: unknown; path: unknown }[]> {
  const linter = new spectral.Spectral();
  linter.setRuleset(ruleset);
  return (await linter.run(structuredClone(document))).map(({ code, path }) => ({ code, path }));
}

/** The document with each component response once, in `components`, and not again in each of the operations that refer to it. */
function withResponsesOnce(document: Record<string, unknown>): Record<string, unknown> {
  return JSON.parse(JSON.stringify(document, (_, value: { readonly $ref?: unknown } | null) => (
    String(value?.$ref).startsWith("#/components/responses/") ? { description: "in the components" } : value
  ))) as Record<string, unknown>;
}

test("H11: the OpenAPI file passes Spectral's rules without a warning, and a planted fault is found", async () => {
  const allOthers: RulesetDefinition = { extends: [[rulesets.oas as RulesetDefinition, "recommended"]], rules: { [EXAMPLES]: false } };
  expect(await spectralFindings(api.contract.document, allOthers)).toEqual([]);
  const faulty = structuredClone(api.contract.document) as { info: Record<string, unknown> };
  delete faulty.info["contact"];
  expect(await spectralFindings({ ...faulty, paths: {}, webhooks: {}, components: {}, tags: [] }, allOthers)).toEqual([
    { code: "info-contact", path: ["info"] },
  ]);
});

test("H11: every example of the OpenAPI file passes Spectral's rule, and a planted fault in a response and in a request is found", async () => {
  const examples: RulesetDefinition = { extends: [[rulesets.oas as RulesetDefinition, "off"]], rules: { [EXAMPLES]: "warn" } };
  const document = withResponsesOnce(api.contract.document);
  expect(await spectralFindings(document, examples)).toEqual([]);
  const { components, paths } = document as unknown as Planted;
  components.examples.internal.value["code"] = "unknown_code";
  const { post } = paths["/v1/tenants"];
  post.requestBody.content["application/json"].example["plan"] = 1;
  const responses = { Internal: components.responses["Internal"] };
  const faulty = { ...document, webhooks: {}, paths: { "/v1/tenants": { post } }, components: { ...components, responses } };
  const places = (await spectralFindings(faulty, examples)).map(({ path }) => (path as string[]).join(" "));
  expect([...new Set(places)].sort()).toEqual([
    "components responses Internal content application/problem+json examples internal value code",
    "paths /v1/tenants post requestBody content application/json example plan",
  ]);
});
