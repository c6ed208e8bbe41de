interface ReplyHeaders {
  /** The record's version. It becomes the ETag, which decides on 304. */
  readonly version?: string;
  /** The path of the created record, from the API's root. */
  readonly location?: string;
  /** The cursor of the next page of a list. */
  readonly next?: string;
}

/** The result of a route, before it becomes an HTTP response. */
export class Reply implements ReplyHeaders {
  declare readonly version?: string;
  declare readonly location?: string;
  declare readonly next?: string;

  constructor(readonly status: 200 | 201 | 202 | 204 | 302, readonly body: unknown, headers: ReplyHeaders = {}) {
    Object.assign(this, headers);
  }
}

/** What a file is in a response. */
export interface FileDescription {
  /** The name under which a browser stores it, of `[A-Za-z0-9._-]`. */
  readonly name: string;
  /** Its media type, with its parameters. */
  readonly type: string;
}

/** A response that is not JSON: a file, which is sent while it is read. */
export class FileReply extends Reply {
  constructor(readonly content: ReadableStream<Uint8Array>, readonly file: FileDescription) {
    super(200, null);
  }
}

/** Sends the browser to another address, such as a page of the product. */
export class Redirect extends Reply {
  constructor(readonly target: string) {
    super(302, null);
  }
}

/** Whether the body is a record with an ETag. Usage that was never recorded has none. */
export function isVersioned(body: unknown): body is { readonly version: string } {
  return typeof body === "object" && body !== null && "version" in body && typeof body.version === "string";
}

export function isPage(body: unknown): body is { readonly pagination: { readonly nextCursor?: string } } {
  return typeof body === "object" && body !== null && "pagination" in body;
}
