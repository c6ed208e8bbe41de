/** What a handler answers; the app turns it into a Response. */
export interface Reply<S extends number = number, B = unknown> {
  readonly status: S;
  readonly body: B;
  /** The record's version: becomes the ETag and decides 304. */
  readonly version?: string;
  /** Path of what was created, from the API's root. */
  readonly location?: string;
  /** Of a list: the cursor of the page that follows. */
  readonly next?: string;
}

interface Versioned {
  readonly version: string;
}

/** 200 with one record and its ETag. */
export function record<B extends Versioned>(body: B): Reply<200, B> {
  return { status: 200, body, version: body.version };
}

/** 200 with a counter, which has no version before its first use. */
export function counter<B extends { readonly version: string | null }>(body: B): Reply<200, B> {
  return body.version === null ? { status: 200, body } : { status: 200, body, version: body.version };
}

/** 201 with what was created, its ETag and where it is. */
export function created<B extends Versioned>(body: B, location: string): Reply<201, B> {
  return { status: 201, body, version: body.version, location };
}

/** 200 with one page; `Link: rel=next` follows from its pagination. */
export function page<B extends { readonly pagination: { readonly nextCursor?: string | undefined } }>(body: B): Reply<200, B> {
  const next = body.pagination.nextCursor;
  return next === undefined ? { status: 200, body } : { status: 200, body, next };
}

/** 200 with something that is no single record: figures, a report. */
export function answer<B>(body: B): Reply<200, B> {
  return { status: 200, body };
}

export function noContent(): Reply<204, null> {
  return { status: 204, body: null };
}
