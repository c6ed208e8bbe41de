import type { z } from "zod";
import { type ErrorCode, errors } from "../kernel/errors.ts";
import type { ChangeOptions, IfMatch } from "../kernel/version.ts";
import { type AnyEntity, keyParams } from "../kv/define.ts";
import type { Caller } from "./caller.ts";
import type { HostRules } from "./platform.ts";
import { isPage, isVersioned, Reply } from "./reply.ts";
import type { Scope } from "./scopes.ts";
import type { UnitOfWork } from "./unit-of-work.ts";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
type SuccessStatus = 200 | 201 | 202 | 204;

/** `:name` parts of a path. */
type PathParams<P extends string> = P extends `${string}:${infer Rest}`
  ? Rest extends `${infer Name}/${infer Tail}` ? Name | PathParams<Tail> : Rest
  : never;

/** A service as a route makes it: bound to one caller. */
export type ServiceClass<T> = new (work: UnitOfWork) => T;

export interface ResponseSpec {
  readonly description: string;
  /** Left out: there is no body. */
  readonly schema?: z.ZodType;
}
export type ResponseSpecs = { readonly [S in SuccessStatus]?: ResponseSpec };

type OutputOf<S extends z.ZodType | undefined> = S extends z.ZodType ? z.output<S> : undefined;

/** What a route runs with: checked input, and services bound to the caller. */
export interface Call<T, P extends string, Q extends z.ZodType | undefined, I extends z.ZodType | undefined> {
  readonly params: { readonly [N in PathParams<P>]: string };
  readonly query: OutputOf<Q>;
  readonly body: OutputOf<I>;
  readonly service: T;
  /** Another service, bound to the same caller. */
  readonly use: <U>(other: ServiceClass<U>) => U;
  readonly caller: Caller;
  readonly hosts: HostRules;
  /** The tenant of the request, where a source named one. */
  readonly tenantId: string | null;
  readonly options: ChangeOptions;
}

/** A valid request, which the security tests send to the route. `n` differs from call to call. */
export interface Sample<T, B = Readonly<Record<string, unknown>>> {
  readonly body?: B | ((n: number) => B);
  /** Query string without its `?`; `:tenantId` and the like stand for ids of records that exist. */
  readonly query?: string;
  /** Path parameters that no creation of the API makes, such as a metric's name. */
  readonly params?: Readonly<Record<string, string>>;
  /** Brings the tenant into a state from which the call changes something. */
  readonly prepare?: (service: T, params: Readonly<Record<string, string>>) => Promise<unknown>;
  /** How many audit entries the call writes; left out: one. */
  readonly auditEntries?: number;
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
  /** The response has an ETag although it is not a record. */
  readonly etag?: boolean;
  /** Error codes beyond those every route of its kind can give; they document the route. */
  readonly errors?: readonly ErrorCode[];
  /** The name of the record in a 404. Default: the last parameter of the path. */
  readonly resource?: string;
  /** Records whose keys the path names: they are read together with the look-up of the caller. */
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
  /** The body of the response; left out: 204 without one. */
  readonly output?: O;
  /** Of a route that creates: 201, with the path of what was created. */
  readonly location?: (body: OutputOf<O>) => string;
  /** Of a route that replaces or creates: 200 beside 201. */
  readonly replaces?: boolean;
  readonly sample?: Sample<T, I extends z.ZodType ? z.input<I> : never>;
  /** Null results in 404. */
  readonly run: (call: Call<T, P, Q, I>) => Result<OutputOf<O>> | Promise<Result<OutputOf<O>>>;
}

type Result<B> = (B extends undefined ? boolean | void : B | null) | Reply;

/** A route as the app, the OpenAPI file and the tests loop over it. */
export interface Route extends RouteText {
  readonly method: Method;
  /** From the API's root, parameters as `:name`; `:tenantId` is the tenant of the request. */
  readonly path: string;
  readonly query?: z.ZodObject | undefined;
  readonly body?: z.ZodType | undefined;
  readonly bodyOptional?: boolean | undefined;
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

export type { IfMatch };

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
  const { input, inputOptional, output, location, replaces, run, ...text } = spec;
  const description = { description: text.summary, ...(output ? { schema: output } : {}) };
  const responses: ResponseSpecs = {
    ...(location ? { 201: description } : {}),
    ...(output && (!location || replaces) ? { 200: description } : {}),
    ...(output ? {} : { 204: { description: text.summary } }),
  };
  return {
    ...text,
    method,
    path,
    body: input,
    bodyOptional: inputOptional,
    responses,
    // The app calls it with the output of this very route's own schemas, and a service of its own class.
    handle: async (call) => {
      const result = await run(call as unknown as Call<T, P, Q, I>);
      if (result === null || (result === false && !output)) throw missing(path, text.resource, call.params);
      if (result instanceof Reply) return result;
      if (!output) return new Reply(204, null);
      const body = result as OutputOf<O>;
      if (location) return created(body, location(body));
      return replied(body);
    },
  } as Route;
}

/** 200 with what a service returned: a record has its ETag, a page its next one. */
export function replied(body: unknown): Reply {
  if (isVersioned(body)) return new Reply(200, body, { version: body.version });
  const next = isPage(body) ? body.pagination.nextCursor : undefined;
  return new Reply(200, body, next === undefined ? {} : { next });
}

/** 201 with what was created, its ETag and where it is. */
export function created(body: unknown, location: string): Reply {
  return new Reply(201, body, { location, ...(isVersioned(body) ? { version: body.version } : {}) });
}

function missing(path: string, resource: string | undefined, params: Readonly<Record<string, string>>) {
  const name = pathParams(path).at(-1) ?? "";
  return errors.notFound(resource ?? name.replace(/Id$/, ""), params[name]);
}

export function pathParams(path: string): string[] {
  return [...path.matchAll(/:(\w+)/g)].map((match) => match[1] ?? "");
}

/** The parameter of a path that names a record: `planId` for `plan:{id}`, `userId` for `admin:{userId}`. */
export function idParam(entity: AnyEntity): string {
  const last = keyParams(entity).at(-1) ?? "id";
  return last === "id" ? `${entity.name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase())}Id` : last;
}
