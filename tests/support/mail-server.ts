import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import type { AddressInfo } from "node:net";
import type { Identity } from "./certificates.ts";

/** A mail as the server has accepted it. */
export interface Received {
  readonly from: string;
  readonly to: string;
  readonly message: string;
  readonly user: string | undefined;
  readonly isSecure: boolean;
}

/** An SMTP server on this machine. */
export interface MailServer {
  readonly port: number;
  readonly received: Received[];
  /** Decides on each recipient: null accepts it, a text such as `550 5.1.1 no such user` refuses it. */
  refuse(rule: (to: string) => string | null): void;
  stop(): Promise<void>;
}

interface MailServerOptions {
  readonly identity?: Identity;
  /** TLS from the first byte. Default: STARTTLS with an identity, and plain text without. */
  readonly secure?: boolean;
  readonly login?: { readonly user: string; readonly password: string };
}

export async function startMailServer({ identity, secure = false, login }: MailServerOptions = {}): Promise<MailServer> {
  const received: Received[] = [];
  let rule: (to: string) => string | null = () => null;
  const options: SMTPServerOptions = {
    ...identity ?? {},
    secure,
    disabledCommands: [...identity ? [] : ["STARTTLS"], ...login ? [] : ["AUTH"]],
    authOptional: login === undefined,
    onAuth: ({ username, password }, _session, done) =>
      username === login?.user && password === login?.password
        ? done(null, { user: username })
        : done(Object.assign(new Error("bad login"), { responseCode: 535 })),
    onRcptTo: ({ address }, _session, done) => {
      const [, code = "", text = ""] = /^(\d+) (.*)$/.exec(rule(address) ?? "") ?? [];
      if (code === "") done();
      else done(Object.assign(new Error(text), { responseCode: Number(code) }));
    },
    onData: (stream, { envelope, user, secure: isSecure }, done) => {
      const parts: Uint8Array[] = [];
      stream.on("data", (part: Uint8Array) => parts.push(part));
      stream.on("end", () => {
        const from = envelope.mailFrom === false ? "" : envelope.mailFrom.address;
        const message = Buffer.concat(parts).toString();
        received.push({ from, to: envelope.rcptTo[0]?.address ?? "", message, user, isSecure });
        done();
      });
    },
  };
  const server = new SMTPServer({ ...options, hideENHANCEDSTATUSCODES: true });
  // A client that breaks off is part of the tests.
  server.on("error", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.server.address() as AddressInfo).port,
    received,
    refuse: (given) => void (rule = given),
    stop: () => new Promise((resolve) => server.close(resolve)),
  };
}

/** The decoded text of a part of a message: `text/plain` or `text/html`. */
export function partOf(message: string, type: string): string {
  const part = message.split(/\r?\n--[^\r\n]+\r?\n/).find((each) => each.startsWith(`Content-Type: ${type}`)) ?? "";
  const [head = "", ...body] = part.split(/\r?\n\r?\n/);
  const text = body.join("\n\n").replace(/\r?\n--[^\n]*--\r?\n?$/, "");
  if (/base64/i.test(head)) return Buffer.from(text, "base64").toString();
  if (!/quoted-printable/i.test(head)) return text;
  const bytes = text.replace(/=\r?\n/g, "").replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString();
}
