import { execFile } from "node:child_process";
import { createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createOutbound } from "../../shared/adapters/outbound.ts";
import { DEFAULT_OUTBOUND_RULES, type Outbound, type OutboundRequest } from "../../shared/core/outbound.ts";
import type { Network } from "../../shared/ports.ts";
import { ROOT } from "../architecture/sources.ts";
import { newAuthority } from "../support/certificates.ts";
import { localOutbound, publicOutbound } from "../support/outbound.ts";
import { type Answer, type Receiver, startReceiver } from "../support/receiver.ts";

const DENO = join(ROOT, "node_modules", ".bin", "deno");
/** Of the calls that run into it, and of all others, for a slow machine. */
const SHORT_MS = 400;
const LONG_MS = 20_000;
/** Planted in what hostile receivers send; no result may quote it. */
const PLANTED = "planted-by-the-receiver";
const HEAD = "HTTP/1.1 200 OK\r\n";

/** By path: what the receiver does, and the outcome. */
const HOSTILE: Readonly<Record<string, readonly [answer: Answer, outcome: string]>> = {
  "/hang": ["hang", "timeout"],
  "/close": ["close", "connection_closed"],
  "/drip-head": [{ raw: `${HEAD}x: ${PLANTED}`, everyMs: 100 }, "timeout"],
  "/drip-body": [{ raw: `${HEAD}\r\n${PLANTED.repeat(10)}`, everyMs: 20 }, "timeout"],
  "/hang-in-head": [{ raw: `${HEAD}x: ${PLANTED}`, hold: true }, "timeout"],
  "/hang-in-body": [{ raw: `${HEAD}content-length: 50\r\n\r\n${PLANTED}`, hold: true }, "timeout"],
  "/long-length": [{ raw: `${HEAD}content-length: 50\r\n\r\n${PLANTED}` }, "connection_closed"],
  "/short-length": [{ raw: `${HEAD}content-length: 2\r\n\r\nok${PLANTED}`, hold: true }, "200 ok"],
  "/headers": [{ raw: HEAD + `${PLANTED}: x\r\n`.repeat(20_000), hold: true }, "invalid_response"],
  "/garbage": [{ raw: `${PLANTED}\r\n\r\n`, hold: true }, "invalid_response"],
  "/both": [{ raw: `${HEAD}transfer-encoding: gzip\r\n\r\n`, hold: true }, "invalid_response"],
  "/large": [{ status: 500, body: "a".repeat(10_000_000) }, `500 ${"a".repeat(64)} cut`],
  "/redirect": [{ status: 302, headers: { location: "/hang", "set-cookie": "a=b" } }, "302 "],
  "/gone": [410, "410 "],
  "/zipped": [{ headers: { "content-encoding": "gzip" }, body: "not unzipped" }, "200 not unzipped"],
  "/chunks": [{ raw: `${HEAD}transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`, hold: true }, "200 ok"],
};

const authority = newAuthority();
const stranger = newAuthority();
const secure: Record<"valid" | "expired" | "foreign" | "untrusted", Receiver> = {} as never;
let plain: Receiver;
/** Accepts connections and never reads or writes. */
let silent: Server;
const silentSockets = new Set<Socket>();

beforeAll(async () => {
  plain = await startReceiver();
  plain.script(({ path }) => HOSTILE[path]?.[0] ?? 404);
  secure.valid = await startReceiver({ identity: authority.issue(["localhost", "127.0.0.1", "hooks.example.com"]) });
  secure.expired = await startReceiver({ identity: authority.issue(["localhost"], Date.now() - 60_000) });
  secure.foreign = await startReceiver({ identity: authority.issue([`${PLANTED}.example`]) });
  secure.untrusted = await startReceiver({ identity: stranger.issue(["localhost"]) });
  silent = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    silentSockets.add(socket);
  });
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
});

afterAll(async () => {
  await Promise.all([plain, ...Object.values(secure)].map((receiver) => receiver.close()));
  for (const socket of silentSockets) socket.destroy();
  await new Promise((resolve) => silent.close(resolve));
});

