import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import { describe, expect, test } from "vitest";
import { type KnownHead, verifyExport } from "../../shared/features/audit/exported.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import { finish, runLocal } from "../local/stack.ts";
import { temporaryPrefix } from "../support/interrupted.ts";
import { expectProblem, useApi } from "./support/api.ts";

const api = useApi();
const FORMULA = '=HYPERLINK("https://evil.example","x")';

/** The export of a tenant with four entries, one of them with text that a spreadsheet would take for a formula. */
async function exported(accept: string, query = ""): Promise<{ readonly id: string; readonly text: string }> {
  const { id } = await api.tenant();
  for (const name of ["One", "Two", FORMULA]) {
    const headers = { "user-agent": "+49 phone", "x-forwarded-for": "203.0.113.9" };
    await api.send("PATCH", `/v1/tenants/${id}`, { token: api.admin("admin"), json: { name }, headers });
  }
  const answer = await api.send("GET", `/v1/audit/export?tenantId=${id}${query}`, { token: api.admin("support"), headers: { accept } });
  expect(answer.status, answer.text).toBe(200);
  expect(answer.headers.get("content-type")).toBe(accept === "text/csv" ? "text/csv" : "application/x-ndjson");
  return { id, text: answer.text };
}

const linesOf = (text: string) => text.trimEnd().split("\n").map((line) => JSON.parse(line) as JsonObject);

async function verified(entries: readonly JsonObject[], heads: readonly KnownHead[] = []) {
  return await verifyExport(
    (async function* () {
      for (const [i, entry] of entries.entries()) yield await Promise.resolve({ line: i + 1, entry });
    })(),
    heads,
  );
}

