import type { Route } from "../../shared/core/route.ts";
import { SECRET_LIKE } from "../../shared/features/api-keys/secret.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";

/** Names under which other APIs accept a key in a query, unless the route has a parameter with the name. */
const NAMES = /^(x[-_]?)?api[-_]?key$|^(key|token|access[-_]?token)$/i;

/** Refuses an API key in the query string, which proxies, browsers and logs record. The error does not repeat it. Throws `bad_request`. */
export function assertNoKeyInQuery(query: URLSearchParams, { query: declared }: Pick<Route, "query">): void {
  for (const [name, value] of query) {
    const isKey = SECRET_LIKE.test(name) || SECRET_LIKE.test(value);
    if (!isKey && !(NAMES.test(name) && !Object.hasOwn(declared?.shape ?? {}, name))) continue;
    throw new InnkeepError(
      "bad_request",
      "A credential must not be sent in the query string, which proxies, browsers and logs record. Consider it leaked: revoke it, and " +
        "send a new one as `Authorization: Bearer` or `X-API-Key`.",
    );
  }
}
