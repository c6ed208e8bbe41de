import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect } from "vitest";
import { read } from "../../architecture/sources.ts";
import type { TestApi } from "../../http/support/api.ts";

export interface Served {
  /** The base URL of SDKs. */
  readonly url: string;
  /** The requests so far, with the status and the ETag of their responses. */
  readonly seen: { readonly path: string; readonly status: number; readonly etag: string | null }[];
}

/** Serves the app of a test file on a port, for SDKs. Every response is checked against the OpenAPI file. */
export function useServed(api: TestApi): Served {
  const seen: { path: string; status: number; etag: string | null }[] = [];
  const faults: unknown[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => PASSED.has(name))) as Record<string, string>;
      const raw = Buffer.concat(chunks);
      const path = request.url ?? "";
      api.send(request.method ?? "", path, { headers, ...(raw.length > 0 ? { raw } : {}) }).then((answer) => {
        seen.push({ path, status: answer.status, etag: answer.headers.get("etag") });
        response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(answer.text);
      }, (error: unknown) => {
        faults.push(error);
        response.writeHead(500).end();
      });
    });
  });
  beforeAll(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)));
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect(faults).toEqual([]);
  });
  return {
    get url() {
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    },
    seen,
  };
}

const PREFLIGHT = ["access-control-request-method", "access-control-request-headers"];
const PASSED = new Set(["authorization", "content-type", "if-none-match", "x-api-key", "x-tenant-id", "origin", ...PREFLIGHT]);

/** The program of docs/ofrep.md that imports this package. */
export function programOf(imported: string): string {
  const programs = [...read("docs/ofrep.md").matchAll(/```js\n(.*?)```/gs)].map(([, text = ""]) => text);
  return programs.find((text) => text.includes(`from "${imported}"`)) ?? "throw new Error('the page has no such program')";
}
