import type { Mail, Mailer, MailResult, MailSession } from "../core/mail.ts";
import type { Connection, Network } from "../ports.ts";
import { messageOf } from "./mail-message.ts";

export interface SmtpOptions {
  /** `smtps:` begins with TLS (RFC 8314). `smtp:` requires STARTTLS (RFC 3207), unless the server is on this machine. */
  readonly url: string;
  /** `Name <address>`, or an address. */
  readonly from: string;
  readonly apiUrl: string;
  readonly network: Network;
  /** Of one mail, with the connection that it may need. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 30_000;
const PORTS: Readonly<Record<string, number>> = { "smtps:": 465, "smtp:": 587 };
const LOCAL = /^(localhost|127(\.\d+){3}|\[::1\])$/;
/** What a command can contain: no spaces, line breaks or brackets, and only ASCII, because not every server has SMTPUTF8 (RFC 6531). */
const ADDRESS = /^[!-;=?-~]+@[!-;=?-~]+$/;
const MAX_REPLY_BYTES = 64 * 1_024;
/** Replies to RCPT TO without an enhanced code that say that there is no such mailbox (RFC 5321 §4.2.3). */
const NO_MAILBOX = [550, 551, 553];

/**
 * A client of one SMTP server (RFC 5321). The dialogue is our own, over the program's network: libraries use `node:tls`, which in Deno
 * 2.1 does not report a certificate that is not valid. The message is composed by a library.
 */
export function smtpMailer(options: SmtpOptions): Mailer {
  const address = addressOf(options.from);
  return {
    domain: address.slice(address.lastIndexOf("@") + 1),
    apiUrl: options.apiUrl,
    open: () => new Session(options, address),
  };
}

/** The address of `Name <address>`. */
export function addressOf(from: string): string {
  return /<([^<>]+)>\s*$/.exec(from)?.[1] ?? from.trim();
}

/** What ends a mail. `isOver`: the connection is of no more use. */
class Refused extends Error {
  constructor(readonly outcome: "bounced" | "deferred" | "unavailable", readonly reason: string, readonly isOver = false) {
    super(reason);
  }
}

class Session implements MailSession {
  #dialogue: Dialogue | null = null;

  constructor(private readonly options: SmtpOptions, private readonly from: string) {}

  async send(mail: Mail): Promise<MailResult> {
    if (!ADDRESS.test(mail.to)) return { outcome: "bounced", reason: "The address has characters that mail servers do not accept." };
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), this.options.timeoutMs ?? TIMEOUT_MS);
    try {
      const message = await messageOf(mail, this.options.from);
      await inTime(this.#deliver(mail.to, message, over.signal), over.signal);
      return { outcome: "sent" };
    } catch (error) {
      const refused = error instanceof Refused ? error : new Refused("unavailable", "The mail server cannot be reached.", true);
      if (refused.isOver) this.#drop();
      return { outcome: refused.outcome, reason: refused.reason };
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    const dialogue = this.#dialogue;
    this.#dialogue = null;
    await dialogue?.quit();
  }

  async #deliver(to: string, message: Uint8Array, signal: AbortSignal): Promise<void> {
    const dialogue = this.#dialogue ??= await opened(this.options, signal);
    await dialogue.begin(`MAIL FROM:<${this.from}>`);
    try {
      await dialogue.recipient(to);
      await dialogue.data(message);
    } catch (error) {
      if (error instanceof Refused && !error.isOver) await dialogue.reset();
      throw error;
    }
  }

  #drop(): void {
    this.#dialogue?.close();
    this.#dialogue = null;
  }
}

/** A greeted, encrypted and authenticated connection. */
async function opened({ url: text, network }: SmtpOptions, signal: AbortSignal): Promise<Dialogue> {
  const url = new URL(text);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  let connection = await network.connect(host, Number(url.port) || (PORTS[url.protocol] ?? 0), signal);
  let dialogue = new Dialogue(connection);
  try {
    if (url.protocol === "smtps:") dialogue = new Dialogue(connection = await secured(connection, host, signal));
    await dialogue.greeting();
    await dialogue.hello();
    if (url.protocol === "smtp:" && !LOCAL.test(url.hostname)) {
      await dialogue.begin("STARTTLS");
      dialogue = new Dialogue(connection = await secured(connection, host, signal));
      await dialogue.hello();
    }
    await dialogue.authenticate(decodeURIComponent(url.username), decodeURIComponent(url.password));
    return dialogue;
  } catch (error) {
    connection.close();
    throw error;
  }
}

async function secured(connection: Connection, host: string, signal: AbortSignal): Promise<Connection> {
  return await connection.secure(host, signal).catch(() => {
    throw new Refused("unavailable", "The mail server has no valid certificate.", true);
  });
}

async function inTime(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const over = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(new Refused("unavailable", "The mail server did not respond in time.", true)));
  });
  await Promise.race([work, over]);
}

interface SmtpReply {
  readonly code: number;
  readonly lines: readonly string[];
}

