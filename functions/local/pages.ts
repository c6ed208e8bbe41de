import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { parseUrl } from "../../shared/kernel/web-url.ts";
import { PROJECT_DIR } from "./options.ts";
import type { Handler } from "./runtime.ts";

/** A path into node_modules works because this program is never bundled. */
const REFERENCE = "node_modules/swagger-ui-dist";
const OWN = "functions/local/pages";

/** All files that a browser may load, by path. None of them is part of a deployment. */
const FILES: Readonly<Record<string, string>> = {
  "/": `${OWN}/index.html`,
  "/docs": `${OWN}/docs.html`,
  "/docs/swagger-ui.css": `${REFERENCE}/swagger-ui.css`,
  "/docs/swagger-ui-bundle.js": `${REFERENCE}/swagger-ui-bundle.js`,
  ...Object.fromEntries(
    [
      "icon.svg",
      "theme.css",
      "index.css",
      "tenants.css",
      "jobs.css",
      "charts.css",
      "index.js",
      "api.js",
      "elements.js",
      "tenants.js",
      "jobs.js",
      "charts.js",
      "dashboard.js",
      "deletion.js",
      "events.js",
      "notifications.js",
      "tokens.js",
      "docs.css",
      "docs.js",
    ]
      .map((name) => [`/local/${name}`, `${OWN}/${name}`]),
  ),
};

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

const OWN_ONLY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/** Swagger UI contains its icons as data: URLs. */
const WITH_ICONS = `${OWN_ONLY}; img-src 'self' data:`;

const HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
};

/** Returns the JSON of a path of the local stack, or null if there is none. */
export type LocalData = (path: string, query: URLSearchParams) => Promise<unknown>;

/**
 * Serves the local page, the API reference and their tokens, and passes other requests to the API. Serves them only under
 * `127.0.0.1` and `localhost`: otherwise a foreign site whose name resolves to this machine could read a token.
 */
export function withPages(handle: Handler, data: LocalData): Handler {
  return async (request) => {
    const url = parseUrl(request.url);
    const isRead = request.method === "GET" || request.method === "HEAD";
    if (!url || !isRead || !["127.0.0.1", "localhost"].includes(url.hostname)) return await handle(request);
    const { pathname, searchParams } = url;
    const file = Object.hasOwn(FILES, pathname) ? FILES[pathname] : undefined;
    const answer = file === undefined ? await dataAnswer(await data(pathname, searchParams)) : await fileAnswer(pathname, file);
    if (!answer) return await handle(request);
    return request.method === "HEAD" ? new Response(null, answer) : answer;
  };
}

async function fileAnswer(pathname: string, file: string): Promise<Response> {
  try {
    const headers = {
      ...HEADERS,
      "content-type": TYPES[extname(file)] ?? "application/octet-stream",
      "content-security-policy": pathname.startsWith("/docs") ? WITH_ICONS : OWN_ONLY,
    };
    return new Response(await readFile(join(PROJECT_DIR, file)), { headers });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return new Response(`${file} is missing: run npm ci\n`, { status: 500, headers: { ...HEADERS, "content-type": "text/plain" } });
  }
}

function dataAnswer(value: unknown): Response | null {
  return value === null ? null : Response.json(value, { headers: { ...HEADERS, "content-security-policy": "default-src 'none'" } });
}
