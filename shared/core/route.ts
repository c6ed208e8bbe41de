import type { z } from "zod";
import type { Services } from "../container.ts";
import type { ErrorCode } from "../kernel/errors.ts";
import type { IfMatch } from "../kernel/version.ts";
import type { Scope } from "./scopes.ts";
import type { Caller } from "../../functions/api/authenticate.ts";
import type { Reply } from "./reply.ts";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
type SuccessStatus = 200 | 201 | 202 | 204;

/** `:name` parts of a path. */
type PathParams<P extends string> = P extends `${string}:${infer Rest}`
  ? Rest extends `${infer Name}/${infer Tail}` ? Name | PathParams<Tail> : Rest
  : never;

export interface ResponseSpec {
  readonly description: string;
  /** Left out: the answer has no body. */
  readonly schema?: z.ZodType;
}
export type ResponseSpecs = { readonly [S in SuccessStatus]?: ResponseSpec };

type BodyOf<R extends ResponseSpec | undefined> = R extends { readonly schema: infer S extends z.ZodType } ? z.output<S> : null;
type ReplyOf<R extends ResponseSpecs> = { [S in keyof R & SuccessStatus]: Reply<S, BodyOf<R[S]>> }[keyof R & SuccessStatus];
type OutputOf<S extends z.ZodType | undefined> = S extends z.ZodType ? z.output<S> : undefined;

/** What a handler gets: checked input, and services bound to the caller. */
export interface Call<P extends string = string, Q extends z.ZodType | undefined = undefined, B extends z.ZodType | undefined = undefined> {
  readonly params: { readonly [N in PathParams<P>]: string };
  readonly query: OutputOf<Q>;
  readonly body: OutputOf<B>;
  readonly services: Services;
  readonly caller: Caller;
  /** The tenant of the request, where a source named one. */
  readonly tenantId: string | null;
  readonly ifMatch: IfMatch | undefined;
}

export interface RouteSpec<
  P extends string,
  Q extends z.ZodObject | undefined,
  B extends z.ZodType | undefined,
  R extends ResponseSpecs,
> {
  readonly method: Method;
  /** From the API's root, parameters as `:name`; `:tenantId` is the tenant of the request. */
  readonly path: P;
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  /** What the caller must hold: a scope, any credential with a role (`caller`), or nothing (`public`). */
  readonly scope: Scope | "caller" | "public";
  /** Refused to a tenant's own users whatever scopes they hold. */
  readonly platformOnly?: boolean;
  /** Stays open to the users of a suspended or cancelled tenant: billing reads. */
  readonly openWhenSuspended?: boolean;
  readonly query?: Q;
  readonly body?: B;
  /** A request without a body counts as `{}`. */
  readonly bodyOptional?: boolean;
  readonly responses: R;
  /** Error codes beyond those every route of its kind can give; they document the route. */
  readonly errors?: readonly ErrorCode[];
  readonly handler: (call: Call<P, Q, B>) => ReplyOf<R> | Promise<ReplyOf<R>>;
}

/** A route as the app, the OpenAPI file and the tests loop over it. */
export interface Route extends Omit<RouteSpec<string, z.ZodObject | undefined, z.ZodType | undefined, ResponseSpecs>, "handler"> {
  readonly handler: (call: AnyCall) => Reply | Promise<Reply>;
}

export interface AnyCall extends Omit<Call, "params" | "query" | "body"> {
  readonly params: Readonly<Record<string, string>>;
  readonly query: unknown;
  readonly body: unknown;
}

/**
 * Declares a route. The handler's input is typed by the schemas that check it and its answer by
 * `responses`; a route without a scope does not compile.
 */
export function defineRoute<
  const P extends string,
  const R extends ResponseSpecs,
  Q extends z.ZodObject | undefined = undefined,
  B extends z.ZodType | undefined = undefined,
>(spec: RouteSpec<P, Q, B, R>): Route {
  // The app calls a handler only with the output of this very route's own schemas.
  return spec as unknown as Route;
}

export function pathParams(path: string): string[] {
  return [...path.matchAll(/:(\w+)/g)].map((match) => match[1] ?? "");
}
