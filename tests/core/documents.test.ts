import { describe, expect, test } from "vitest";
import { z } from "zod";
import { dataModelDocument, errorsDocument } from "../../shared/core/documents.ts";
import { fieldType } from "../../shared/core/field-type.ts";
import { registry } from "../../shared/features/registry.ts";
import { ERROR_KINDS } from "../../shared/kernel/errors.ts";
import { defineEntity } from "../../shared/kv/define.ts";

describe("the data model's page", () => {
  const page = dataModelDocument(registry);

  test("has every entity, its key and every field of it", () => {
    for (const entity of registry) {
      const section = page.split(`\n## ${entity.name}\n`)[1]?.split("\n## ")[0] ?? "";
      expect(section, entity.name).toContain(`\`${entity.key}\``);
      for (const field of Object.keys(entity.schema.shape)) expect(section, `${entity.name}.${field}`).toContain(`| \`${field}\` |`);
    }
  });

  test("every row of a table has as many cells as its head", () => {
    const tables = page.split("\n\n").filter((block) => block.startsWith("| "));
    for (const table of tables) {
      const cells = table.trim().split("\n").map((row) => row.replaceAll("\\|", "").split("|").length);
      expect(new Set(cells).size, table.slice(0, 200)).toBe(1);
    }
  });

  test("a secret is marked and its example redacted", () => {
    const vault = defineEntity({
      name: "vault",
      summary: "A record with a secret.",
      key: "vault:{id}",
      schema: z.looseObject({ id: z.string(), secret: z.string() }),
      owner: "platform",
      secrets: ["secret"],
      example: { id: "v_1", secret: "hunter2" },
    });
    const vaultPage = dataModelDocument([vault]);
    expect(vaultPage).toContain("| `secret` | text |  | required, **secret** |");
    expect(vaultPage).not.toContain("hunter2");
  });
});

test("the errors' page has every code with its status and whether it can be retried", () => {
  const page = errorsDocument();
  for (const [code, kind] of Object.entries(ERROR_KINDS)) {
    expect(page).toContain(`| [\`${code}\`](#${code}) | ${kind.status} | ${kind.retryable ? "yes" : "no"} | ${kind.title} |`);
    expect(page).toContain(`## ${code}\n`);
  }
});

test.each([
  [z.string(), "text"],
  [z.string().max(9), "text, at most 9 characters"],
  [z.iso.date(), "day"],
  [z.int(), "integer"],
  [z.int().min(0).nullable(), "integer, at least 0 or null"],
  [z.number().min(0).max(100), "number, 0 to 100"],
  [z.enum(["a", "b"]), "`a`, `b`"],
  [z.literal(1), "`1`"],
  [z.array(z.boolean()).max(3), "list of boolean; at most 3 items"],
  [z.looseObject({ a: z.string(), b: z.string() }), "object `{a, b}`"],
  [z.record(z.string(), z.number()), "object of number"],
  [z.json(), "any JSON"],
  [z.unknown(), "any JSON"],
])("field type %# has a short description", (schema, words) => {
  expect(fieldType(z.toJSONSchema(schema, { io: "input" }))).toBe(words);
});
