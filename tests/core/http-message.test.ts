import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MessageFault, readResponse, requestBytes } from "../../shared/adapters/http-message.ts";

/** Reads a response that arrives in pieces of at most `size` bytes, cut after `maxBodyBytes`. */
async function responseOf(text: string, { size = Infinity, maxBodyBytes = 100, method = "POST" } = {}) {
  let bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const read = () => {
    if (bytes.length === 0) return Promise.resolve(null);
    const piece = bytes.subarray(0, size);
    bytes = bytes.subarray(piece.length);
    return Promise.resolve(piece);
  };
  const { status, headers, body, truncated } = await readResponse(read, { method, maxBodyBytes });
  return { status, headers, text: String.fromCharCode(...body), truncated, unread: bytes.length };
}

const CRLF = (...lines: readonly string[]) => lines.map((line) => `${line}\r\n`).join("");
const OK = (...headers: readonly string[]) => CRLF("HTTP/1.1 200 OK", ...headers, "");
const CHUNKED = OK("transfer-encoding: chunked");

const VALID: readonly (readonly [what: string, message: string, status: number, text: string])[] = [
  ["a body of a given length", `${OK("content-length: 5")}hello`, 200, "hello"],
  ["a body that ends with the connection", `${OK()}hello`, 200, "hello"],
  ["bytes after the given length, which are ignored", `${OK("content-length: 5")}hello, world`, 200, "hello"],
  ["chunks with an extension and a trailer", `${CHUNKED}${CRLF("3;a=b", "hel", "2", "lo", "0", "x: y", "")}`, 200, "hello"],
  ["a hexadecimal chunk size", `${CHUNKED}${CRLF("0A", "0123456789", "0", "")}`, 200, "0123456789"],
  ["the same Content-Length twice", `${OK("content-length: 5", "content-length: 5")}hello`, 200, "hello"],
  ["both framings: chunks take precedence", `${OK("transfer-encoding: Chunked", "content-length: 2")}${CRLF("1", "a", "0", "")}`, 200, "a"],
  ["no body for status 204", CRLF("HTTP/1.1 204 No Content", "content-length: 5", ""), 204, ""],
  ["interim responses, which are skipped", `${CRLF("HTTP/1.1 100 Continue", "", "HTTP/1.1 103", "link: x", "")}${OK()}hello`, 200, "hello"],
  ["HTTP/1.0 without a reason", CRLF("HTTP/1.0 410", ""), 410, ""],
  ["line feeds without carriage returns", "HTTP/1.1 200 OK\ncontent-length: 2\n\nok", 200, "ok"],
  ["an empty body", OK("content-length: 0"), 200, ""],
];

const HEAD_TOO_LONG = "The response has a head, or a line, that is too long.";
const CHUNKS = "The chunks of the response are not valid.";
const LENGTH = "The response has a Content-Length that is not valid.";
const HEADER = "The response has a header that is not valid.";
const NOT_HTTP = "The response is not HTTP/1.1.";