function post(outbound: Outbound, url: string, rest: Partial<OutboundRequest> = {}) {
  const body = new TextEncoder().encode("{}");
  return outbound.send({ method: "POST", url, headers: {}, body, timeoutMs: LONG_MS, maxBodyBytes: 64, ...rest });
}

async function outcomeOf(outbound: Outbound, url: string, timeoutMs = LONG_MS): Promise<string> {
  const result = await post(outbound, url, { timeoutMs });
  expect(JSON.stringify({ ...result, headers: {}, body: "" })).not.toContain(PLANTED);
  if (!result.ok) return result.code === "tls_failed" ? result.message.replace(/^.*: /, "") : result.code;
  return `${result.status} ${new TextDecoder().decode(result.body)}${result.truncated ? " cut" : ""}`;
}

const timeoutOf = (outcome: string) => outcome === "timeout" ? SHORT_MS : LONG_MS;

/** Every URL of this machine that a test calls, with its outcome. */
function calls(): (readonly [url: string, outcome: string])[] {
  const silentPort = (silent.address() as AddressInfo).port;
  return [
    ...Object.entries(HOSTILE).map(([path, [, outcome]]) => [`${plain.url}${path}`, outcome] as const),
    [`http://127.0.0.1:${silentPort}/`, "timeout"],
    [`https://localhost:${silentPort}/`, "timeout"],
    [`${secure.valid.url}/`, "200 "],
    [`https://127.0.0.1:${secure.valid.port}/`, "200 "],
    [`https://app.localhost:${secure.valid.port}/`, "the receiver's certificate is for another host."],
    [`${secure.expired.url}/`, "the receiver's certificate has expired."],
    [`${secure.foreign.url}/`, "the receiver's certificate is for another host."],
    [`${secure.untrusted.url}/`, "the receiver's certificate is not issued by a trusted authority, or its chain is incomplete."],
    [`https://localhost:${plain.port}/`, "the handshake failed."],
    [`http://localhost:${secure.valid.port}/`, "connection_closed"],
    ["http://localhost:1/", "connect_failed"],
  ];
}

