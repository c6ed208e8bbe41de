import type { Route, ServiceClass } from "../../../shared/core/route.ts";
import { ERROR_KINDS, type ErrorCode } from "../../../shared/kernel/errors.ts";
import type { Container } from "../../../shared/container.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import type { Answer, TestApi } from "./api.ts";

let calls = 0;
/** The tenant in the examples of the documentation. */
const EXAMPLE_TENANT = "tn_1767225600000_a1b2c3d4e5f6";

/** The status and code of a body that does not match the route's schema. */
export function invalidBody({ errorProtocol }: Route): [status: number, code: ErrorCode] {
  const code = errorProtocol?.invalidBody ?? "validation_failed";
  return [ERROR_KINDS[code].status, code];
}

/** The body of a valid call. The tenant of the examples in it stands for `tenantId`. Throws if a route with a body has no sample. */
export function bodyOf(route: Route, ids: Readonly<Record<string, string>> = {}): Record<string, unknown> | undefined {
  calls += 1;
  const { body } = route.sample ?? {};
  if (!body && route.body && !route.bodyOptional) throw new Error(`${route.operationId} has a body and no sample of it`);
  const given = typeof body === "function" ? body(calls) : body;
  const { tenantId = EXAMPLE_TENANT } = ids;
  return given && JSON.parse(JSON.stringify(given), (_, value: unknown) => value === EXAMPLE_TENANT ? tenantId : value);
}

/** Fills a route's path with the given ids, and with ids that do not exist for the others. */
export function pathOf(route: Route, ids: Readonly<Record<string, string>>): string {
  const { params, query } = route.sample ?? {};
  const values: Readonly<Record<string, string>> = { ...params, ...ids };
  return `${route.path}${query ? `?${query}` : ""}`.replaceAll(/:(\w+)/g, (_, name: string) => values[name] ?? "missing");
}

/** Creates a tenant and the records named in the path through the API, in the state that the sample requires. */
export async function prepare(api: TestApi, route: Route): Promise<Record<string, string>> {
  const { id: tenantId } = await api.tenant();
  const ids: Record<string, string> = { tenantId, ...route.sample?.params };
  Object.assign(ids, await route.sample?.ids?.(...callOf(api, route, ids)));
  for (const { index, 1: name = "" } of route.path.matchAll(/\/:(\w+)/g)) {
    const collection = route.sample?.memberOf?.[name];
    if (collection !== undefined) ids[name] = String((await create(api, collection, name, ids))?.body[name]);
    else if (ids[name] === undefined) Object.assign(ids, await make(api, route.path.slice(0, index), name, ids));
  }
  await prepareFor(api, route, ids);
  return ids;
}

async function prepareFor(api: TestApi, route: Route, ids: Readonly<Record<string, string>>): Promise<void> {
  await route.sample?.prepare?.(...callOf(api, route, ids));
}

/** What a sample's own functions are called with. */
function callOf(api: TestApi, route: Route, ids: Readonly<Record<string, string>>) {
  const work = (api.container as Container).bind(systemContext(api.clock));
  return [new route.service(work), ids, <U>(Service: ServiceClass<U>) => new Service(work)] as const;
}

async function make(
  api: TestApi,
  collection: string,
  name: string,
  ids: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  const made = await create(api, collection, name, ids);
  return made ? { [name]: made.headers.get("location")?.split("/").at(-1) ?? "" } : {};
}

/** Creates a record of a collection by its POST, else by a PUT that creates, else by a route whose sample makes one. Null if there is none. */
async function create(
  api: TestApi,
  collection: string,
  name: string,
  ids: Readonly<Record<string, string>>,
): Promise<Answer | null> {
  const posts = api.routes.find(({ method, path }) => method === "POST" && path === collection);
  const puts = api.routes.find(({ method, path, responses }) => method === "PUT" && path === `${collection}/:${name}` && responses[201]);
  const creation = posts ?? puts ?? api.routes.find(({ sample }) => sample?.makes === collection);
  if (!creation) return null;
  await prepareFor(api, creation, ids);
  return await api.send(creation.method, pathOf(creation, { ...ids, [name]: `made-${calls}` }), {
    token: api.admin("super_admin"),
    json: bodyOf(creation, ids),
  });
}
