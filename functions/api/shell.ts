import { Hono } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import type { Logger } from "../../shared/kernel/logger.ts";
import { errorResponse } from "./error-response.ts";
import { internalPath, pathOf } from "./function-path.ts";
import { corsByList } from "./middleware/cors.ts";
import { type AppEnv, requestContext } from "./middleware/request-context.ts";
import { wellFormedUrl } from "./middleware/well-formed-url.ts";

export interface ShellOptions {
  readonly logger: Logger;
  readonly corsOrigins: readonly string[];
  /** The path that routes are matched with. Default: without the prefix of the API. */
  readonly routePath?: (pathname: string) => string;
}

/** A Hono app without routes: the common middleware, and the responses if no route matches or a handler throws. */
export function shellOf({ logger, corsOrigins, routePath = internalPath }: ShellOptions): Hono<AppEnv> {
  const app = new Hono<AppEnv>({ getPath: (request) => routePath(pathOf(request)) });
  app.use(
    requestContext(logger),
    corsByList(corsOrigins),
    wellFormedUrl(),
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, allow) => {
        const message = `This path does not support ${c.req.method}. Use one of ${allow.join(", ")}.`;
        return errorResponse(c, new InnkeepError("method_not_allowed", message, [], { allow }), logger);
      },
    }),
  );
  app.notFound((c) => errorResponse(c, new InnkeepError("not_found", `No route matches ${c.req.path.slice(0, 200)}.`), logger));
  app.onError((error, c) => errorResponse(c, error, logger));
  return app;
}
