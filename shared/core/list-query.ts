import { z } from "zod";
import { checkedText, instant, QUANTITY_DECIMALS } from "./values.ts";
import { addDays } from "./periods.ts";
import type { AnyEntity } from "../kv/define.ts";
import { type FilterParameter, filtersOf, parseSort, searchProblem } from "./list-filters.ts";
import { isTimestamp } from "../kv/key.ts";
import { LIMITS, type OrderBy } from "../kv/store.ts";
import type { Filters, Pagination } from "./paging.ts";

/** Query parameters are text. Each schema checks the text and returns its value. */

export function integer(min: number, max: number) {
  return numeric(/^\d{1,9}$/, min, max, `must be a whole number from ${min} to ${max}`, "integer");
}

const DECIMAL = new RegExp(`^-?\\d{1,16}(\\.\\d{1,${QUANTITY_DECIMALS}})?$`);

export function decimal(min: number, max: number) {
  return numeric(DECIMAL, min, max, `must be a number from ${min} to ${max} with at most ${QUANTITY_DECIMALS} decimals`, "number");
}

function numeric(form: RegExp, minimum: number, maximum: number, message: string, type: "integer" | "number") {
  const inside = (text: unknown) => typeof text === "string" && form.test(text) && Number(text) >= minimum && Number(text) <= maximum;
  return z.unknown().refine(inside, message).transform(Number).meta({ type, minimum, maximum });
}

/** Documents a parameter with the type of its value instead of text. */
function shownAs<S extends z.ZodType>(schema: S, shown: Readonly<Record<string, unknown>>): S {
  return schema.meta({ minLength: undefined, maxLength: undefined, enum: undefined, ...shown });
}

export const flag = shownAs(z.enum(["true", "false"]).transform((text) => text === "true"), { type: "boolean" });

/** An instant. A day without a time is included, so as an end it becomes the next midnight. */
export function moment(bound: "from" | "to") {
  const midnight = (text: string) => bound === "to" && isTimestamp(text) ? addDays(text, 1) : text;
  return z.string().transform((text) => /^\d{4}-\d{2}-\d{2}$/.test(text) ? midnight(`${text}T00:00:00.000Z`) : text)
    .refine(isTimestamp, "must be a day YYYY-MM-DD or a UTC instant YYYY-MM-DDTHH:mm:ss.sssZ")
    .meta({
      description: bound === "from" ? "At or after this instant or day." : "Before this instant. A day without a time is included.",
      examples: ["2026-11-01T09:30:00.000Z", "2026-11-01"],
    });
}

export const pageParams = {
  page: integer(1, LIMITS.offset).optional().meta({ description: "The number of the page. Cannot be combined with cursor.", default: 1 }),
  limit: integer(1, 100).optional().meta({ description: "The maximum number of records per page.", default: 20 }),
  cursor: z.string().min(1).max(4_000).optional().meta({
    description: "The `nextCursor` of the previous page. Cannot be combined with page.",
  }),
};

/** `page` and `cursor` exclude each other. A page beyond the store's maximum offset is refused. */
export function checkPaging<S extends z.ZodObject>(schema: S): S {
  return schema.check((payload) => {
    const { page, limit = 20, cursor } = payload.value as { page?: number; limit?: number; cursor?: string };
    const refuse = (path: string, message: string) => payload.issues.push({ code: "custom", input: payload.value, path: [path], message });
    if (page !== undefined && cursor !== undefined) refuse("cursor", "cannot be combined with page");
    if (page !== undefined && page * limit > LIMITS.offset) refuse("page", `must not reach beyond record ${LIMITS.offset}; use a cursor`);
  });
}

const number = decimal(-1e15, 1e15);

function filterOf(entity: AnyEntity, { field, type, values, bound }: FilterParameter): z.ZodType {
  const of = (rule: string) => ({
    description: [`\`${field}\` ${rule}`, z.globalRegistry.get(entity.schema.shape[field])?.description ?? []].flat().join(" "),
  });
  if (bound) {
    const end = type === "time" ? moment(bound) : number;
    const rules = type === "time"
      ? { from: "at or after this instant or day.", to: "before this instant; a day without a time is included." }
      : { from: "at or above this.", to: "below this." };
    return end.optional().meta(of(rules[bound]));
  }
  if (type === "boolean") return flag.transform((value) => [value]).optional().meta(of("is this."));
  const plain = { text: z.string().min(1).max(512), time: instant, number };
  const one = (values ? z.enum(values as [string]) : plain[type]) as z.ZodType<string | number, string>;
  const several = z.string().min(1).max(4_000).transform((text) => text.split(",")).pipe(z.array(one).max(100)).optional();
  const plainItem = { text: { type: "string" }, time: { type: "string", format: "date-time" }, number: { type: "number" } };
  const item = values ? { type: "string", enum: values } : plainItem[type];
  return shownAs(several, { type: "array", items: item, minItems: 1, maxItems: 100, ...of("is one of these.") });
}

function sortOf(entity: AnyEntity) {
  const allowed: readonly string[] = entity.sortable ?? [];
  const rule = `some of ${allowed.join(", ")}, each at most once, with - for descending`;
  const order = z.string().min(1).max(400)
    .refine((text) => {
      const fields = text.split(",").map((part) => part.replace(/^-/, ""));
      return fields.every((field) => allowed.includes(field)) && new Set(fields).size === fields.length;
    }, `must be ${rule}`)
    .transform((text) =>
      text.split(",").map((part): OrderBy => ({ field: part.replace(/^-/, ""), direction: part.startsWith("-") ? "desc" : "asc" }))
    )
    .optional();
  return shownAs(order, {
    type: "array",
    items: { type: "string", enum: allowed.flatMap((field) => [field, `-${field}`]) },
    uniqueItems: true,
    default: parseSort(entity).map(({ field, direction }) => direction === "desc" ? `-${field}` : field),
    description: "The fields to sort by, in order of precedence; `-` means descending. Nulls come last in both directions.",
  });
}

function search(entity: AnyEntity) {
  const description = `A substring of ${(entity.searchable as readonly string[]).join(", ")}. Ignores case and accents.`;
  return checkedText(z.string().min(1).max(200), searchProblem).optional().meta({ description });
}

/** The query schema of an entity's list, from its declaration: filters, sort, search, page or cursor. An unknown parameter is an error. */
export function listQuery(entity: AnyEntity) {
  const filters = Object.fromEntries(filtersOf(entity).map((filter) => [filter.name, filterOf(entity, filter)]));
  return checkPaging(z.strictObject({
    ...filters,
    ...(entity.searchable ? { search: search(entity) } : {}),
    sort: sortOf(entity),
    ...pageParams,
  }));
}

/** The arguments of a service's `list`, from the output of {@link listQuery}. */
export function listArguments(query: z.output<ReturnType<typeof listQuery>>): [Filters, readonly OrderBy[] | undefined, Pagination] {
  const { sort, page, limit, cursor, ...filters } = query;
  return [filters as Filters, sort, pagination({ page, limit, cursor })];
}

export function pagination(given: { page?: number | undefined; limit?: number | undefined; cursor?: string | undefined }): Pagination {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
