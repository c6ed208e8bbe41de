import { type Context, Hono } from "hono";
import type { Container } from "../../shared/container.ts";
import { errors, InnkeepError } from "../../shared/kernel/errors.ts";
import type { Logger } from "../../shared/kernel/logger.ts";
import { isSegment, RESERVED_TENANT_IDS } from "../../shared/kv/key.ts";
import type { HostRules } from "../../shared/features/tenants/host-names.ts";
import type { TokenVerifier } from "../../shared/ports.ts";
import { pathParams, type Route } from "../../shared/core/route.ts";
import { anonymous, authenticate, type Caller } from "./authenticate.ts";
import { callerContext } from "./caller-context.ts";
import { parseIfMatch } from "./conditional.ts";
import { cors } from "./middleware/cors.ts";
import { errorResponse } from "./error-response.ts";
import { externalPath, internalPath, pathOf, wellFormedUrl } from "./function-path.ts";
import { type AppEnv, requestContext, since } from "./middleware/request-context.ts";
import { respond } from "./respond.ts";
import { authorize, resolveTenant, type TenantSources } from "./tenant-scope.ts";
import { checkedInput } from "./validate.ts";
import { buildOpenApi } from "./openapi.ts";
import { adminRoutes } from "../../shared/features/admins/routes.ts";
import { auditRoutes } from "../../shared/features/audit/routes.ts";
import { meRoutes } from "../../shared/features/me/routes.ts";
import { planRoutes } from "../../shared/features/plans/routes.ts";
import { subscriptionRoutes } from "../../shared/features/subscriptions/routes.ts";
import { systemRoutes } from "../../shared/features/system/routes.ts";
import { tenantRoutes } from "../../shared/features/tenants/routes.ts";
import { usageRoutes } from "../../shared/features/usage/routes.ts";

export interface ApiDeps {
  readonly container: Container;
  readonly verifier: TokenVerifier;
  readonly config: HostRules & { readonly corsOrigins: readonly string[] };
}

export interface Api {
  readonly app: Hono<AppEnv>;
  /** Everything that is served, for the OpenAPI file and the tests that walk it. */
  readonly routes: readonly Route[];
}

/** The whole API over one container. Nothing below an entry point reads the environment. */
export function createApi(deps: ApiDeps): Api {
  const { container, config } = deps;
  const app = new Hono<AppEnv>({ getPath: (request) => internalPath(pathOf(request)) });
  let document: Record<string, unknown> | undefined;
  const routes: Route[] = [
    ...systemRoutes(container.store, () => document ??= buildOpenApi(routes)),
    ...meRoutes,
    ...tenantRoutes(config),
    ...subscriptionRoutes,
    ...usageRoutes,
    ...planRoutes,
    ...adminRoutes,
    ...auditRoutes,
  ];
  app.use(requestContext(container.logger), cors(config.corsOrigins), wellFormedUrl);
  for (const route of routes) app.on(route.method, route.path, serve(route, deps));
  app.notFound((c) => unmatched(c, routes, container.logger));
  app.onError((error, c) => errorResponse(c, error, container.logger));
  return { app, routes };
}

export function createApp(deps: ApiDeps): Hono<AppEnv> {
  return createApi(deps).app;
}

/** One request on its way: who calls, which tenant, may it, is the input good, do it, answer. */
function serve(route: Route, deps: ApiDeps) {
  const { container } = deps;
  const names = pathParams(route.path);
  return async (c: Context<AppEnv>): Promise<Response> => {
    c.set("route", route.path);
    const authStartedAt = performance.now();
    const caller = await callerOf(c, route, deps);
    c.set("caller", `${caller.kind}:${caller.actor.id}`);
    const params = readParams(c, names);
    const tenantId = route.scope === "public"
      ? null
      : await resolveTenant(caller, sourcesOf(c, route, params), deps.config, container.store);
    c.set("tenantId", tenantId);
    authorize(caller, route);
    c.set("authMs", since(authStartedAt));
    const input = await checkedInput(c, route);
    const ifMatch = readIfMatch(c, route);
    const services = container.services(callerContext(c, caller, container.clock));
    const storeStartedAt = performance.now();
    try {
      const reply = await route.handler({ ...input, params, services, caller, tenantId, ifMatch });
      return respond(c, route, reply, externalPath(c));
    } finally {
      c.set("storeMs", since(storeStartedAt));
    }
  };
}

function callerOf(c: Context, route: Route, { container, verifier }: ApiDeps): Promise<Caller> | Caller {
  return route.scope === "public" ? anonymous : authenticate(c.req.header("authorization"), container, verifier);
}

/** Short ids of the path's parameters; a full key such as `plan:Pro` is taken for its short id. */
function readParams(c: Context, names: readonly string[]): Record<string, string> {
  const params: Record<string, string> = {};
  for (const name of names) {
    const given = c.req.param(name) ?? "";
    const family = FAMILIES[name];
    const id = family && given.startsWith(`${family}:`) ? given.slice(family.length + 1) : given;
    const isReserved = name === "tenantId" && RESERVED_TENANT_IDS.has(id);
    if (!isSegment(id) || isReserved) throw errors.notFound(name.replace(/Id$/, ""), given.slice(0, 200));
    params[name] = id;
  }
  return params;
}

const FAMILIES: Readonly<Record<string, string>> = { tenantId: "tenant", planId: "plan", userId: "admin" };

function sourcesOf(c: Context, route: Route, params: Readonly<Record<string, string>>): TenantSources {
  const query = route.query && Object.hasOwn(route.query.shape, "tenantId") ? c.req.query("tenantId") || undefined : undefined;
  return { path: params["tenantId"], query, header: c.req.header("x-tenant-id"), host: new URL(c.req.url).host };
}

function readIfMatch(c: Context, route: Route) {
  const ifMatch = route.method === "GET" ? undefined : parseIfMatch(c.req.header("if-match"));
  if (ifMatch === null) throw errors.parameter("If-Match", 'must be `*` or entity tags such as "42"');
  return ifMatch;
}

/** 405 with Allow where the path exists under other methods, OPTIONS answered, else 404. */
function unmatched(c: Context<AppEnv>, routes: readonly Route[], logger: Logger): Response {
  const methods = routes.filter(({ path }) => patternOf(path).test(c.req.path)).map(({ method }) => method as string);
  // Answered, not thrown: Hono runs no middleware's second half after a notFound that throws.
  if (methods.length === 0) {
    return errorResponse(c, new InnkeepError("not_found", `there is nothing at ${c.req.path.slice(0, 200)}`), logger);
  }
  const allow = [...new Set(["OPTIONS", ...(methods.includes("GET") ? ["HEAD"] : []), ...methods])];
  if (c.req.method === "OPTIONS") return c.body(null, 204, { allow: allow.join(", ") });
  return errorResponse(c, new InnkeepError("method_not_allowed", `${c.req.method} is not a method of this path`, [], { allow }), logger);
}

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(".", "\\.").replaceAll(/:\w+/g, "[^/]+")}$`);
}
