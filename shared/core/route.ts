import type { z } from "zod";
import { type ErrorCode, errors, InnkeepError } from "../kernel/errors.ts";
import type { ChangeOptions } from "../kernel/version.ts";
import { type AnyEntity, keyParams } from "../kv/define.ts";
import type { Caller } from "./caller.ts";
import type { HostRules } from "./platform.ts";
import { isPage, isVersioned, Reply } from "./reply.ts";
import type { Scope } from "./scopes.ts";
import type { UnitOfWork } from "./unit-of-work.ts";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
type SuccessStatus = 200 | 201 | 202 | 204 | 302;

/** The names of the `:name` segments of a path. */
type PathParams<P extends string> = P extends `${string}:${infer Rest}`
  ? Rest extends `${infer Name}/${infer Tail}` ? Name | PathParams<Tail> : Rest
  : never;

/** A service class. A route makes an instance that is bound to its caller. */
export type ServiceClass<T> = new (work: UnitOfWork) => T;

export interface ResponseSpec {
  readonly description: string;
  /** If omitted, the response has no body, or is a file. */
  readonly schema?: z.ZodType;
  /** The media types of a file. */
  readonly types?: readonly string[];
}
export type ResponseSpecs = { readonly [S in SuccessStatus]?: ResponseSpec };

type OutputOf<S extends z.ZodType | undefined> = S extends z.ZodType ? z.output<S> : undefined;

/** The arguments of a route: checked input, and a service bound to the caller. */
export interface Call<T, P extends string, Q extends z.ZodType | undefined, I extends z.ZodType | undefined> {
  readonly params: { readonly [N in PathParams<P>]: string };
  readonly query: OutputOf<Q>;
  readonly body: OutputOf<I>;
  readonly service: T;
  /** Another service, bound to the same caller. */
  readonly use: <U>(other: ServiceClass<U>) => U;
  readonly caller: Caller;
  readonly hosts: HostRules;
  /** The tenant of the request: of its path, query, header or host, else the caller's own. Null if there is none. */
  readonly tenantId: string | null;
  readonly options: ChangeOptions;
  /** Of the media types of the route's `files`, the one that the request prefers. */
  readonly mediaType: string;
  /** Adds the prefix of the request to a path from the API's root, so that the caller can request it. */
  readonly external: (path: string) => string;
}

/** A valid request, which the security tests send to the route. `n` differs from call to call. */
export interface Sample<T, B = Readonly<Record<string, unknown>>> {
  readonly body?: B | ((n: number) => B);
  /** Query string without its `?`; `:tenantId` and the like stand for ids of records that exist. */
  readonly query?: string;
  /** Path parameters that are not ids of created records, such as a metric's id. */
  readonly params?: Readonly<Record<string, string>>;
  /** Path parameters that are members of a record, by the collection that creates it: `{ key: "/v1/flags" }`. */
  readonly memberOf?: Readonly<Record<string, string>>;
  /** Puts the tenant into a state in which the call changes something. `use` makes another service of the same caller. */
  readonly prepare?: (
    service: T,
    params: Readonly<Record<string, string>>,
    use: <U>(other: ServiceClass<U>) => U,
  ) => Promise<unknown>;
  /** Makes the records in the path that no route creates, and returns their ids. */
  readonly ids?: (
    service: T,
    params: Readonly<Record<string, string>>,
    use: <U>(other: ServiceClass<U>) => U,
  ) => Promise<Readonly<Record<string, string>>>;
  /** The number of audit entries that the call writes. Default: 1. */
  readonly auditEntries?: number;
  /** The collection of the record that the call makes, if it has another path. */
  readonly makes?: string;
}

/** The error format of another protocol, for routes that implement it. */
export interface ErrorProtocol {
  /** The code of a body that does not match its schema, instead of `validation_failed`. */
  readonly invalidBody: ErrorCode;
  /** The members of an error in that format. `problem` of `schemas.ts` declares them. `params`: those of the path, unchecked. */
  readonly membersOf: (error: InnkeepError, params: Readonly<Record<string, string>>) => Readonly<Record<string, unknown>>;
}

