import type { z } from "zod";
import type { ErrorCode } from "../kernel/errors.ts";
import type { ChangeOptions } from "../kernel/version.ts";
import { type AnyEntity, keyParams } from "../kv/define.ts";
import { type CreateInput, inputsOf, type PutInput, type UpdateInput } from "./fields.ts";
import { listArguments, listQuery } from "./list-query.ts";
import type { Filters, Pagination, Sort } from "./paging.ts";
import { created, idParam, replied, type Route, type Sample, type ServiceClass, verb } from "./route.ts";
import { pageOf, recordOf } from "./schemas.ts";
import type { Scope } from "./scopes.ts";

/**
 * The service methods that the routes call: those of `EntityService`, or of `TenantEntityService`, whose first argument is the
 * tenant's id. The bodies are outputs of the entity's input schemas.
 */
interface CrudService<At extends readonly string[]> {
  list(...args: [...At, filters: Filters, sort: Sort | undefined, pagination: Pagination]): Promise<unknown>;
  get(...args: [...At, id: string]): Promise<unknown>;
  create(...args: [...At, data: never, options: ChangeOptions]): Promise<unknown>;
  put(...args: [...At, id: string, data: never, options: ChangeOptions]): Promise<{ readonly record: object; readonly created: boolean }>;
  update(...args: [...At, id: string, updates: never, options: ChangeOptions]): Promise<unknown>;
  delete(...args: [...At, id: string, options: ChangeOptions]): Promise<boolean>;
}
type Operation = keyof CrudService<[]>;
const DEFAULT_OPERATIONS = ["list", "create", "get", "update", "delete"] as const;
type DefaultOperation = (typeof DEFAULT_OPERATIONS)[number];
type ServiceAt<P extends string, O extends Operation> = Pick<
  CrudService<P extends `${string}/:tenantId/${string}` ? [tenantId: string] : []>,
  O
>;

/** Widens literal types, because TypeScript infers `string` for a `"monthly"` that a function returns. */
type Widened<V> = V extends string ? string
  : V extends number ? number
  : V extends boolean ? boolean
  : V extends object ? { readonly [K in keyof V]: Widened<V[K]> }
  : V;
type Body<B> = Widened<B> | ((n: number) => Widened<B>);
/** Valid bodies of create, put and update. */
type Samples<E, O> =
  & { readonly create?: Body<CreateInput<E>>; readonly put?: Body<PutInput<E>>; readonly update?: Body<UpdateInput<E>> }
  & { readonly [K in O & ("create" | "put" | "update")]: unknown };

export interface CrudSpec<E extends AnyEntity, P extends string, O extends Operation, T> {
  /** The path of the collection: `/v1/plans`, or `/v1/tenants/:tenantId/invoices` for the records of a tenant. */
  readonly path: P;
  /** The resource in the scopes: `plans` stands for `read:plans` and `write:plans`. */
  readonly scope: string;
  readonly service: ServiceClass<T>;
  readonly sample: Samples<E, NoInfer<O>> & Pick<Sample<NoInfer<T>>, "prepare">;
  /** Default: all except `put`, which creates or replaces a record whose id the caller chooses. */
  readonly only?: readonly O[];
  /** Operations refused to a tenant's own users. */
  readonly platformOnly?: readonly NoInfer<O>[];
  /** Operations available to the users of a suspended or cancelled tenant. */
  readonly openWhenSuspended?: readonly NoInfer<O>[];
  /** Error codes in addition to those of every such route. */
  readonly errors?: { readonly [K in NoInfer<O>]?: readonly ErrorCode[] };
  readonly descriptions?: { readonly [K in NoInfer<O>]?: string };
  /** Body schemas that replace the derived ones, to add checks. */
  readonly input?: { readonly create?: z.ZodObject; readonly update?: z.ZodObject };
}

/** The routes of an entity. Parameters, bodies and responses are derived from its declaration. */
export function crud<
  E extends AnyEntity,
  const P extends string,
  T extends ServiceAt<P, O>,
  const O extends Operation = DefaultOperation,
>(entity: E, spec: CrudSpec<E, P, O, T>): Route[] {
  const operations: readonly Operation[] = spec.only ?? DEFAULT_OPERATIONS;
  // The type of `spec` has checked the operations and their arguments against the service.
  const routes = routesOf(entity, spec as unknown as AnySpec);
  return operations.map((operation) => routes[operation]());
}

type AnyService =
  & Record<Exclude<Operation, "put" | "delete">, (...args: readonly unknown[]) => Promise<unknown>>
  & { put(...args: readonly unknown[]): Promise<{ readonly record: object; readonly created: boolean }> }
  & { delete(...args: readonly unknown[]): Promise<boolean> };
