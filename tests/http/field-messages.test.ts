import { describe, expect, test } from "vitest";
import { z } from "zod";
import { fieldErrors } from "../../shared/kernel/field-errors.ts";
import { useApi } from "./support/api.ts";

const api = useApi();

function messagesOf(schema: z.ZodType, value: unknown): string[] {
  const { error } = schema.safeParse(value);
  return fieldErrors(error?.issues ?? []).map(({ path, message }) => path === "" ? message : `${path} ${message}`);
}

const CASES: readonly (readonly [z.ZodType, unknown, string])[] = [
  [z.string(), 7, "must be text"],
  [z.string(), null, "must be text"],
  [z.string(), undefined, "is required"],
  [z.number(), "7", "must be a number"],
  [z.number(), Number.NaN, "must be a number"],
  [z.int(), 1.5, "must be a whole number"],
  [z.int(), 2 ** 60, "must be at most 9007199254740991"],
  [z.boolean(), "true", "must be true or false"],
  [z.strictObject({}), [], "must be an object"],
  [z.record(z.string(), z.string()), "x", "must be an object"],
  [z.array(z.string()), {}, "must be a list"],
  [z.date(), "2026-11-01", "must be a date"],
  [z.null(), 1, "must be null"],
  [z.never(), 1, "must be left out"],
  [z.enum(["a", "b"]), "c", "must be one of a, b"],
  [z.literal("ok"), "c", "must be ok"],
  [z.string().min(1), "", "must not be empty"],
  [z.string().min(3), "ab", "must be at least 3 characters"],
  [z.string().max(1), "ab", "must be at most 1 character"],
  [z.string().length(3), "ab", "must be exactly 3 characters"],
  [z.string().length(3), "abcd", "must be exactly 3 characters"],
  [z.array(z.string()).min(2), ["a"], "must have at least 2 items"],
  [z.array(z.string()).max(1), ["a", "b"], "must have at most 1 item"],
  [z.number().min(0), -1, "must be at least 0"],
  [z.number().max(9), 10, "must be at most 9"],
  [z.number().positive(), 0, "must be greater than 0"],
  [z.number().lt(5), 5, "must be less than 5"],
  [z.number().multipleOf(5), 7, "must be a multiple of 5"],
  [z.date().min(new Date(0)), new Date(-1), "must not be before 1970-01-01T00:00:00.000Z"],
  [z.date().max(new Date(0)), new Date(1), "must not be after 1970-01-01T00:00:00.000Z"],
  [z.email(), "x", "must be an email address, such as ada@example.com"],
  [z.url(), "x", "must be a URL, such as https://example.com"],
  [z.iso.date(), "x", "must be a day YYYY-MM-DD"],
  [z.iso.datetime(), "x", "must be an instant, such as 2026-11-01T09:30:00.000Z"],
  [z.uuid(), "x", "must be a UUID"],
  [z.string().regex(/^a$/), "x", "is not in the required format"],
  [z.string().startsWith("https://"), "x", "must begin with https://"],
  [z.string().endsWith(".example"), "x", "must end with .example"],
  [z.string().includes("@"), "x", "must contain @"],
  [z.union([z.string(), z.number()]), true, "must be text or a number"],
  [z.union([z.strictObject({ a: z.string() }), z.strictObject({ b: z.string() })]), {}, "matches none of the allowed forms"],
  [z.discriminatedUnion("kind", [z.object({ kind: z.literal("a") })]), { kind: "b" }, "/kind must be a"],
  [z.record(z.string().max(2), z.string()), { abc: "x" }, "/abc must have only valid names: a name must be at most 2 characters"],
  [z.map(z.string(), z.string()), new Map([["a", 1]]), "/a must be text"],
  [z.set(z.string().min(2)), new Set(["a"]), "must be at least 2 characters"],
  [z.strictObject({}), { x: 1 }, "/x is not a known field"],
  [z.string().refine(() => false), "x", "is not valid"],
  [z.string().refine(() => false, "must be of ours"), "x", "must be of ours"],
  [z.string().regex(/^a$/, "must be YYYY-MM"), "x", "must be YYYY-MM"],
  [z.string("must be a name"), 7, "must be a name"],
];

describe("the message of a field", () => {
  test.each(CASES)("H02: describes what is wrong with a value, without the library's text: case %#", (schema, value, message) => {
    expect(messagesOf(schema, value)).toEqual([message]);
  });

  test("H02: exists for every kind of issue of the library", () => {
    const seen = new Set(CASES.flatMap(([schema, value]) => schema.safeParse(value).error?.issues.map(({ code }) => code as string) ?? []));
    const kinds = ["invalid_type", "invalid_value", "too_small", "too_big", "invalid_format", "not_multiple_of", "unrecognized_keys"];
    expect([...seen].sort()).toEqual([...kinds, "invalid_union", "invalid_key", "custom"].sort());
  });
});

/** The beginnings of Innkeep's messages. */
const OURS = /^(must|is|has|matches|exceeds|cannot)\b/;
/** Texts that only the library uses. */
const RAW = /\binvalid\b|\bexpected\b|Unrecognized|undefined|\breceived\b|\/\^|too (big|small)/i;
const TEXTS: readonly string[] = ["x", " ", "x".repeat(5_000), "-1", "1e9", "a,b", "true", "2026-13", "\u00fc"];
const VALUES: readonly unknown[] = [...TEXTS, undefined, null, true, "", -1, 1.23456789, 1e300, 2 ** 53, [], [null], {}, { "": {} }];

test("H02: no field or parameter of any route has a message of the library, whatever the value", () => {
  const schemas = api.routes.flatMap(({ operationId, body, query }) => [
    ...(body instanceof z.ZodObject ? [[operationId, body, VALUES] as const] : []),
    ...(query ? [[operationId, query, TEXTS] as const] : []),
  ]);
  const messages = schemas.flatMap(([operationId, schema, values]) =>
    Object.keys(schema.shape).flatMap((name) =>
      values.flatMap((value) => {
        const issues = schema.safeParse({ [name]: value }).error?.issues ?? [];
        return fieldErrors(issues.filter(({ path }) => path[0] === name)).map(({ message }) => ({ at: `${operationId} ${name}`, message }));
      })
    )
  );
  expect(new Set(messages.map(({ at }) => at)).size).toBeGreaterThan(50);
  const wrong = messages.filter(({ message }) => !OURS.test(message) || RAW.test(message)).map(({ at, message }) => `${at}: ${message}`);
  expect([...new Set(wrong)]).toEqual([]);
});
