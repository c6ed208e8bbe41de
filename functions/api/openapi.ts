import type { Feature } from "../../shared/core/feature.ts";
import type { Route } from "../../shared/core/route.ts";
import { features } from "../../shared/features/index.ts";
import { HEADERS, PARAMETERS, SECURITY_SCHEMES } from "./openapi-components.ts";
import { operationOf } from "./openapi-operations.ts";
import { problemExamples, problemResponses } from "./openapi-problems.ts";
import { type Json, reachable, Schemas } from "./openapi-schemas.ts";
import { WEBHOOK_PARAMETERS, webhooksOf } from "./openapi-webhooks.ts";

const SYSTEM = { name: "system", description: "Health, readiness and this document. They require no credential." };

/** Builds the OpenAPI 3.1 document from the schemas that validate requests and describe responses. */
export function buildOpenApi(routes: readonly Route[]): Json {
  const schemas = new Schemas();
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const at = route.path.replaceAll(/:(\w+)/g, "{$1}");
    (paths[at] ??= {})[route.method.toLowerCase()] = operationOf(route, tagOf(route), schemas);
  }
  const sent = webhooksOf(schemas);
  const components = {
    schemas: { ...schemas.all(), ...sent.schemas },
    responses: problemResponses(routes),
    headers: HEADERS,
    parameters: { ...PARAMETERS, ...WEBHOOK_PARAMETERS },
    examples: { ...schemas.examples(), ...problemExamples(routes), ...sent.examples },
    securitySchemes: SECURITY_SCHEMES,
  };
  return {
    openapi: "3.1.0",
    info: {
      title: "Innkeep",
      version: "1",
      summary: "The control plane for multi-tenant SaaS on Supabase",
      description:
        "Amounts of money are integers in a currency's minor unit or decimals in its major unit; the description of each field says which. " +
        "Instants are UTC, `YYYY-MM-DDTHH:mm:ss.sssZ`. The values of a multi-valued parameter are separated by commas. " +
        "Errors are `application/problem+json` (RFC 9457); branch on `code`.",
      contact: { name: "The operator of this installation" },
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: ".", description: "The server of this document." }],
    tags: [SYSTEM, ...features.map(describe)].filter(({ name }) => routes.some((route) => tagOf(route) === name)),
    paths,
    webhooks: sent.webhooks,
    components: reachable({ paths, webhooks: sent.webhooks, components }, components),
  };
}

/** The feature with the longest path that contains the route. */
function tagOf({ path }: Route): string {
  const under = (features as readonly Feature[]).flatMap(({ name, paths }) => paths.map((start) => ({ name, start })))
    .filter(({ start }) => path === start || path.startsWith(`${start}/`))
    .toSorted((a, b) => b.start.length - a.start.length);
  return under[0]?.name ?? SYSTEM.name;
}

function describe({ name, summary }: Feature) {
  return { name, ...(summary === undefined ? {} : { description: summary }) };
}
