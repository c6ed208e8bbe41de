import { describe, expect, test } from "vitest";
import { asWritten, forPeople, OWN_REQUEST_ID, PAGE_REQUEST_ID } from "../../functions/local/log-lines.ts";
import { Output } from "../../functions/local/output.ts";

const REQUEST = {
  time: "2026-03-01T12:00:00.000Z",
  level: "info",
  event: "request",
  requestId: "req_1",
  method: "GET",
  route: "/v1/tenants/:tenantId/usage",
  status: 200,
  durationMs: 12.34,
  caller: "admin:1",
  tenantId: "tn_1",
};
const line = (change: object = {}) => JSON.stringify({ ...REQUEST, ...change });

describe("the log of the local stack", () => {
  test("O01: is JSON as the API writes it, without the start's own questions", () => {
    expect(asWritten(line())).toBe(line());
    expect(asWritten(line({ requestId: OWN_REQUEST_ID }))).toBeNull();
  });

  test("O01: is for people a short line a request: time, method, path, status, milliseconds", () => {
    const format = forPeople({ colours: false });
    expect(format(line())).toMatch(/^\d\d:\d\d:\d\d {2}GET {4}\/v1\/tenants\/tn_1\/usage {2}200 {2}12 ms$/);
    expect(format(line({ tenantId: null, durationMs: 1.26 }))).toMatch(/\/v1\/tenants\/:tenantId\/usage {2}200 {2}1\.3 ms$/);
    expect(format(line({ requestId: OWN_REQUEST_ID }))).toBeNull();
  });

  test("O01: leaves out what the local page reads over and over, but for what fails", () => {
    for (const format of [asWritten, forPeople({ colours: false })]) {
      expect(format(line({ requestId: `${PAGE_REQUEST_ID}1` }))).toBeNull();
      expect(format(line({ requestId: `${PAGE_REQUEST_ID}1`, status: 503 }))).toContain("503");
    }
  });

  test.each([[200, 32], [304, 36], [404, 33], [503, 31]])("O01: colours a %i", (status, colour) => {
    expect(forPeople({ colours: true })(line({ status }))).toContain(`\x1b[${colour}m${status}\x1b[0m`);
  });

  test("O01: shows any other event with its fields, and leaves a line that is no JSON as it is", () => {
    const format = forPeople({ colours: false });
    const event = JSON.stringify({ time: REQUEST.time, level: "error", event: "bootstrap_failed", error: "no database", tries: 3 });
    expect(format(event)).toMatch(/^\d\d:\d\d:\d\d {2}error bootstrap_failed error=no database tries=3$/);
    const failure = { time: REQUEST.time, level: "error", event: "request_failed", error: "x", stack: "x\n    at y" };
    expect(format(JSON.stringify({ ...failure, code: "store_unavailable" }))).toMatch(/ code=store_unavailable$/);
    expect(format(JSON.stringify({ ...failure, code: "internal" }))).toMatch(/ code=internal\nx\n {4}at y$/);
    expect(format("error: Uncaught")).toBe("error: Uncaught");
  });
});

describe("the output", () => {
  const failing = (code: string) => () => Promise.reject(Object.assign(new Error(code), { code }));

  test("O01: keeps the order of lines, and writes a part that was not taken again", async () => {
    const bytes: number[] = [];
    const output = new Output((given) => {
      const taken = given.subarray(0, 3);
      bytes.push(...taken);
      return Promise.resolve(taken.length);
    });
    for (const text of ["one", "two", "three"]) output.line(text);
    await output.flush();
    expect(new TextDecoder().decode(new Uint8Array(bytes))).toBe("one\ntwo\nthree\n");
  });

  test("O01: drops what cannot be written, and writes again when that is over", async () => {
    const written: string[] = [];
    let isFull = true;
    const output = new Output((given) => {
      if (isFull) return failing("ENOSPC")();
      written.push(new TextDecoder().decode(given));
      return Promise.resolve(given.length);
    });
    output.line("lost");
    await output.flush();
    isFull = false;
    output.line("kept");
    await output.flush();
    expect(written).toEqual(["kept\n"]);
  });

  test("O01: is over when its reader has gone", async () => {
    let calls = 0;
    const output = new Output(() => {
      calls += 1;
      return failing("EPIPE")();
    });
    output.line("lost");
    await output.flush();
    output.line("nobody");
    await output.flush();
    expect(calls).toBe(1);
  });

  test("O01: leaves out lines for a reader that is too slow, and says how many", async () => {
    const written: string[] = [];
    let takeOne = (): void => undefined;
    const output = new Output((given) => {
      written.push(new TextDecoder().decode(given));
      return new Promise((resolve) => takeOne = () => resolve(given.length));
    });
    for (let i = 0; i < 3_000; i++) output.line(String(i));
    takeOne();
    await expect.poll(() => written.length).toBe(2);
    takeOne();
    await output.flush();
    expect(written[0]).toBe("0\n");
    expect(written[1]).toMatch(/^1\n2\n[^]*\n2000\n\(999 lines were left out: the reader of this output was too slow\)\n$/);
  });
});
