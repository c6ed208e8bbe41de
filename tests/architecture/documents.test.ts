import { describe, expect, test } from "vitest";
import { dataMapDocument, dataModelDocument, errorsDocument } from "../../shared/core/documents.ts";
import { loadJobs } from "../../shared/features/index.ts";
import { registry } from "../../shared/features/registry.ts";
import { ERROR_KINDS } from "../../shared/kernel/errors.ts";
import { declaredBy, NOTHING_DECLARED, schemaChanges } from "../../shared/kv/declared.ts";
import { indexesOf, personFieldsOf } from "../../shared/kv/define.ts";
import { servicesDocument } from "../guide/services-page.ts";
import { filesBelow, read } from "./sources.ts";

const declarations = schemaChanges(NOTHING_DECLARED, declaredBy(registry), new Map(registry.map(({ name, summary }) => [name, summary])));

describe("documents", () => {
  test.each([
    ["docs/data-model.md", "npm run docs", dataModelDocument(registry)],
    ["docs/data-map.md", "npm run docs", dataMapDocument(registry)],
    ["docs/errors.md", "npm run docs", errorsDocument()],
    ["docs/services.md", "npm run docs", servicesDocument()],
    ["supabase/schemas/95_declared.sql", "npm run schema", `-- Written by \`npm run schema\` from the declarations.\n\n${declarations}\n`],
  ])("%s is fresh (else: %s)", (path, _, text) => {
    expect(read(path)).toBe(text);
  });

  test("docs/jobs.md lists every job with its interval", async () => {
    const jobs = await loadJobs();
    const rows = [...read("docs/jobs.md").matchAll(/^\| `([a-z-]+)` \| (\d+) (min|h) \|/gm)];
    const listed = rows.map(([, name, count, unit]) => `${name} ${Number(count) * (unit === "h" ? 3_600 : 60)}`);
    expect(listed.sort()).toEqual(jobs.map(({ name, everySeconds }) => `${name} ${everySeconds}`).sort());
  });

  test("C20: the data map has the personal fields of every entity, and names every other entity", () => {
    const page = read("docs/data-map.md");
    expect(page).toContain("| [tenant](data-model.md#tenant) | `owner` | personal |");
    expect(page).toContain("| [audit-entry](data-model.md#audit-entry) | `ipAddress` | personal |");
    expect(registry.filter(({ name }) => !page.includes(name)).map(({ name }) => name)).toEqual([]);
  });

  test("C20: every field that is called like an email address, a person's name or an address is declared as personal", () => {
    const isPersonal = /^(owner|.*[eE]mail|.*[iI]p|ipAddress|userAgent|firstName|lastName|.*OwnerName|phone.*)$/;
    const undeclared = registry.flatMap((entity) =>
      Object.keys(entity.schema.shape as object).filter((field) => isPersonal.test(field) && !entity.personal?.includes(field)).map((
        field,
      ) => `${entity.name}.${field}`)
    );
    // The address of the platform's own support is public.
    expect(undeclared).toEqual(["platform-settings.supportEmail"]);
  });

  test("C11: every field that is called like the id of a user finds the records of that person by an index", () => {
    const isPerson = /^(userId|.*UserId|.*By|actor|.*[uU]sers)$/;
    const undeclared = registry.flatMap((entity) =>
      Object.keys(entity.schema.shape as object).filter((field) => isPerson.test(field) && !personFieldsOf(entity).userIds.includes(field))
        .map((field) => `${entity.name}.${field}`)
    );
    // The id of an actor is in `userId` too, and that of an addressee in `subject`. Notifications are deleted a day after they expire.
    const known = ["audit-entry.actor", "connector-event.actor", "email-address.userId", "notification.targetUsers"];
    expect(undeclared.sort()).toEqual(known);
    const fields = registry.flatMap((entity) => Object.values(personFieldsOf(entity)).flat().map((field: string) => ({ entity, field })));
    expect(fields.filter(({ entity, field }) => !indexesOf(entity).some(([first]) => first === field))).toEqual([]);
  });

  test("every link between the pages has a target", () => {
    const pages = ["README.md", ...filesBelow("docs").filter((path) => path.endsWith(".md"))];
    const broken = pages.flatMap((page) => {
      const folder = page.includes("/") ? page.slice(0, page.lastIndexOf("/") + 1) : "";
      return [...read(page).matchAll(/\]\(([\w./-]+)(#[\w-]+)?\)/g)].map(([, target]) => `${folder}${target}`).filter((target) =>
        !exists(target)
      ).map((target) => `${page}: ${target}`);
    });
    expect(broken).toEqual([]);
  });

  test("every file and folder that the pages name exists", () => {
    const pages = ["README.md", "docs/architecture.md", "docs/adding-an-entity.md", "docs/operations.md", "docs/frontend.md"];
    const named = pages.flatMap((page) =>
      [...read(page).matchAll(/`((?:shared|functions|supabase|tests|docs)\/[\w./-]+)`/g)].map(([, path]) => `${page}: ${path}`)
    );
    expect(named.filter((mention) => !exists(mention.replace(/^.*: /, "").replace(/\/$/, "")))).toEqual([]);
  });

  test("every error code that the on-call page names exists", () => {
    const named = [...read("docs/operations.md").matchAll(/`([a-z]+_[a-z_]+)`/g)].map(([, code]) => code ?? "");
    const others = new Set([
      "super_admin",
      "app_metadata",
      "user_metadata",
      ...ROLES,
      ...SERVER_PROGRAMS,
      ...SERVER_SETTINGS,
      ...LOG_NAMES,
    ]);
    expect(named.filter((code) => !Object.hasOwn(ERROR_KINDS, code) && !others.has(code))).toEqual([]);
  });
});

/** Names on the server that look like error codes. */
const ROLES = ["service_role", "innkeep_owner", "innkeep_app", "kv_service", "kv_tenant", "kv_retention", "pg_read_all_stats"];
const SERVER_PROGRAMS = ["pg_trgm", "pg_dump"];
const SERVER_SETTINGS = ["statement_timeout", "default_transaction_isolation"];
/** A code and an event that only the log has. */
const LOG_NAMES = ["client_closed_request", "rate_limits_unavailable", "request_failed", "usage_not_settled"];

const everything = new Set(
  ["docs", "functions", "shared", "supabase", "tests"].flatMap((folder) => filesBelow(folder)).concat("README.md"),
);

function exists(path: string): boolean {
  return everything.has(path) || [...everything].some((file) => file.startsWith(`${path}/`));
}
