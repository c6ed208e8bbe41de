import { execFile } from "node:child_process";
import { createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { smtpMailer, type SmtpOptions } from "../../shared/adapters/smtp.ts";
import type { Mail } from "../../shared/core/mail.ts";
import type { Network } from "../../shared/ports.ts";
import { ROOT } from "../architecture/sources.ts";
import { newAuthority } from "../support/certificates.ts";
import { type MailServer, partOf, startMailServer } from "../support/mail-server.ts";
import { nodeNetwork } from "../support/node-network.ts";

const DENO = join(ROOT, "node_modules", ".bin", "deno");
const LOGIN = { user: "innkeep@example.com", password: "p:/@ss" };
const authority = newAuthority();
const identity = authority.issue(["localhost"]);

const mail: Mail = {
  messageId: "<email_1@example.com>",
  to: "ada@hotel.example",
  subject: "Zimmer 7 – 80 % erreicht",
  text: ".A line that begins with a dot\n\n.\nÄnderungen: https://app.example.com/usage?a=1&b=2",
  html: "<p>Änderungen</p>",
  language: "de",
  date: "2026-01-01T00:00:00.000Z",
};

let servers: Record<"plain" | "starttls" | "tls" | "untrusted" | "foreign", MailServer>;
/** Accepts connections and never writes. */
let silent: Server;

beforeAll(async () => {
  servers = {
    plain: await startMailServer(),
    starttls: await startMailServer({ identity, login: LOGIN }),
    tls: await startMailServer({ identity, secure: true, login: LOGIN }),
    untrusted: await startMailServer({ identity: newAuthority().issue(["localhost"]), secure: true }),
    foreign: await startMailServer({ identity: authority.issue(["mail.example.com"]), secure: true }),
  };
  silent = createServer(() => undefined).listen(0, "127.0.0.1");
});
afterAll(async () => {
  for (const server of Object.values(servers)) await server.stop();
  silent.close();
});

/** Every name is this machine, and the tests' authority is trusted. */
const trusted = nodeNetwork({ ca: authority.cert });
const network: Network = { ...trusted, connect: (_, port, signal) => trusted.connect("127.0.0.1", port, signal) };
const urlOf = (scheme: string, server: MailServer, { user, password } = LOGIN) =>
  `${scheme}://${encodeURIComponent(user)}:${encodeURIComponent(password)}@localhost:${server.port}`;

async function sent(url: string, of: Partial<Mail> = {}, more: Partial<SmtpOptions> = {}) {
  const session = smtpMailer({ url, from: "Innkeep <no-reply@example.com>", apiUrl: "https://api.example.com", network, ...more }).open();
  const result = await session.send({ ...mail, ...of });
  await session.close();
  return result;
}

const UNTRUSTED = { outcome: "unavailable", reason: "The mail server has no valid certificate." };

describe("mail over SMTP", () => {
  test("N09: arrives as it was written, over TLS from the first byte, and after STARTTLS", async () => {
    expect(await sent(urlOf("smtps", servers.tls))).toEqual({ outcome: "sent" });
    // Of another machine's name, which requires STARTTLS.
    const remote = urlOf("smtp", servers.starttls).replace("localhost", "mail.test");
    expect(await sent(remote, {}, { network: named("localhost") })).toEqual({ outcome: "sent" });
    const all = [servers.tls.received[0], servers.starttls.received[0]];
    for (const received of all) {
      expect(received).toMatchObject({ from: "no-reply@example.com", to: mail.to, user: LOGIN.user, isSecure: true });
      expect(partOf(received?.message ?? "", "text/plain").replaceAll("\r", "").trimEnd()).toBe(mail.text);
      expect(partOf(received?.message ?? "", "text/html").trimEnd()).toBe(mail.html);
      expect(received?.message).toContain("Message-ID: <email_1@example.com>");
    }
  });

  test("N09: is not sent to a server without a valid certificate, nor in plain text to another machine", async () => {
    expect(await sent(urlOf("smtps", servers.untrusted))).toEqual(UNTRUSTED);
    expect(await sent(urlOf("smtps", servers.foreign))).toEqual(UNTRUSTED);
    expect(await sent(`smtp://mail.test:${servers.plain.port}`)).toEqual({ outcome: "unavailable", reason: "STARTTLS: 500" });
    expect(await sent(urlOf("smtps", servers.tls, { ...LOGIN, password: "wrong" }))).toEqual({
      outcome: "unavailable",
      reason: "AUTH: 535",
    });
    expect([...servers.untrusted.received, ...servers.foreign.received, ...servers.plain.received]).toEqual([]);
  });

  test("N09: Deno refuses such a server too, and sends to a good one", async () => {
    const program = `
      const { smtpMailer } = await import("./shared/adapters/smtp.ts");
      const { denoNetwork } = await import("./shared/adapters/network.ts");
      const network = denoNetwork(Deno, { ca: ${JSON.stringify(authority.cert)} });
      const results = [];
      for (const url of ${
      JSON.stringify([urlOf("smtps", servers.tls), urlOf("smtps", servers.untrusted), urlOf("smtps", servers.foreign)])
    }) {
        const session = smtpMailer({ url, from: "no-reply@example.com", apiUrl: "", network }).open();
        results.push(await session.send(${JSON.stringify(mail)}));
        await session.close();
      }
      console.log(JSON.stringify(results));`;
    const { stdout } = await promisify(execFile)(DENO, ["eval", "--no-check", "--quiet", "--ext=ts", program], { cwd: ROOT });
    expect(JSON.parse(stdout)).toEqual([{ outcome: "sent" }, UNTRUSTED, UNTRUSTED]);
  });

  test("N09: cannot be given further headers or recipients", async () => {
    const url = `smtp://localhost:${servers.plain.port}`;
    const before = servers.plain.received.length;
    expect(await sent(url, { subject: "Hello\r\nBcc: eve@example.com\r\n\r\nbody" })).toEqual({ outcome: "sent" });
    const [head = ""] = (servers.plain.received.at(-1)?.message ?? "").split("\r\n\r\n");
    expect(head).not.toMatch(/^bcc:/im);
    for (const to of ["ada@hotel.example>\r\nRCPT TO:<eve@example.com", "ada <eve@example.com>", "ada", "ädä@hotel.example"]) {
      expect((await sent(url, { to })).outcome, to).toBe("bounced");
    }
    expect(servers.plain.received.length).toBe(before + 1);
  });

  test("N09: a reply decides between an address that does not exist, a mail for later, and a server that takes none", async () => {
    const url = `smtp://localhost:${servers.plain.port}`;
    const outcomes: Record<string, string> = {
      "550 5.1.1 ada@hotel.example is unknown": "bounced RCPT TO: 550 5.1.1",
      "550 no such user": "bounced RCPT TO: 550",
      "550 5.2.1 disabled": "bounced RCPT TO: 550 5.2.1",
      "550 5.1.8 the domain of the sender does not exist": "deferred RCPT TO: 550 5.1.8",
      "552 5.2.2 full": "deferred RCPT TO: 552 5.2.2",
      "554 5.7.1 your network is on a list": "deferred RCPT TO: 554 5.7.1",
      "451 4.7.1 try again later": "deferred RCPT TO: 451 4.7.1",
      "421 4.3.2 going down": "deferred RCPT TO: 421 4.3.2",
    };
    for (const [reply, expected] of Object.entries(outcomes)) {
      servers.plain.refuse(() => reply);
      const result = await sent(url);
      expect(result.outcome === "sent" ? "sent" : `${result.outcome} ${result.reason}`, reply).toBe(expected);
    }
    servers.plain.refuse(() => null);
    const port = (silent.address() as AddressInfo).port;
    expect(await sent(`smtp://localhost:${port}`, {}, { timeoutMs: 200 }))
      .toEqual({ outcome: "unavailable", reason: "The mail server did not respond in time." });
    expect(await sent("smtp://localhost:1")).toEqual({ outcome: "unavailable", reason: "The mail server cannot be reached." });
  });
});

/** The servers have certificates of this name. */
function named(host: string): Network {
  return {
    ...network,
    connect: async (address, port, signal) => {
      const connection = await network.connect(address, port, signal);
      return { ...connection, secure: (_, until, protocols) => connection.secure(host, until, protocols) };
    },
  };
}
