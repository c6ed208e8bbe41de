/** HTTP/1.1 messages (RFC 9112) for one exchange on a connection of its own. */

export interface MessageRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | undefined;
}

export interface MessageResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly truncated: boolean;
}

/** The response ended early, or is not HTTP/1.1. The message contains nothing that was received. */
export class MessageFault extends Error {
  override readonly name = "MessageFault";
  constructor(readonly code: "connection_closed" | "invalid_response", message: string) {
    super(message);
  }
}

const MAX_HEAD_BYTES = 16 * 1_024;
const MAX_CHUNK_LINE_BYTES = 1_024;
const LINE_FEED = 10;
const CLOSED_EARLY = "The receiver closed the connection before the end of its response.";
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Visible ASCII, spaces and tabs, and the bytes that old receivers use for other letters. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const OWN_HEADERS: ReadonlySet<string> = new Set([
  "host",
  "connection",
  "content-length",
  "transfer-encoding",
  "accept-encoding",
  "expect",
  "upgrade",
  "te",
  "trailer",
]);

/** The bytes of a request. Throws a TypeError for a method or header that would not be one. */
export function requestBytes({ method, url, headers, body }: MessageRequest): Uint8Array {
  const wrong = Object.entries(headers).find(([name, value]) =>
    !TOKEN.test(name) || OWN_HEADERS.has(name.toLowerCase()) || !HEADER_VALUE.test(value)
  );
  if (wrong) throw new TypeError(`The header ${JSON.stringify(wrong[0])} cannot be sent.`);
  if (!TOKEN.test(method)) throw new TypeError(`The method ${JSON.stringify(method)} cannot be sent.`);
  const lines = [
    `${method} ${url.pathname}${url.search} HTTP/1.1`,
    `host: ${url.host}`,
    "connection: close",
    "accept-encoding: identity",
    ...(body === undefined ? [] : [`content-length: ${body.length}`]),
    ...Object.entries(headers).map(([name, value]) => `${name.toLowerCase()}: ${value}`),
  ];
  const head = Uint8Array.from(`${lines.join("\r\n")}\r\n\r\n`, (character) => character.charCodeAt(0));
  const bytes = new Uint8Array(head.length + (body?.length ?? 0));
  bytes.set(head);
  if (body) bytes.set(body, head.length);
  return bytes;
}

/** Reads a response. The body is cut after `maxBodyBytes`; what follows is not read. */
export async function readResponse(
  read: () => Promise<Uint8Array | null>,
  { method, maxBodyBytes }: { readonly method: string; readonly maxBodyBytes: number },
): Promise<MessageResponse> {
  const input = new Input(read);
  const { status, headers } = await readHead(input);
  const hasBody = method !== "HEAD" && status !== 204 && status !== 304;
  return { status, headers, ...await readBody(input, hasBody ? headers : { "content-length": "0" }, maxBodyBytes) };
}

/** Interim responses (1xx) are skipped; they count towards the limit of the head. */
async function readHead(input: Input): Promise<Pick<MessageResponse, "status" | "headers">> {
  const budget = { bytes: MAX_HEAD_BYTES };
  for (;;) {
    const status = Number(/^HTTP\/1\.[01] ([1-5]\d\d)(?= |$)/.exec(await input.line(budget))?.[1]);
    if (!(status > 0) || status === 101) throw new MessageFault("invalid_response", "The response is not HTTP/1.1.");
    const headers = new Map<string, string>();
    for (let line = await input.line(budget); line !== ""; line = await input.line(budget)) {
      const colon = line.indexOf(":");
      const name = line.slice(0, Math.max(colon, 0)).toLowerCase();
      const value = line.slice(colon + 1).trim();
      if (!TOKEN.test(name) || !HEADER_VALUE.test(value)) {
        throw new MessageFault("invalid_response", "The response has a header that is not valid.");
      }
      const earlier = headers.get(name);
      headers.set(name, earlier === undefined ? value : `${earlier}, ${value}`);
    }
    if (status >= 200) return { status, headers: Object.fromEntries(headers) };
  }
}