describe("a response", () => {
  test.each(VALID)("W08: may have %s", async (_, message, status, text) => {
    expect(await responseOf(message)).toMatchObject({ status, text, truncated: false });
  });

  test.each([
    ["nothing", "", "connection_closed"],
    ["half a status line", "HTTP/1.1 2", "connection_closed"],
    ["half a head", "HTTP/1.1 200 OK\r\nx: y", "connection_closed"],
    ["less than its Content-Length", `${OK("content-length: 5")}hell`, "connection_closed"],
    ["less than its chunk", `${CHUNKED}5\r\nhel`, "connection_closed"],
    ["no last chunk", `${CHUNKED}5\r\nhello\r\n`, "connection_closed"],
    ["another protocol", CRLF("SSH-2.0-OpenSSH_9.6"), NOT_HTTP],
    ["HTTP/2", CRLF("HTTP/2 200", ""), NOT_HTTP],
    ["a status of two digits", CRLF("HTTP/1.1 20", ""), NOT_HTTP],
    ["a status above 599", CRLF("HTTP/1.1 600", ""), NOT_HTTP],
    ["a change of protocol", CRLF("HTTP/1.1 101 Switching Protocols", ""), NOT_HTTP],
    ["a header without a colon", OK("nothing"), HEADER],
    ["a header without a name", OK(": x"), HEADER],
    ["a folded header", OK("a: b", " c: d"), HEADER],
    ["a space before the colon", OK("content-length : 5"), HEADER],
    ["a carriage return in a header", OK("a: b\rc"), HEADER],
    ["a null byte in a header", OK("a: b\0"), HEADER],
    ["a negative length", OK("content-length: -1"), LENGTH],
    ["a length that is no number", OK("content-length: 0x10"), LENGTH],
    ["a length of 16 digits", OK("content-length: 1000000000000000"), LENGTH],
    ["two lengths", OK("content-length: 5", "content-length: 6"), LENGTH],
    ["another transfer coding", OK("transfer-encoding: gzip, chunked"), "The response has a transfer coding other than chunked."],
    ["a chunk size that is no number", `${CHUNKED}${CRLF("hello")}`, CHUNKS],
    ["a chunk that is longer than its size", `${CHUNKED}${CRLF("2", "hello", "0", "")}`, "invalid_response"],
    ["a chunk size of 13 digits", `${CHUNKED}${CRLF("1000000000000")}`, CHUNKS],
    ["a chunk's line of more than 1 KiB", `${CHUNKED}1;${"x".repeat(2_000)}`, HEAD_TOO_LONG],
    ["a head of more than 16 KiB", OK(...Array.from({ length: 2_000 }, (_, i) => `x-${i}: 0123456789`)), HEAD_TOO_LONG],
    ["a header of more than 16 KiB", OK(`x: ${"y".repeat(20_000)}`), HEAD_TOO_LONG],
    ["interim responses without end", CRLF("HTTP/1.1 100 Continue", "").repeat(1_000), HEAD_TOO_LONG],
  ])("W08: with %s is refused", async (_, message, expected) => {
    const fault = await responseOf(message).catch((error: unknown) => error);
    expect(fault).toBeInstanceOf(MessageFault);
    expect([(fault as MessageFault).code, (fault as MessageFault).message]).toContain(expected);
  });

  test.each([
    ["of a given length", `${OK("content-length: 1000")}${"a".repeat(1_000)}`],
    ["that says it is longer than it is", `${OK("content-length: 999999999999999")}${"a".repeat(101)}`],
    ["in chunks", `${CHUNKED}${CRLF("3e8", "a".repeat(1_000), "0", "")}`],
    ["without a length", `${OK()}${"a".repeat(1_000)}`],
  ])("W08: with a long body %s is cut, and the rest is not read", async (_, message) => {
    expect(await responseOf(message, { size: 50 })).toMatchObject({ text: "a".repeat(100), truncated: true });
    expect((await responseOf(`${message}${"b".repeat(500)}`, { size: 50 })).unread).toBeGreaterThanOrEqual(450);
  });

  test("W08: with a body of exactly the limit is whole", async () => {
    expect(await responseOf(`${OK("content-length: 100")}${"a".repeat(100)}`)).toMatchObject({ text: "a".repeat(100), truncated: false });
    expect(await responseOf(`${OK()}${"a".repeat(100)}`)).toMatchObject({ truncated: false });
  });

  test("W08: to HEAD has no body", async () => {
    expect(await responseOf(OK("content-length: 5"), { method: "HEAD" })).toMatchObject({ status: 200, text: "" });
  });

  test("W06: gives its headers by lower-case name, repeated ones joined", async () => {
    const { headers } = await responseOf(OK("Retry-After:  120 ", "Link: <a>", "LINK: <b>", "__proto__: x"));
    expect(Object.entries(headers)).toEqual([["retry-after", "120"], ["link", "<a>, <b>"], ["__proto__", "x"]]);
  });

  test("W08: means the same however its bytes are divided", async () => {
    for (const [, message] of VALID) {
      const { unread: _, ...whole } = await responseOf(message);
      for (const size of [1, 2, 3, 7]) expect(await responseOf(message, { size })).toMatchObject(whole);
    }
  });

  test("W08: of any bytes is read or refused", async () => {
    const piece = fc.oneof(
      fc.constantFrom("HTTP/1.1 200 OK", "\r\n", "\n", "content-length: 5", "transfer-encoding: chunked", "5", "0", ": ", "hello", " "),
      fc.string({ maxLength: 5 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 20 }), fc.integer({ min: 1, max: 20 }), async (pieces, size) => {
        const outcome = await responseOf(pieces.join(""), { size }).catch((error: unknown) => error);
        expect(outcome instanceof MessageFault || (outcome as { status: number }).status >= 200).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe("a request", () => {
  const url = new URL("https://hooks.example.com:8443/a b?x=ü&y=%0d%0a");
  const textOf = (headers: Readonly<Record<string, string>>, body?: string) =>
    new TextDecoder().decode(
      requestBytes({ method: "POST", url, headers, body: body === undefined ? body : new TextEncoder().encode(body) }),
    );

  test("W02: has the body's bytes and their number", () => {
    expect(textOf({ "Content-Type": "application/json" }, '{"name":"Zürich"}')).toBe(
      `${
        CRLF(
          "POST /a%20b?x=%C3%BC&y=%0d%0a HTTP/1.1",
          "host: hooks.example.com:8443",
          "connection: close",
          "accept-encoding: identity",
          "content-length: 18",
          "content-type: application/json",
          "",
        )
      }{"name":"Zürich"}`,
    );
    expect(textOf({})).not.toContain("content-length");
  });

  test.each<readonly [name: string, value: string]>([
    ["x", "a\r\ny: z"],
    ["x", "a\nb"],
    ["x", "a\0"],
    ["x", "€"],
    ["x y", "a"],
    ["x:", "a"],
    ["", "a"],
    ["x\r\ny", "a"],
    ...["Host", "connection", "Content-Length", "transfer-encoding", "Accept-Encoding", "Expect", "Upgrade"].map((name) =>
      [name, "a"] as const
    ),
  ])("W07: cannot have the header %j: %j", (name, value) => {
    expect(() => textOf({ [name]: value })).toThrow(TypeError);
  });

  test("W07: cannot have a method with a line break", () => {
    expect(() => requestBytes({ method: "GET / HTTP/1.1\r\nx: y\r\n\r\nPOST", url, headers: {} })).toThrow(TypeError);
  });
});
