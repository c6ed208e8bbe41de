interface ReplyHeaders {
  /** The record's version: becomes the ETag and decides 304. */
  readonly version?: string;
  /** Path of what was created, from the API's root. */
  readonly location?: string;
  /** Of a list: the cursor of the page that follows. */
  readonly next?: string;
}

/** What a route comes to, before it is HTTP. */
export class Reply implements ReplyHeaders {
  declare readonly version?: string;
  declare readonly location?: string;
  declare readonly next?: string;

  constructor(readonly status: 200 | 201 | 202 | 204, readonly body: unknown, headers: ReplyHeaders = {}) {
    Object.assign(this, headers);
  }
}

/** A record that has an ETag; a counter that was never used has none. */
export function isVersioned(body: unknown): body is { readonly version: string } {
  return typeof body === "object" && body !== null && "version" in body && typeof body.version === "string";
}

export function isPage(body: unknown): body is { readonly pagination: { readonly nextCursor?: string } } {
  return typeof body === "object" && body !== null && "pagination" in body;
}