/** The length of the body by RFC 9112 §6.3. */
async function readBody(input: Input, headers: Readonly<Record<string, string>>, maxBytes: number) {
  const { "transfer-encoding": encoding, "content-length": length } = headers;
  const body = new Body(maxBytes);
  if (encoding !== undefined) {
    if (encoding.toLowerCase() !== "chunked") {
      throw new MessageFault("invalid_response", "The response has a transfer coding other than chunked.");
    }
    while (!body.truncated) {
      const size = chunkSizeOf(await input.line({ bytes: MAX_CHUNK_LINE_BYTES }));
      if (size === 0) break;
      if (await copy(input, body, size) && await input.line({ bytes: 2 }) !== "") {
        throw new MessageFault("invalid_response", "The chunks of the response are not valid.");
      }
    }
  } else if (length === undefined) {
    for (let bytes = await input.some(Infinity); bytes; bytes = body.truncated ? null : await input.some(Infinity)) body.add(bytes);
  } else await copy(input, body, lengthOf(length));
  return body.read();
}

/** Copies `size` bytes. Returns false if the body was cut before them. */
async function copy(input: Input, body: Body, size: number): Promise<boolean> {
  for (let left = size; left > 0;) {
    const bytes = await input.some(left);
    if (!bytes) throw new MessageFault("connection_closed", CLOSED_EARLY);
    body.add(bytes);
    if (body.truncated) return false;
    left -= bytes.length;
  }
  return true;
}

function lengthOf(header: string): number {
  const [first = "", ...others] = header.split(",").map((each) => each.trim());
  if (!/^\d{1,15}$/.test(first) || others.some((each) => each !== first)) {
    throw new MessageFault("invalid_response", "The response has a Content-Length that is not valid.");
  }
  return Number(first);
}

function chunkSizeOf(line: string): number {
  const size = /^([0-9a-f]{1,12})(?=[ \t;]|$)/i.exec(line)?.[1];
  if (size === undefined) throw new MessageFault("invalid_response", "The chunks of the response are not valid.");
  return parseInt(size, 16);
}

class Body {
  readonly #parts: Uint8Array[] = [];
  #size = 0;
  truncated = false;
  constructor(readonly maxBytes: number) {}

  add(bytes: Uint8Array): void {
    const room = this.maxBytes - this.#size;
    this.truncated = bytes.length > room;
    this.#parts.push(bytes.subarray(0, room));
    this.#size += Math.min(bytes.length, room);
  }

  read(): { readonly body: Uint8Array<ArrayBuffer>; readonly truncated: boolean } {
    const body = new Uint8Array(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      body.set(part, at);
      at += part.length;
    }
    return { body, truncated: this.truncated };
  }
}

/** The bytes of a response, by lines or by count. */
class Input {
  readonly #read: () => Promise<Uint8Array | null>;
  #bytes: Uint8Array = new Uint8Array();

  constructor(read: () => Promise<Uint8Array | null>) {
    this.#read = read;
  }

  /** Up to `max` bytes, at least one; null at the end. */
  async some(max: number): Promise<Uint8Array | null> {
    return await this.#isAtEnd() ? null : this.#take(max);
  }

  /** The text before the next line feed, without a carriage return at its end. Its bytes are taken from the budget. */
  async line(budget: { bytes: number }): Promise<string> {
    for (let line = ""; !await this.#isAtEnd();) {
      const bytes = this.#take(Math.min(budget.bytes, this.#bytes.indexOf(LINE_FEED) + 1 || Infinity));
      budget.bytes -= bytes.length;
      line += String.fromCharCode(...bytes);
      if (line.endsWith("\n")) return line.replace(/\r?\n$/, "");
      if (budget.bytes === 0) throw new MessageFault("invalid_response", "The response has a head, or a line, that is too long.");
    }
    throw new MessageFault("connection_closed", CLOSED_EARLY);
  }

  async #isAtEnd(): Promise<boolean> {
    while (this.#bytes.length === 0) {
      const bytes = await this.#read();
      if (bytes === null) return true;
      this.#bytes = bytes;
    }
    return false;
  }

  #take(max: number): Uint8Array {
    const taken = this.#bytes.subarray(0, max);
    this.#bytes = this.#bytes.subarray(taken.length);
    return taken;
  }
}