interface RouteText {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  /** The required scope, `caller` for any credential with a role, or `public` for none. */
  readonly scope: Scope | "caller" | "public";
  /** Refused to a tenant's users regardless of their scopes. */
  readonly platformOnly?: boolean;
  /** Available to the users of a suspended or cancelled tenant, such as billing reads. */
  readonly openWhenSuspended?: boolean;
  /** Goes on during a maintenance: a change that ends it, or a preview, of which only the idempotency record is written. */
  readonly openInMaintenance?: boolean;
  /** The tokens that a request takes from its caller's rate limit; 0 for none. Default: 1. */
  readonly cost?: number;
  /** The response has an ETag although it is not a record. */
  readonly etag?: boolean;
  /** A POST that changes nothing. It accepts If-None-Match as a GET does, and an idempotency key has no effect. */
  readonly readOnly?: boolean;
  /** Members of the response that a repeat with the idempotency key does not have: they are shown only once. */
  readonly shownOnce?: readonly string[];
  /** Error codes in addition to those of every route of its kind. They are documentation only. */
  readonly errors?: readonly ErrorCode[];
  /** Errors are problems (RFC 9457) that have the members of this protocol too. */
  readonly errorProtocol?: ErrorProtocol;
  /** The name of the record in a 404. Default: the last parameter of the path. */
  readonly resource?: string;
  /** The entity whose full key the last parameter may be, although the path does not have the other parameters of the key. */
  readonly takesKeyOf?: AnyEntity;
  /** Entities whose keys the path contains. Their records are read concurrently with the look-up of the caller. */
  readonly loads?: readonly AnyEntity[];
}

export interface VerbSpec<
  T,
  P extends string,
  Q extends z.ZodObject | undefined,
  I extends z.ZodType | undefined,
  O extends z.ZodType | undefined,
> extends RouteText {
  readonly service: ServiceClass<T>;
  readonly query?: Q;
  /** The request's body. */
  readonly input?: I;
  /** A request without a body counts as `{}`. */
  readonly inputOptional?: boolean;
  /** The schema of the body in the OpenAPI file, if `input` accepts more, such as invalid items. */
  readonly shownInput?: z.ZodType;
  /** Media types of the body besides `application/json`. */
  readonly inputTypes?: readonly string[];
  /** Whether `input` checks each item of a list on its own, so that an invalid one does not refuse the others. */
  readonly checksItems?: boolean;
  /** The schema of the response body. If omitted, the response is 204, or a file. */
  readonly output?: O;
  /** The media types of the file that `run` returns as a `FileReply`; the first is the default. Instead of `output`. */
  readonly files?: readonly [string, ...string[]];
  /** The path of the created record. The response is then 201. */
  readonly location?: (body: OutputOf<O>) => string;
  /** The path of the record that shows the progress of work in the background. The response is then 202. */
  readonly accepted?: (body: OutputOf<O>) => string;
  /** Whether `run` returns a `Redirect`. Instead of `output`. */
  readonly redirects?: boolean;
  /** Whether a route with `location` can also return 200, because it replaces a record. */
  readonly replaces?: boolean;
  readonly sample?: Sample<T, I extends z.ZodType ? z.input<I> : never>;
  /** Null results in 404. */
  readonly run: (call: Call<T, P, Q, I>) => Result<OutputOf<O>> | Promise<Result<OutputOf<O>>>;
}

type Result<B> = (B extends undefined ? boolean | void : B | null) | Reply;

/** A declared route, as the app, the OpenAPI file and the tests use it. */
export interface Route extends RouteText {
  readonly method: Method;
  /** From the API's root, parameters as `:name`; `:tenantId` is the tenant of the request. */
  readonly path: string;
  readonly query?: z.ZodObject | undefined;
  readonly body?: z.ZodType | undefined;
  readonly bodyOptional?: boolean | undefined;
  readonly shownBody?: z.ZodType | undefined;
  readonly bodyTypes?: readonly string[] | undefined;
  readonly checksItems?: boolean | undefined;
  readonly responses: ResponseSpecs;
  readonly sample?: Sample<unknown> | undefined;
  readonly service: ServiceClass<unknown>;
  readonly handle: (call: AnyCall) => Promise<Reply>;
}

