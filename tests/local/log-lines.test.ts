import { describe, expect, test } from "vitest";
import { asWritten, forPeople, OWN_REQUEST_ID, PAGE_REQUEST_ID } from "../../functions/local/log-lines.ts";

const REQUEST = {
  time: "2026-03-01T12:00:00.000Z",
  level: "info",
  event: "request",
  requestId: "req_1",
  method: "GET",
  route: "/v1/tenants/:tenantId/usage",
  path: "/v1/tenants/tn_1/usage",
  status: 200,
  durationMs: 12.34,
  caller: "admin:1",
  tenantId: "tn_1",
};
const line = (change: object = {}) => JSON.stringify({ ...REQUEST, ...change });

describe("the log of the local stack", () => {
  test("O01: is the API's JSON without the requests of npm start itself when it is not a terminal", () => {
    expect(asWritten(line())).toBe(line());
    expect(asWritten(line({ requestId: OWN_REQUEST_ID }))).toBeNull();
  });

  test("O01: is one short line per request on a terminal: time, method, path, status, milliseconds", () => {
    const format = forPeople({ colours: false });
    expect(format(line())).toMatch(/^\d\d:\d\d:\d\d {2}GET {4}\/v1\/tenants\/tn_1\/usage {2}200 {2}12 ms$/);
    expect(format(line({ path: "/v1/plans", durationMs: 1.26 }))).toMatch(/ \/v1\/plans {2}200 {2}1\.3 ms$/);
    expect(format(line({ requestId: OWN_REQUEST_ID }))).toBeNull();
  });

  test("O01: has the error code and the request id on a terminal when a request fails", () => {
    const format = forPeople({ colours: false });
    expect(format(line({ status: 404, code: "not_found" }))).toMatch(/ \/v1\/tenants\/tn_1\/usage {2}404 {2}12 ms {2}not_found {2}req_1$/);
    expect(format(line({ status: 499, code: "client_closed_request" }))).toMatch(/ 499 {2}12 ms {2}client_closed_request {2}req_1$/);
    expect(format(line({ status: 500 }))).toMatch(/ 500 {2}12 ms {2}req_1$/);
  });

  test("O01: shows the control characters of a path as question marks on a terminal", () => {
    expect(forPeople({ colours: false })(line({ path: "/v1/\x1b[2Jx\u{202e}" }))).toMatch(/GET {4}\/v1\/\?\[2Jx\? {2}200/);
  });

  test("O01: omits the repeated requests of the local page unless they fail", () => {
    for (const format of [asWritten, forPeople({ colours: false })]) {
      expect(format(line({ requestId: `${PAGE_REQUEST_ID}1` }))).toBeNull();
      expect(format(line({ requestId: `${PAGE_REQUEST_ID}1`, status: 503 }))).toContain("503");
    }
  });

  test.each([[200, 32], [304, 36], [404, 33], [503, 31]])("O01: shows a %i in its colour", (status, colour) => {
    expect(forPeople({ colours: true })(line({ status }))).toContain(`\x1b[${colour}m${status}\x1b[0m`);
  });

  test("O01: shows another event with its fields, and a line that is not JSON unchanged", () => {
    const format = forPeople({ colours: false });
    const event = JSON.stringify({ time: REQUEST.time, level: "error", event: "bootstrap_failed", error: "no database", tries: 3 });
    expect(format(event)).toMatch(/^\d\d:\d\d:\d\d {2}error bootstrap_failed error=no database tries=3$/);
    const failure = { time: REQUEST.time, level: "error", event: "request_failed", error: "x", stack: "x\n    at y" };
    expect(format(JSON.stringify({ ...failure, code: "store_unavailable" }))).toMatch(/ code=store_unavailable$/);
    expect(format(JSON.stringify({ ...failure, code: "internal" }))).toMatch(/ code=internal\nx\n {4}at y$/);
    expect(format("error: Uncaught")).toBe("error: Uncaught");
  });
});
