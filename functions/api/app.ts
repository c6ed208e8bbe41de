import { Hono } from "hono";
import { compress } from "hono/compress";
import { methodNotAllowed } from "hono/method-not-allowed";
import type { Feature } from "../../shared/core/feature.ts";
import type { Route } from "../../shared/core/route.ts";
import { features } from "../../shared/features/index.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import type { ApiDeps } from "./deps.ts";
import { errorResponse } from "./error-response.ts";
import { internalPath, pathOf } from "./function-path.ts";
import { RunningCalls } from "./idempotency.ts";
import { corsByList } from "./middleware/cors.ts";
import { type AppEnv, requestContext } from "./middleware/request-context.ts";
import { wellFormedUrl } from "./middleware/well-formed-url.ts";
import { serve } from "./pipeline.ts";
import { systemRoutes } from "./system.ts";

export interface Api {
  /** Handles a request. The first request of a feature loads it. */
  fetch(request: Request): Promise<Response>;
  /** All routes, for the OpenAPI file and the tests. */
  routes(): Promise<readonly Route[]>;
}

/**
 * The API over one backend, with one Hono app for each feature. It receives its configuration as values: only the entry points
 * read the environment.
 */
export function createApi(deps: ApiDeps): Api {
  const places = (features as readonly Feature[]).flatMap((feature) => (
    feature.paths.map((path) => ({ feature, pattern: patternOf(path), length: path.split("/").length }))
  )).sort((a, b) => b.length - a.length);
  const apps = new Map<Feature, Promise<Hono<AppEnv>>>();
  const own = systemRoutes(async () => (await import("./openapi.ts")).buildOpenApi(await routes()));
  const running = new RunningCalls();
  const system = appOf(own, deps, running);
  const routes = async () => [...own, ...(await Promise.all(features.map(async (feature) => (await feature.routes()).routes))).flat()];
  return {
    routes,
    async fetch(request) {
      const path = internalPath(pathOf(request));
      const feature = places.find(({ pattern }) => pattern.test(path))?.feature;
      if (!feature) return await system.fetch(request);
      let app = apps.get(feature);
      if (!app) apps.set(feature, app = feature.routes().then((module) => appOf(module.routes, deps, running)));
      return await (await app).fetch(request);
    },
  };
}

function appOf(routes: readonly Route[], deps: ApiDeps, running: RunningCalls): Hono<AppEnv> {
  const { logger } = deps.backend;
  const app = new Hono<AppEnv>({ getPath: (request) => internalPath(pathOf(request)) });
  app.use(
    requestContext(logger),
    corsByList(deps.config.corsOrigins),
    wellFormedUrl(),
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, allow) => {
        const message = `This path does not support ${c.req.method}. Use one of ${allow.join(", ")}.`;
        return errorResponse(c, new InnkeepError("method_not_allowed", message, [], { allow }), logger);
      },
    }),
  );
  app.use("/openapi.json", compress());
  // Hono runs the handler that was registered first: /tenants/stats must come before /tenants/:tenantId.
  for (const route of routes.toSorted(byPath)) app.on(route.method, route.path, serve(route, deps, running));
  app.notFound((c) => errorResponse(c, new InnkeepError("not_found", `No route matches ${c.req.path.slice(0, 200)}.`), logger));
  app.onError((error, c) => errorResponse(c, error, logger));
  return app;
}

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(/:\w+/g, "[^/]+")}(?:/|$)`);
}

/** Sorts fixed segments before parameters. */
function byPath(a: Route, b: Route): number {
  const sortable = ({ path }: Route) => path.replaceAll(":", "\u{ffff}");
  return sortable(a) < sortable(b) ? -1 : sortable(a) > sortable(b) ? 1 : 0;
}