type AnySpec = Omit<CrudSpec<AnyEntity, string, Operation, AnyService>, "sample"> & {
  readonly sample: Record<Operation, Body<Record<string, unknown>>> & Pick<Sample<AnyService>, "prepare">;
};
type Make = () => Route;

/** Descriptions that hold for every entity. */
const DESCRIPTIONS: { readonly [O in Operation]?: string } = {
  list:
    "A record must match all filters. Pages are numbered and have totals, or are read by cursor, which stays consistent under inserts and deletes.",
  update: "JSON merge patch (RFC 7396): omitted members are unchanged, objects are merged, and null removes an optional member.",
};

function routesOf(entity: AnyEntity, spec: AnySpec): Readonly<Record<Operation, Make>> {
  const noun = entity.name.replaceAll("-", " ");
  const pascal = entity.name.replaceAll(/(^|-)(\w)/g, (_, __, letter: string) => letter.toUpperCase());
  const record = recordOf(entity);
  const inputs = { ...inputsOf(entity), ...spec.input };
  const id = idParam(entity);
  const one = `${spec.path}/:${id}` as const;
  const above = spec.path.includes("/:tenantId/") ? ["tenantId"] : [];
  /** The leading arguments of a call: the tenant's id, if the path has one, and then the named parameters. */
  const at = (params: object, ...names: string[]) => [...above, ...names].map((name) => (params as Record<string, string>)[name] ?? "");
  const of = (operation: Operation, access: "read" | "write", summary: string) => ({
    service: spec.service,
    operationId: `${operation}${operation === "list" ? plural(pascal) : pascal}`,
    summary,
    scope: `${access}:${spec.scope}` as Scope,
    ...(spec.platformOnly?.includes(operation) ? { platformOnly: true } : {}),
    ...(spec.openWhenSuspended?.includes(operation) ? { openWhenSuspended: true } : {}),
    description: [DESCRIPTIONS[operation] ?? [], spec.descriptions?.[operation] ?? []].flat().join("\n\n"),
    errors: [...(operation === "create" ? ["already_exists" as const] : []), ...spec.errors?.[operation] ?? []],
  });
  const a = `${/^[aeiou]/.test(noun) ? "an" : "a"} ${noun}`;
  return {
    list() {
      return verb(`GET ${spec.path}`, {
        ...of("list", "read", `List ${plural(noun)}`),
        query: listQuery(entity),
        output: pageOf(entity),
        run: async ({ service, params, query }) => await service.list(...at(params), ...listArguments(query)) as never,
      });
    },
    create() {
      return verb(`POST ${spec.path}`, {
        ...of("create", "write", `Create ${a}`),
        input: inputs.create,
        output: record,
        location: (made) => placeOf(`${spec.path}/:${keyParams(entity).at(-1)}`, made),
        sample: { body: spec.sample.create, ...(spec.sample.prepare ? { prepare: spec.sample.prepare } : {}) },
        run: async ({ service, params, body, options }) => await service.create(...at(params), body, options) as never,
      });
    },
    get() {
      return verb(`GET ${one}`, {
        ...of("get", "read", `Get ${a}`),
        output: record,
        loads: [entity],
        run: async ({ service, params }) => await service.get(...at(params, id)) as never,
      });
    },
    put() {
      return verb(`PUT ${one}`, {
        ...of("put", "write", `Create or replace ${a}`),
        input: inputs.put,
        output: record,
        location: () => one,
        replaces: true,
        sample: { body: spec.sample.put },
        run: async ({ service, params, body, options }) => {
          const put = await service.put(...at(params, id), body, options);
          return put.created ? created(put.record, placeOf(one, params)) : replied(put.record);
        },
      });
    },
    update() {
      return verb(`PATCH ${one}`, {
        ...of("update", "write", `Change ${a} by JSON merge patch`),
        input: inputs.update,
        output: record,
        loads: [entity],
        sample: { body: spec.sample.update },
        run: async ({ service, params, body, options }) => await service.update(...at(params, id), body, options) as never,
      });
    },
    delete() {
      return verb(`DELETE ${one}`, {
        ...of("delete", "write", `Delete ${a}`),
        loads: [entity],
        run: async ({ service, params, options }) => await service.delete(...at(params, id), options),
      });
    },
  };
}

/** A path with its parameters filled in. */
function placeOf(path: string, values: object): string {
  return path.replaceAll(/:(\w+)/g, (_, name: string) => String((values as Readonly<Record<string, unknown>>)[name]));
}

function plural(noun: string): string {
  return /[^aeiou]y$/i.test(noun) ? `${noun.slice(0, -1)}ies` : /(s|x|ch|sh)$/i.test(noun) ? `${noun}es` : `${noun}s`;
}
