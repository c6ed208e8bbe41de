import type { Handler, Hono } from "hono";
import type { Feature } from "../../shared/core/feature.ts";
import type { Route } from "../../shared/core/route.ts";
import { features } from "../../shared/features/index.ts";
import type { ApiDeps } from "./deps.ts";
import { internalPath, pathOf } from "./function-path.ts";
import { answerHealthCheck, isHealthCheck } from "./health.ts";
import type { AppEnv } from "./middleware/request-context.ts";
import { once } from "./once.ts";
import { shellOf, type ShellOptions } from "./shell.ts";

export interface Api {
  /** Handles a request. The first request of a feature loads it. */
  fetch(request: Request): Promise<Response>;
  /** All routes, for the OpenAPI file and the tests. */
  routes(): Promise<readonly Route[]>;
}

/** A source of routes: a feature, or the system routes. */
type Source = Pick<Feature, "routes">;

/**
 * The API over one backend, with one Hono app for each feature. The first request that is not a health check calls `load`. Only the
 * entry points read the environment.
 */
export function createApi(options: ShellOptions, load: () => ApiDeps | Promise<ApiDeps>): Api {
  const places = (features as readonly Feature[]).flatMap((feature) => (
    feature.paths.map((path) => ({ feature, pattern: patternOf(path), length: path.split("/").length }))
  )).sort((a, b) => b.length - a.length);
  const system: Source = {
    async routes() {
      const { systemRoutes } = await import("./system.ts");
      return { routes: systemRoutes(async () => (await import("./openapi.ts")).buildOpenApi(await routes())) };
    },
  };
  const modules = new Map<Source, () => Promise<readonly Route[]>>();
  const routesOf = (source: Source) => kept(modules, source, async () => (await source.routes()).routes);
  const routes = async () => (await Promise.all([system, ...features].map(routesOf))).flat();
  const handlerOf = once(async () => {
    const [{ handlersOver }, deps] = await Promise.all([import("./pipeline.ts"), load()]);
    return handlersOver(deps);
  });
  const apps = new Map<Source, () => Promise<Hono<AppEnv>>>();
  const appOf = (source: Source) =>
    kept(apps, source, async () => {
      const app = shellOf(options);
      if (source === system) app.use("/openapi.json", (await import("hono/compress")).compress());
      return withRoutes(app, await routesOf(source), await handlerOf());
    });
  const health = shellOf(options);
  health.get("/health", answerHealthCheck);
  return {
    routes,
    async fetch(request) {
      const path = internalPath(pathOf(request));
      if (isHealthCheck(request, path)) return await health.fetch(request);
      const source = places.find(({ pattern }) => pattern.test(path))?.feature ?? system;
      const app = await appOf(source).catch((error: unknown) => failing(options, error));
      return await app.fetch(request);
    },
  };
}

function kept<K, V>(map: Map<K, () => Promise<V>>, key: K, make: () => Promise<V>): Promise<V> {
  let value = map.get(key);
  if (value === undefined) map.set(key, value = once(make));
  return value();
}

/** An app that reports why the routes could not be loaded: a problem for the caller, and the error in the log. */
function failing(options: ShellOptions, error: unknown): Hono<AppEnv> {
  const app = shellOf(options);
  app.use(() => {
    throw error instanceof Error ? error : new Error(String(error));
  });
  return app;
}

function withRoutes(app: Hono<AppEnv>, routes: readonly Route[], handlerOf: (route: Route) => Handler<AppEnv>): Hono<AppEnv> {
  // Hono runs the handler that was registered first: /tenants/stats must come before /tenants/:tenantId.
  for (const route of routes.toSorted(byPath)) app.on(route.method, route.path, handlerOf(route));
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