/** Commands and replies of one connection. */
class Dialogue {
  #rest = "";
  #abilities: readonly string[] = [];

  constructor(private readonly connection: Connection) {}

  async greeting(): Promise<void> {
    expectReply("greeting", await this.#reply(), 220);
  }

  async hello(): Promise<void> {
    const reply = await this.#command("EHLO [127.0.0.1]");
    expectReply("EHLO", reply, 250);
    this.#abilities = reply.lines.slice(1).map((line) => line.toUpperCase());
  }

  /** Without a user name, the server asks for none. */
  async authenticate(user: string, password: string): Promise<void> {
    if (user === "") return;
    const methods = this.#abilities.find((line) => /^AUTH[ =]/.test(line)) ?? "";
    if (/\bPLAIN\b/.test(methods) || !/\bLOGIN\b/.test(methods)) {
      return expectReply("AUTH", await this.#command(`AUTH PLAIN ${base64(`\0${user}\0${password}`)}`), 235);
    }
    expectReply("AUTH", await this.#command("AUTH LOGIN"), 334);
    expectReply("AUTH", await this.#command(base64(user)), 334);
    expectReply("AUTH", await this.#command(base64(password)), 235);
  }

  /** A command of which no mail depends: refused, the server takes none. */
  async begin(command: string): Promise<void> {
    const reply = await this.#command(command);
    expectReply(command.replace(/:.*/, ""), reply, command === "STARTTLS" ? 220 : 250);
  }

  async recipient(to: string): Promise<void> {
    const reply = await this.#command(`RCPT TO:<${to}>`);
    if (reply.code === 250 || reply.code === 251) return;
    throw new Refused(isBounce(reply) ? "bounced" : "deferred", reasonOf("RCPT TO", reply), reply.code === 421);
  }

  async data(message: Uint8Array): Promise<void> {
    const ready = await this.#command("DATA");
    if (ready.code !== 354) throw new Refused("deferred", reasonOf("DATA", ready), ready.code === 421);
    await this.connection.write(stuffed(message));
    const reply = await this.#command("\r\n.");
    if (reply.code !== 250) throw new Refused("deferred", reasonOf("DATA", reply), reply.code === 421);
  }

  async reset(): Promise<void> {
    await this.begin("RSET");
  }

  async quit(): Promise<void> {
    await this.connection.write(new TextEncoder().encode("QUIT\r\n")).catch(() => undefined);
    this.close();
  }

  close(): void {
    this.connection.close();
  }

  async #command(text: string): Promise<SmtpReply> {
    await this.connection.write(new TextEncoder().encode(`${text}\r\n`));
    return await this.#reply();
  }

  async #reply(): Promise<SmtpReply> {
    const lines: string[] = [];
    for (;;) {
      const [, code = "", mark = "", text = ""] = /^(\d{3})([ -]?)(.*)$/.exec(await this.#line()) ?? [];
      if (code === "") throw new Refused("unavailable", "The mail server does not speak SMTP.", true);
      lines.push(text);
      if (mark !== "-") return { code: Number(code), lines };
    }
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#rest.indexOf("\n");
      if (end >= 0) {
        const line = this.#rest.slice(0, end).replace(/\r$/, "");
        this.#rest = this.#rest.slice(end + 1);
        return line;
      }
      const bytes = await this.connection.read();
      if (bytes === null || this.#rest.length > MAX_REPLY_BYTES) {
        throw new Refused("unavailable", "The mail server has closed the connection.", true);
      }
      this.#rest += String.fromCharCode(...bytes);
    }
  }
}

function expectReply(command: string, reply: SmtpReply, code: number): void {
  if (reply.code !== code) throw new Refused("unavailable", reasonOf(command, reply), true);
}

/** The codes of a reply. Its text can quote the address. */
function reasonOf(command: string, reply: SmtpReply): string {
  return [`${command}: ${reply.code}`, enhancedCode(reply) ?? []].flat().join(" ");
}

/** RFC 3463, such as 5.1.1. */
function enhancedCode({ lines: [first = ""] }: SmtpReply): string | undefined {
  return /^[245]\.\d{1,3}\.\d{1,3}\b/.exec(first)?.[0];
}

/**
 * 5.1.x is about the address, 5.2.0 and 5.2.1 about a mailbox that is disabled. 5.1.7 and 5.1.8 (the sender's address), 5.7.x and others
 * are about us: the address is good.
 */
function isBounce(reply: SmtpReply): boolean {
  const enhanced = enhancedCode(reply);
  if (reply.code < 500) return false;
  return enhanced === undefined ? NO_MAILBOX.includes(reply.code) : /^5\.(1\.(?![78]$)\d+|2\.[01])$/.test(enhanced);
}

/** RFC 5321 §4.5.2: a dot at the beginning of a line is doubled. */
function stuffed(message: Uint8Array): Uint8Array {
  const text = new TextDecoder().decode(message).replace(/\r\n$/, "");
  return new TextEncoder().encode(text.replace(/^\./gm, ".."));
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
