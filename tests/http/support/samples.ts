import type { Route } from "../../../shared/core/route.ts";
import type { Container } from "../../../shared/container.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import type { TestApi } from "./api.ts";

let calls = 0;

/** What a good call of the route sends; a route with a body and no sample of it fails. */
export function bodyOf(route: Route): Record<string, unknown> | undefined {
  calls += 1;
  const { body } = route.sample ?? {};
  if (!body && route.body && !route.bodyOptional) throw new Error(`${route.operationId} has a body and no sample of it`);
  return typeof body === "function" ? body(calls) : body;
}

/** A route's path for a tenant, with ids of records that exist. */
export function pathOf(route: Route, ids: Readonly<Record<string, string>>): string {
  const { params, query } = route.sample ?? {};
  const values: Readonly<Record<string, string>> = { planId: "Pro", userId: "user-support", ...params, ...ids };
  return `${route.path}${query ? `?${query}` : ""}`.replaceAll(/:(\w+)/g, (_, name: string) => values[name] ?? "missing");
}

/** A tenant and the records the path names, made for this call by the API's own routes, in the state the sample asks for. */
export async function prepare(api: TestApi, route: Route): Promise<Record<string, string>> {
  const { id: tenantId } = await api.tenant();
  const ids: Record<string, string> = { tenantId, ...route.sample?.params };
  for (const [, collection = "", name = ""] of route.path.matchAll(/^(.*?)\/:(\w+)/g)) {
    const creation = api.routes.find(({ method, path }) => method === "POST" && path === collection);
    if (ids[name] !== undefined || !creation) continue;
    const made = await api.send("POST", collection, { token: api.admin("super_admin"), json: bodyOf(creation) });
    ids[name] = made.headers.get("location")?.split("/").at(-1) ?? "";
  }
  const work = (api.container as Container).bind(systemContext(api.clock));
  await route.sample?.prepare?.(new route.service(work), ids);
  return ids;
}