export interface AnyCall extends Omit<Call<unknown, string, undefined, undefined>, "params" | "query" | "body"> {
  readonly params: Readonly<Record<string, string>>;
  readonly query: unknown;
  readonly body: unknown;
}

/**
 * Declares a route: `verb("POST /v1/tenants/:tenantId/suspend", …)`. Its input is typed by the schemas that check it, its output by
 * `output`; status, ETag, 404 and pagination follow from what `run` returns. A route without a scope does not compile.
 */
export function verb<
  T,
  const P extends string,
  Q extends z.ZodObject | undefined = undefined,
  I extends z.ZodType | undefined = undefined,
  O extends z.ZodType | undefined = undefined,
>(place: `${Method} ${P}`, spec: VerbSpec<T, P, Q, I, O>): Route {
  const [method = "GET", path = ""] = place.split(" ") as [Method, string];
  const { input, inputOptional, shownInput, inputTypes, output, files, location, accepted, redirects, replaces, run, ...text } = spec;
  const description = { description: text.summary, ...(output ? { schema: output } : {}) };
  const responses: ResponseSpecs = {
    ...(location ? { 201: description } : {}),
    ...(accepted ? { 202: description } : {}),
    ...(output && ((!location && !accepted) || replaces) ? { 200: description } : {}),
    ...(files ? { 200: { ...description, types: files } } : {}),
    ...(redirects ? { 302: description } : {}),
    ...(output || files || redirects ? {} : { 204: { description: text.summary } }),
  };
  return {
    ...text,
    method,
    path,
    body: input,
    bodyOptional: inputOptional,
    shownBody: shownInput,
    bodyTypes: inputTypes,
    responses,
    // The app calls it with the outputs of this route's schemas and an instance of its service class.
    handle: async (call) => {
      const result = await run(call as unknown as Call<T, P, Q, I>);
      if (result === null || (result === false && !output)) throw missing(path, text.resource, call.params);
      if (result instanceof Reply) return result;
      if (!output) return new Reply(204, null);
      const body = result as OutputOf<O>;
      if (location) return created(body, location(body));
      if (accepted) return new Reply(202, body, placed(body, accepted(body)));
      return replied(body);
    },
  } as Route;
}

/** The error as the route's protocol states it. */
export function restated({ errorProtocol }: Route, error: InnkeepError, params: Readonly<Record<string, string>>): InnkeepError {
  if (!errorProtocol) return error;
  const { invalidBody, membersOf } = errorProtocol;
  const code = error.code === "validation_failed" ? invalidBody : error.code;
  return new InnkeepError(code, error.message, error.fields, { ...error.details, ...membersOf(error, params) });
}

/** Whether the route can change something. */
export function isMutation({ method, readOnly }: Pick<Route, "method" | "readOnly">): boolean {
  return method !== "GET" && !readOnly;
}

/** 200 with the result of a service: a record with its ETag, a page with the cursor of the next one. */
export function replied(body: unknown): Reply {
  if (isVersioned(body)) return new Reply(200, body, { version: body.version });
  const next = isPage(body) ? body.pagination.nextCursor : undefined;
  return new Reply(200, body, next === undefined ? {} : { next });
}

/** 201 with the created record, its ETag and its path. */
export function created(body: unknown, location: string): Reply {
  return new Reply(201, body, placed(body, location));
}

function placed(body: unknown, location: string) {
  return { location, ...(isVersioned(body) ? { version: body.version } : {}) };
}

function missing(path: string, resource: string | undefined, params: Readonly<Record<string, string>>) {
  const name = pathParams(path).at(-1) ?? "";
  return errors.notFound(resource ?? name.replace(/Id$/, ""), params[name]);
}

export function pathParams(path: string): string[] {
  return [...path.matchAll(/:(\w+)/g)].map((match) => match[1] ?? "");
}

/** The name of the path parameter for a record's id: `planId` for `plan:{id}`, `userId` for `admin:{userId}`. */
export function idParam(entity: AnyEntity): string {
  const last = keyParams(entity).at(-1) ?? "id";
  return last === "id" ? `${entity.name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase())}Id` : last;
}
