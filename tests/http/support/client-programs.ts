/** Programs that use generated clients, and mistakes that must prevent them from compiling. */
export interface ClientProgram {
  readonly text: string;
  /** Maps the name of a mistake to a text of the program and its replacement. */
  readonly mistakes: Readonly<Record<string, readonly [string, string]>>;
}

const MISTAKES: ClientProgram["mistakes"] = {
  "a misspelt field of an answer": ["tenant.subdomain", "tenant.subdomian"],
  "a misspelt field of a page": ["pagination.total", "pagination.totl"],
  "a misspelt field of a body": ["ownerName:", "ownername:"],
  "a misspelt field of a patch": ["billingEntity:", "billingEntiti:"],
  "a wrong value of an enumerated filter": ['"trial"', '"trail"'],
  "a wrong field to sort by": ['"-mrr"', '"-revenue"'],
  "a number where a text belongs": ['plan: "Pro"', "plan: 1"],
  "a status that a tenant never has": ['=== "active"', '=== "activ"'],
  "an error code that the operation never gives": ['"subdomain_taken"', '"plan_in_use"'],
  "a misspelt member of a problem": ["error.detail", "error.details"],
  "a text where a number belongs": ["mrrFrom: 1", 'mrrFrom: "1"'],
};

const BODY = `{ name: "Hotel Client", subdomain, plan: "Pro", owner: "ada@client.example", ownerName: "Ada Auer" }`;

export const OPENAPI_FETCH: ClientProgram = {
  mistakes: MISTAKES,
  text: `
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.ts";

export function program(token: string, send: (request: Request) => Promise<Response>) {
  const client = createClient<paths>({
    baseUrl: "http://localhost",
    fetch: send,
    headers: { authorization: \`Bearer \${token}\` },
    querySerializer: { array: { style: "form", explode: false } },
  });
  return {
    async list(): Promise<{ total: number | undefined; subdomains: string[] }> {
      const query = { status: ["active", "trial"], sort: ["-mrr", "name"], mrrFrom: 1, limit: 5 } as const;
      const { data, error } = await client.GET("/v1/tenants", { params: { query: { ...query, status: [...query.status], sort: [...query.sort] } } });
      if (error) throw new Error(error.detail);
      const live = data.data.filter((tenant) => tenant.status === "active");
      return { total: data.pagination.total, subdomains: live.map((tenant) => tenant.subdomain) };
    },
    async create(subdomain: string): Promise<string | null> {
      const { data, error } = await client.POST("/v1/tenants", { body: ${BODY} });
      if (error?.code === "subdomain_taken") return null;
      if (error) throw new Error(error.detail);
      return data.id;
    },
    async rename(tenantId: string, version: string): Promise<string> {
      // It infers the type of its argument, which allows more members than are declared; a declared type does not.
      const change: components["schemas"]["UpdateTenantBody"] = { name: "Hotel Renamed", billingEntity: null };
      const { data, error } = await client.PATCH("/v1/tenants/{tenantId}", {
        params: { path: { tenantId }, header: { "If-Match": \`"\${version}"\` } },
        body: change,
      });
      if (error?.code === "precondition_failed") return "stale";
      if (error) throw new Error(error.detail);
      return data.name;
    },
  };
}
`,
};

export const HEY_API: ClientProgram = {
  mistakes: MISTAKES,
  text: `
import { createClient } from "./sdk/client/index.ts";
import { createTenant, listTenants, updateTenant } from "./sdk/index.ts";

export function program(token: string, send: (request: Request) => Promise<Response>) {
  const client = createClient({ baseUrl: "http://localhost", auth: token, fetch: (request) => send(request as Request) });
  return {
    async list(): Promise<{ total: number | undefined; subdomains: string[] }> {
      const { data, error } = await listTenants({ client, query: { status: ["active", "trial"], sort: ["-mrr", "name"], mrrFrom: 1, limit: 5 } });
      if (error) throw new Error(error.detail);
      const live = data.data.filter((tenant) => tenant.status === "active");
      return { total: data.pagination.total, subdomains: live.map((tenant) => tenant.subdomain) };
    },
    async create(subdomain: string): Promise<string | null> {
      const { data, error } = await createTenant({ client, body: ${BODY} });
      if (error?.code === "subdomain_taken") return null;
      if (error) throw new Error(error.detail);
      return data.id;
    },
    async rename(tenantId: string, version: string): Promise<string> {
      const { data, error } = await updateTenant({
        client,
        path: { tenantId },
        headers: { "If-Match": \`"\${version}"\` },
        body: { name: "Hotel Renamed", billingEntity: null },
      });
      if (error?.code === "precondition_failed") return "stale";
      if (error) throw new Error(error.detail);
      return data.name;
    },
  };
}
`,
};