describe("an export of the audit log", () => {
  test("A10: keeps seq, prevHash and hash, and a file that was edited, cut or reordered does not verify", async () => {
    const { id, text } = await exported("application/x-ndjson");
    const entries = linesOf(text);
    const [one, two, three, four] = entries as [JsonObject, JsonObject, JsonObject, JsonObject];
    expect(entries.map(({ seq, opened }) => [seq, (opened as JsonObject)["/actor/email"]])).toEqual([
      [1, undefined],
      ...[2, 3, 4].map((seq) => [seq, "admin@innkeep.example"]),
    ]);
    const hash = String(four["hash"]);
    expect(await verified(entries, [{ scope: id, seq: 4, hash }])).toEqual({ chains: [{ scope: id, from: 1, to: 4, hash }] });
    expect(await verified([three, four])).toMatchObject({ chains: [{ from: 3, to: 4 }] });
    const broken = async (given: readonly JsonObject[], heads: readonly KnownHead[] = []) => (await verified(given, heads)).firstBroken;
    const edited = { ...two, changes: { before: {}, after: { name: "Innocent" } } };
    expect(await broken([one, edited, three, four])).toMatchObject({ line: 2, scope: id, reason: "the content does not match the hash" });
    expect(await broken([one, three, four])).toMatchObject({ line: 2, reason: expect.stringContaining("missing") as unknown });
    expect(await broken([one, three, two, four])).toMatchObject({ line: 2 });
    expect(await broken([one, two, three], [{ scope: id, seq: 4, hash }])).toMatchObject({
      reason: "entries 4 to 4 are missing at the end",
    });
    expect(await broken(entries, [{ scope: id, seq: 4, hash: "0".repeat(64) }])).toMatchObject({ line: 4 });
  });

  test("A10: CSV has the same entries, and a cell that a spreadsheet would take for a formula begins with an apostrophe", async () => {
    const { id, text } = await exported("text/csv");
    const rows = parse(text, { columns: true }) as Record<string, string>[];
    expect(text.split("\r\n")[0]).toContain("timestamp,tenantId,seq,action");
    expect(rows.map(({ tenantId, action }) => [tenantId, action])).toEqual([
      [id, "tenant.created"],
      ...[1, 2, 3].map(() => [id, "tenant.updated"]),
    ]);
    expect(rows[3]).toMatchObject({ actorEmail: "admin@innkeep.example", ipAddress: "203.0.113.9", userAgent: "'+49 phone" });
    for (const cell of rows.flatMap((row) => Object.values(row))) expect(cell).not.toMatch(/^[=+\-@\t\r]/);
    expect(await verified(rows.map(({ entry }) => JSON.parse(entry ?? "") as JsonObject))).toMatchObject({ chains: [{ from: 1, to: 4 }] });
  });

  test("A10: npm run verify-export verifies NDJSON and CSV without the database, and finds a changed cell", async () => {
    const [ndjson, csv] = [await exported("application/x-ndjson"), await exported("text/csv")];
    const directory = await mkdtemp(temporaryPrefix("export"));
    const ended = async (name: string, text: string, ...args: readonly string[]) => {
      await writeFile(join(directory, name), text);
      return await finish(runLocal("verify-export", [join(directory, name), ...args]));
    };
    const runs = await Promise.all([
      ended("log.ndjson", ndjson.text),
      ended("log.csv", csv.text),
      ended("changed.csv", csv.text.replace(",tenant.updated,", ",tenant.deleted,")),
      ended("head.ndjson", ndjson.text, "--head", `${ndjson.id}:5:${"0".repeat(64)}`),
    ]);
    await rm(directory, { recursive: true });
    expect(runs.map(({ code }) => code)).toEqual([0, 0, 1, 1]);
    expect(runs[0]?.output).toMatch(new RegExp(`^${ndjson.id}: entries 1 to 4, [0-9a-f]{64}\n$`));
    expect(runs[2]?.output).toContain(`line 3, ${csv.id}: the cells differ from the entry of their row`);
    expect(runs[3]?.output).toContain("entries 5 to 5 are missing at the end");
  });

  test("A10: takes the filters of the list, and shows a tenant's user only its own chain", async () => {
    const { id, text } = await exported("application/x-ndjson", "&action=tenant.created");
    expect(linesOf(text).map(({ action }) => action)).toEqual(["tenant.created"]);
    const { id: other } = await api.tenant();
    const token = await api.user(other, "owner");
    expectProblem(await api.send("GET", `/v1/audit/export?tenantId=${id}`, { token }), 404, "not_found");
    const own = linesOf((await api.send("GET", "/v1/audit/export", { token })).text);
    expect(new Set(own.map(({ tenantId }) => tenantId))).toEqual(new Set([other]));
    expectProblem(await api.send("GET", "/v1/audit/export?limit=5", { token }), 400, "invalid_parameter");
  });
});

test("A12: exports and verifications are audited each time, lists once an hour for each caller and chain, without values of filters", async () => {
  const { id } = await api.tenant();
  const token = await api.user(id, "owner", "reader-1");
  const get = async (path: string) => expect((await api.send("GET", path, { token })).status).toBe(200);
  const noted = async () => {
    const { data } = await api.services.AuditService.list(id, { limit: 100 }, { action: "audit.*" });
    return data.map(({ action, resource, resourceId, userId, data: about }) => [action, resource, resourceId, userId, about]).reverse();
  };
  for (const query of ["", "?actorEmail=secret@person.example", ""]) await get(`/v1/audit${query}`);
  const of = ["audit-log", id, "reader-1"];
  const read = ["audit.read", ...of, { filters: [] }];
  expect(await noted()).toEqual([read]);
  for (const path of ["export?actorEmail=secret@person.example", "export", "verify", "verify"]) await get(`/v1/audit/${path}`);
  const exports = [["userEmail"], []].map((filters) => ["audit.exported", ...of, { format: "application/x-ndjson", filters }]);
  const checks = [4, 5].map((checked) => ["audit.verified", ...of, { ok: true, checked }]);
  expect(await noted()).toEqual([read, ...exports, ...checks]);
  api.clock.advance(3_600_000);
  const later = await api.user(id, "owner", "reader-1");
  expect((await api.send("GET", "/v1/audit", { token: later })).status).toBe(200);
  expect(await noted()).toEqual([read, ...exports, ...checks, read]);
});
