import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzipSync, inflateSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT } from "../architecture/sources.ts";
import { useApi } from "./support/api.ts";
import { type RunningFunction, startFunction } from "./support/function.ts";

const api = useApi();
const PATH = "/openapi.json";
const DENO = join(ROOT, "node_modules", ".bin", "deno");
const get = (headers: Record<string, string> = {}) => api.send("GET", PATH, { headers });

describe("/openapi.json", () => {
  test("H11: has its digest as ETag, can be cached by anyone, and is revalidated by If-None-Match", async () => {
    const { status, headers, text } = await get();
    const etag = headers.get("etag") ?? "";
    expect([status, etag]).toEqual([200, `"${createHash("sha256").update(text).digest("hex")}"`]);
    expect(headers.get("cache-control")).toBe("public, no-cache");
    expect(headers.get("vary")).not.toContain("Authorization");
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
      const again = await get({ "if-none-match": known });
      expect([again.status, again.text, again.headers.get("etag")]).toEqual([304, "", etag]);
    }
    expect((await get({ "if-none-match": '"other"' })).status).toBe(200);
    expect((await api.send("HEAD", PATH)).headers.get("etag")).toBe(etag);
  });

  test("H11: is the same text on every request", async () => {
    const texts = await Promise.all([get(), get(), get()]);
    expect(new Set(texts.map(({ text }) => text)).size).toBe(1);
  });
});

test("H11: has the same text and ETag in every process, whichever feature was loaded first", async () => {
  const documents = ["admins", "plans", "usage"].map((first) => {
    const program = `
      await import("./shared/features/${first}/routes.ts");
      const { createApi } = await import("./functions/api/app.ts");
      const { buildOpenApi } = await import("./functions/api/openapi.ts");
      const unused = () => Promise.reject(new Error("not used"));
      console.log(JSON.stringify(buildOpenApi(await createApi({ logger: {}, corsOrigins: [] }, unused).routes())));`;
    return promisify(execFile)(DENO, ["eval", "--no-check", "--quiet", program], { cwd: ROOT, maxBuffer: 10_000_000 });
  });
  const texts = (await Promise.all(documents)).map(({ stdout }) => stdout);
  expect(texts[0]).toContain('"openapi":"3.1.0"');
  expect(new Set(texts).size).toBe(1);
});

describe("the function under Deno", () => {
  let served: RunningFunction;
  beforeAll(async () => void (served = await startFunction()));
  afterAll(() => served.stop());
  /** The response before decompression. */
  const raw = async (encoding: string) => {
    const request = [
      `GET ${PATH} HTTP/1.0`,
      "Host: localhost",
      ...(encoding ? [`Accept-Encoding: ${encoding}`] : []),
      "Connection: close",
      "",
      "",
    ];
    const answer = Buffer.from(await served.raw(request.join("\r\n")), "latin1");
    const end = answer.indexOf("\r\n\r\n");
    return { head: answer.subarray(0, end).toString(), body: answer.subarray(end + 4) };
  };

  test("H11: compresses the OpenAPI file only if Accept-Encoding allows it", async () => {
    const plain = await raw("");
    expect(plain.head).toMatch(/^HTTP\/1\.\d 200/);
    expect(plain.head).not.toMatch(/^content-encoding:/im);
    expect(plain.head).toMatch(/^vary: .*accept-encoding/im);
    expect(JSON.parse(plain.body.toString())).toMatchObject({ openapi: "3.1.0" });
    for (const [encoding, unpack] of [["gzip", gunzipSync], ["deflate", inflateSync]] as const) {
      const packed = await raw(encoding);
      expect(packed.head).toMatch(new RegExp(`^content-encoding: ${encoding}`, "im"));
      expect(packed.body.length).toBeLessThan(plain.body.length / 4);
      expect(unpack(packed.body).equals(plain.body)).toBe(true);
    }
    expect((await raw("gzip;q=0, identity")).head).not.toMatch(/^content-encoding:/im);
  });

  test("H11: returns 304 for the ETag of a compressed response", async () => {
    const url = `${served.url}${PATH}`;
    const first = await fetch(url, { headers: { "accept-encoding": "gzip" } });
    await first.arrayBuffer();
    const etag = first.headers.get("etag") ?? "";
    expect(etag).toMatch(/^W\/"[0-9a-f]{64}"$/);
    expect((await fetch(url, { headers: { "if-none-match": etag } })).status).toBe(304);
  });
});