describe("hostile receivers", () => {
  test("W06, W08: each is one typed outcome within the deadline, and no connection stays open", async () => {
    const outbound = localOutbound(authority.cert);
    const outcomes = await Promise.all(calls().map(async ([url, outcome]) => [url, await outcomeOf(outbound, url, timeoutOf(outcome))]));
    expect(outcomes).toEqual(calls());
    await expect.poll(() => plain.inFlight, { timeout: 10_000 }).toBe(0);
    expect(plain.received.filter(({ path }) => path === "/hang")).toHaveLength(1);
  });

  test("W06, W08: under Deno, the outcomes are the same", async () => {
    const program = `
      import { createOutbound } from "./shared/adapters/outbound.ts";
      import { denoNetwork } from "./shared/adapters/network.ts";
      const { ca, asked } = ${JSON.stringify({ ca: authority.cert, asked: calls().map(([url, outcome]) => [url, timeoutOf(outcome)]) })};
      const outbound = createOutbound({ rules: { ports: [443], local: true }, network: denoNetwork(Deno, { ca }) });
      const send = (url, timeoutMs) =>
        outbound.send({ method: "POST", url, headers: {}, body: new Uint8Array([123, 125]), timeoutMs, maxBodyBytes: 64 });
      const failed = (r) => r.code === "tls_failed" ? r.message.replace(/^.*: /, "") : r.code;
      const shown = (r) => r.ok ? r.status + " " + new TextDecoder().decode(r.body) + (r.truncated ? " cut" : "") : failed(r);
      console.log(JSON.stringify(await Promise.all(asked.map(async ([url, timeoutMs]) => [url, shown(await send(url, timeoutMs))]))));
    `;
    const { stdout } = await promisify(execFile)(DENO, ["eval", "--no-check", "--quiet", "--ext=ts", program], { cwd: ROOT });
    expect(JSON.parse(stdout)).toEqual(calls());
  });

  test("W08: a receiver that reads nothing holds a large request for no longer than the deadline", async () => {
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/`;
    const result = await post(localOutbound(), url, { body: new Uint8Array(20_000_000), timeoutMs: 200 });
    expect(result).toMatchObject({
      ok: false,
      code: "timeout",
      message: "The receiver did not answer within 0.2 s: the request was not answered.",
    });
  });

  test("W02: the receiver gets the bytes that were given, and no more headers than are needed", async () => {
    const body = Uint8Array.from({ length: 256 }, (_, i) => i);
    await post(localOutbound(), `${plain.url}/gone?a=b`, {
      body,
      headers: { "Content-Type": "application/octet-stream", "webhook-id": "evt_1" },
    });
    const received = plain.received.find(({ path }) => path === "/gone?a=b");
    expect(received?.bytes).toEqual(body);
    expect(received?.headers).toEqual({
      "host": `127.0.0.1:${plain.port}`,
      "connection": "close",
      "accept-encoding": "identity",
      "content-length": "256",
      "content-type": "application/octet-stream",
      "webhook-id": "evt_1",
    });
  });

  test("W08: a call can be stopped", async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 20);
    const result = await post(localOutbound(), `${plain.url}/hang`, { timeoutMs: 5_000, signal: stop.signal });
    expect(result).toMatchObject({ ok: false, code: "connection_closed", message: "The call was stopped before the response." });
    expect(await post(localOutbound(), plain.url, { signal: AbortSignal.abort() })).toMatchObject({ ok: false, code: "connection_closed" });
  });

  test("W07: a header with a line break is an error of the caller, and nothing is sent", async () => {
    const before = plain.connections;
    await expect(post(localOutbound(), plain.url, { headers: { x: "a\r\nhost: b" } })).rejects.toThrow(TypeError);
    expect(plain.connections).toBe(before);
  });
});

describe("addresses", () => {
  const URL_OF_HOOKS = "https://hooks.example.com/innkeep";
  const toReceiver = () => ({ port: secure.valid.port, ca: authority.cert });

  test("W07: a public host is called at the address that was checked, by its name", async () => {
    const outbound = publicOutbound(() => ["203.0.114.7"], toReceiver());
    expect(await outcomeOf(outbound, URL_OF_HOOKS)).toBe("200 ");
    expect(outbound.connected).toEqual(["203.0.114.7:443"]);
    expect(secure.valid.received.at(-1)?.headers["host"]).toBe("hooks.example.com");
  });

  test.each([
    ...["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "168.63.129.16", "224.0.0.1"],
    ...[
      "::1",
      "::",
      "fe80::1",
      "fc00::1",
      "::ffff:10.0.0.1",
      "::ffff:169.254.169.254",
      "64:ff9b::a00:1",
      "2002:a00:1::1",
      "not an address",
    ],
  ])("W07: a name that resolves to %s is refused, and nothing is connected", async (address) => {
    for (const addresses of [[address], ["203.0.114.7", address], [address, "203.0.114.7"]]) {
      const outbound = publicOutbound(() => addresses, toReceiver());
      expect(await post(outbound, URL_OF_HOOKS)).toMatchObject({
        code: "dns_failed",
        message: "The name hooks.example.com has no public address.",
      });
      expect(outbound.connected).toEqual([]);
    }
  });

  test("W07: a name that resolves to a private address the second time is called once, at the public one", async () => {
    const answers = [["203.0.114.7"], ["169.254.169.254"]];
    let asked = 0;
    const outbound = publicOutbound(() => answers[asked++] ?? [], toReceiver());
    expect(await outcomeOf(outbound, URL_OF_HOOKS)).toBe("200 ");
    expect(asked, "a call resolves the name once").toBe(1);
    expect(await outcomeOf(outbound, URL_OF_HOOKS)).toBe("dns_failed");
    expect(outbound.connected).toEqual(["203.0.114.7:443"]);
  });

  test.each([
    ...[
      "http://hooks.example.com/",
      "https://localhost/",
      "https://127.0.0.1/",
      "https://0x7f.1/",
      "https://2130706433/",
      "https://[::1]/",
    ],
    ...[
      "https://[::ffff:a9fe:a9fe]/",
      "https://metadata.google.internal/",
      "https://hooks.example.com:22/",
      "https://a@hooks.example.com/",
    ],
  ])("W07: %s is refused when it is called, too, and no name is resolved", async (url) => {
    let asked = 0;
    const outbound = publicOutbound(() => [`203.0.114.${++asked}`], toReceiver());
    expect(await outcomeOf(outbound, url)).toBe("address_refused");
    expect([asked, outbound.connected]).toEqual([0, []]);
  });

  test("W07: a name that does not exist and one of a private network cannot be told apart, by the error or by its time", async () => {
    const names: readonly Network["resolve"][] = [
      () => Promise.reject(new Error("NXDOMAIN")),
      () => Promise.resolve([]),
      () => Promise.resolve(["10.0.0.7"]),
      () => new Promise((resolve) => setTimeout(() => resolve(["10.0.0.7"]), 60)),
    ];
    const results = await Promise.all(names.map(async (resolve) => {
      const network: Network = { resolve, connect: () => Promise.reject(new Error("connected")) };
      const { durationMs, ...result } = await post(createOutbound({ rules: DEFAULT_OUTBOUND_RULES, network }), URL_OF_HOOKS);
      return { result, steps: Math.floor((durationMs + 1) / 250) };
    }));
    expect(results.map(({ result }) => result)).toEqual(Array(4).fill(results[0]?.result));
    expect(results.map(({ steps }) => steps > 0)).toEqual([true, true, true, true]);
  });

  test("W07: names of this machine are not resolved, also where they are allowed", async () => {
    let asked = 0;
    const network: Network = {
      resolve: () => Promise.reject(new Error(`asked ${++asked}`)),
      connect: () => Promise.reject(new Error("refused")),
    };
    const outbound = createOutbound({ rules: { ports: [443], local: true }, network });
    expect(await outcomeOf(outbound, "http://localhost:3000/")).toBe("connect_failed");
    expect(asked).toBe(0);
    expect(await outcomeOf(outbound, "https://hooks.example.com/")).toBe("dns_failed");
  });
});

describe("unreachable hosts", () => {
  const never = new Promise<never>(() => undefined);
  const outboundOver = (network: Partial<Network>) =>
    createOutbound({
      rules: DEFAULT_OUTBOUND_RULES,
      dnsStepMs: 1,
      network: { resolve: () => Promise.resolve(["203.0.114.7"]), connect: () => never, ...network },
    });
  const result = (network: Partial<Network>) => post(outboundOver(network), "https://hooks.example.com/", { timeoutMs: 60 });

  test("W08: a name server that does not answer costs the deadline", async () => {
    const message = "The receiver did not answer within 0.06 s: its name was not resolved.";
    expect(await result({ resolve: () => never })).toMatchObject({ code: "timeout", message });
  });

  test("W08: a name without addresses, and one that is unknown, are told apart from a refused connection", async () => {
    expect(await result({ resolve: () => Promise.resolve([]) })).toMatchObject({ code: "dns_failed" });
    expect(await result({ resolve: () => Promise.reject(new Error(PLANTED)) })).toMatchObject({
      code: "dns_failed",
      message: "The name hooks.example.com has no public address.",
    });
    expect(await result({ connect: () => Promise.reject(new Error(PLANTED)) })).toMatchObject({
      code: "connect_failed",
      message: "hooks.example.com does not accept connections on port 443.",
    });
    expect(await result({})).toMatchObject({
      code: "timeout",
      message: "The receiver did not answer within 0.06 s: the connection was not accepted.",
    });
  });

  test("W08: the next address is tried when one is silent or refuses, IPv4 first", async () => {
    const addresses = ["2a00::1", "203.0.114.7", "203.0.114.8"];
    const outbound = publicOutbound(() => addresses, { port: secure.valid.port, ca: authority.cert });
    const asked: string[] = [];
    const network: Network = {
      resolve: () => Promise.resolve(addresses),
      connect: (address) => {
        asked.push(address);
        return address === "203.0.114.7" ? never : Promise.reject(new Error("refused"));
      },
    };
    expect(await post(outboundOver(network), "https://hooks.example.com/", { timeoutMs: 90 })).toMatchObject({ code: "connect_failed" });
    expect(asked).toEqual(["203.0.114.7", "203.0.114.8", "2a00::1"]);
    expect(await outcomeOf(outbound, "https://hooks.example.com/")).toBe("200 ");
    expect(outbound.connected).toEqual(["203.0.114.7:443"]);
  });
});
