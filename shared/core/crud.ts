import type { z } from "zod";
import type { ErrorCode } from "../kernel/errors.ts";
import { type AnyEntity, keyParams } from "../kv/define.ts";
import type { ChangeOptions } from "../kernel/version.ts";
import { inputsOf } from "./fields.ts";
import { listArguments, listQuery } from "./list-query.ts";
import type { Filters, Pagination, Sort } from "./paging.ts";
import { idParam, type Route, type Sample, type ServiceClass, verb } from "./route.ts";
import { pageOf, recordOf } from "./schemas.ts";
import type { Scope } from "./scopes.ts";

/** What a service of these routes offers, as `EntityService` does; the bodies it is given come out of the entity's own schemas. */
interface CrudService {
  list(filters: Filters, sort: Sort | undefined, pagination: Pagination): Promise<unknown>;
  get(id: string): Promise<unknown>;
  create(data: never, options: ChangeOptions): Promise<unknown>;
  update(id: string, updates: never, options: ChangeOptions): Promise<unknown>;
  delete(id: string, options: ChangeOptions): Promise<boolean>;
}
type Operation = "list" | "create" | "get" | "update" | "delete";

export interface CrudSpec<T extends CrudService> {
  /** Of the collection, such as `/v1/plans`. */
  readonly path: string;
  /** The resource of the scopes: `plans` is `read:plans` and `write:plans`. */
  readonly scope: string;
  readonly service: ServiceClass<T>;
  /** What a good creation and change send. */
  readonly sample: { readonly create: NonNullable<Sample<T>["body"]>; readonly update: NonNullable<Sample<T>["body"]> };
  /** Left out: all five. */
  readonly only?: readonly Operation[];
  /** Operations refused to a tenant's own users. */
  readonly platformOnly?: readonly Operation[];
  /** Errors beyond those every such route can give. */
  readonly errors?: { readonly [O in Operation]?: readonly ErrorCode[] };
  readonly descriptions?: { readonly [O in Operation]?: string };
  /** Bodies with checks beyond the declaration's. */
  readonly input?: { readonly create?: z.ZodObject; readonly update?: z.ZodObject };
}

/** The routes of an entity: list, create, get, change by merge patch, delete. Parameters, bodies and responses are its declaration's. */
export function crud<T extends CrudService>(entity: AnyEntity, spec: CrudSpec<T>): Route[] {
  const noun = entity.name.replaceAll("-", " ");
  const pascal = entity.name.replaceAll(/(^|-)(\w)/g, (_, __, letter: string) => letter.toUpperCase());
  const id = idParam(entity);
  const record = recordOf(entity);
  const inputs = { ...inputsOf(entity), ...spec.input };
  const [read, write]: Scope[] = [`read:${spec.scope}`, `write:${spec.scope}`] as const;
  const of = (operation: Operation) => ({
    service: spec.service,
    ...(spec.platformOnly?.includes(operation) ? { platformOnly: true } : {}),
    ...(spec.descriptions?.[operation] ? { description: spec.descriptions[operation] } : {}),
    errors: spec.errors?.[operation] ?? [],
  });
  const one = `${spec.path}/:${id}` as const;
  const routes: Readonly<Record<Operation, () => Route>> = {
    list: () =>
      verb(`GET ${spec.path}`, {
        ...of("list"),
        operationId: `list${plural(pascal)}`,
        summary: `List ${plural(noun)}`,
        scope: read as Scope,
        query: listQuery(entity),
        output: pageOf(entity),
        run: async ({ service, query }) => await service.list(...listArguments(query)) as never,
      }),
    create: () =>
      verb(`POST ${spec.path}`, {
        ...of("create"),
        errors: ["already_exists", ...of("create").errors],
        operationId: `create${pascal}`,
        summary: `Create ${article(noun)} ${noun}`,
        scope: write as Scope,
        input: inputs.create,
        output: record,
        location: (made) => `${spec.path}/${String((made as Record<string, unknown>)[keyParams(entity).at(-1) ?? ""])}`,
        sample: { body: spec.sample.create },
        run: async ({ service, body, options }) => await service.create(body as never, options) as never,
      }),
    get: () =>
      verb(`GET ${one}`, {
        ...of("get"),
        operationId: `get${pascal}`,
        summary: `Get ${article(noun)} ${noun}`,
        scope: read as Scope,
        output: record,
        loads: [entity],
        run: async ({ service, params }) => await service.get(at(params, id)) as never,
      }),
    update: () =>
      verb(`PATCH ${one}`, {
        ...of("update"),
        operationId: `update${pascal}`,
        summary: `Change ${article(noun)} ${noun} by JSON merge patch`,
        scope: write as Scope,
        input: inputs.update,
        output: record,
        loads: [entity],
        sample: { body: spec.sample.update },
        run: async ({ service, params, body, options }) => await service.update(at(params, id), body as never, options) as never,
      }),
    delete: () =>
      verb(`DELETE ${one}`, {
        ...of("delete"),
        operationId: `delete${pascal}`,
        summary: `Delete ${article(noun)} ${noun}`,
        scope: write as Scope,
        loads: [entity],
        run: async ({ service, params, options }) => await service.delete(at(params, id), options),
      }),
  };
  return (spec.only ?? Object.keys(routes) as Operation[]).map((operation) => routes[operation]());
}

function at(params: object, name: string): string {
  return (params as Readonly<Record<string, string>>)[name] ?? "";
}

function article(noun: string): string {
  return /^[aeiou]/.test(noun) ? "an" : "a";
}

function plural(noun: string): string {
  return /[^aeiou]y$/i.test(noun) ? `${noun.slice(0, -1)}ies` : /(s|x|ch|sh)$/i.test(noun) ? `${noun}es` : `${noun}s`;
}
