import { createHash } from "node:crypto";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { unzipSync } from "fflate";
import { describe, expect, test } from "vitest";
import { exportRun } from "../../../shared/features/compliance/entity.ts";
import { exportedEntities } from "../../../shared/features/compliance/export.ts";
import { storedFile } from "../../../shared/features/files/entity.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { Container } from "../../../shared/container.ts";
import { useApi } from "../../http/support/api.ts";
import { fullTenant, processWith } from "./support.ts";

const api = useApi();
const compliance = () => api.services.ComplianceService;

interface ManifestPart {
  readonly type: string;
  readonly file: string;
  readonly records: number;
  readonly bytes: number;
  readonly sha256: string;
  readonly schema: object;
}
interface Manifest {
  readonly requestId: string;
  readonly asOf: { readonly from: string; readonly to: string };
  readonly parts: readonly ManifestPart[];
  readonly failed: readonly { readonly type: string; readonly error: string }[];
}

/** The files of a downloaded archive by name. */
async function archive(tenantId: string, id: string) {
  const reply = await compliance().download(tenantId, id);
  const files = unzipSync(new Uint8Array(await new Response(reply?.content).arrayBuffer()));
  const text = (name: string) => new TextDecoder().decode(files[name]);
  return { files, text, manifest: JSON.parse(text("manifest.json")) as Manifest };
}

async function exported(tenantId: string, options: object = {}) {
  const { id } = await compliance().createRequest(tenantId, "export", "user-1", "ada@innkeep.example", options);
  const done = await compliance().process(id);
  expect(done).toMatchObject({ status: "completed", progress: 100 });
  return { id, done, ...await archive(tenantId, id) };
}

describe("an export", () => {
  test("C04: has every exported kind with as many records as the store, their SHA-256 and schemas, and no secret", async () => {
    const tenantId = await fullTenant(api);
    const { files, text, manifest, id, done } = await exported(tenantId);
    const work = (api.container as Container).bind(systemContext(api.clock));
    const kinds = await exportedEntities(work);
    expect(manifest.parts.map(({ type }) => type)).toEqual(kinds.map(({ name }) => name));
    const ajv = addFormats.default(new Ajv2020({ strict: false }));
    for (const { type, file, records, bytes, sha256, schema } of manifest.parts) {
      const content = files[file] ?? new Uint8Array();
      expect([content.length, createHash("sha256").update(content).digest("hex")], type).toEqual([bytes, sha256]);
      const lines = text(file).split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as JsonObject);
      const entity = kinds.find(({ name }) => name === type);
      // The entries of the completion and of the download came after the part, and the notification of the completion.
      const added = { "audit-entry": 2, notification: 1 }[type] ?? 0;
      expect([type, lines.length, records + added]).toEqual([
        type,
        records,
        entity && await api.open.store.count({ entity, scope: tenantId }),
      ]);
      for (const line of lines) expect(ajv.validate(schema, line), `${type}: ${ajv.errorsText()}`).toBe(true);
    }
    expect(manifest).toMatchObject({ requestId: id, failed: [], asOf: done?.asOf });
    const everything = Object.keys(files).map(text).join("");
    for (const secret of ["secret-token-4711", "ciphertext", "wrappedKey", "whsec_"]) expect(everything).not.toContain(secret);
    expect(text("webhook.ndjson")).toContain("https://hooks.example/innkeep");
    expect(await api.open.store.count({ entity: exportRun, scope: tenantId })).toBe(0);
  });

  test("C04: contains the asked kinds only, as NDJSON, JSON or CSV, in which no cell is a formula", async () => {
    const tenantId = await fullTenant(api);
    const dataTypes = ["invoice", "usage-record"];
    const json = await exported(tenantId, { dataTypes, format: "json" });
    expect(Object.keys(json.files).sort()).toEqual(["invoice.json", "manifest.json", "usage-record.json"]);
    const usage = JSON.parse(json.text("usage-record.json")) as JsonObject[];
    expect(usage.length).toBe(json.manifest.parts.find(({ type }) => type === "usage-record")?.records);
    const csv = await exported(tenantId, { dataTypes: ["flag-override", "invoice"], format: "csv" });
    const [header, row] = csv.text("invoice.csv").split("\r\n");
    expect(header).toMatch(/^id,tenantId,.*,otherMembers$/);
    expect(row).toContain("=SUM(A1)");
    expect(row).not.toMatch(/(^|,)"?=/);
    expect(csv.text("flag-override.csv").split("\r\n")).toHaveLength(2);
  });

  test("C04: of more records than a page has each of them once, in every format", async () => {
    const { id: tenantId } = await api.tenant();
    const times = Array.from({ length: 450 }, (_, i) => i);
    await api.open.store.mset(
      times.map((i) => {
        const at = api.clock.iso(i);
        const id = `movement:${tenantId}:${at}:a1b2c3d4e5f6`;
        return [id, { id, tenantId, month: "2026-03", kind: "expansion", amount: 1, timestamp: at }] as const;
      }),
      { tenantId },
    );
    for (const format of ["ndjson", "json", "csv"] as const) {
      const { manifest, text } = await exported(tenantId, { dataTypes: ["movement"], format });
      expect(manifest.parts[0]?.records).toBe(451);
      const ids = [...text(`movement.${format}`).matchAll(/movement:tn_[^",]+/g)].map(([id]) => id);
      expect(new Set(ids).size).toBe(451);
      if (format === "json") expect(JSON.parse(text("movement.json"))).toHaveLength(451);
    }
  });

  test("C04: refuses kinds that no export contains, and options of another type", async () => {
    const { id } = await api.tenant();
    const refused = async (type: "export" | "restriction", options: object) =>
      await compliance().createRequest(id, type, "user-1", undefined, options).catch((error: InnkeepError) => error.fields);
    expect(await refused("export", { dataTypes: ["subscription", "stored-file"] })).toMatchObject([{
      path: "/dataTypes/1",
      code: "unknown_type",
    }]);
    expect(await refused("restriction", { format: "csv" })).toMatchObject([{ path: "/format", code: "not_applicable" }]);
  });

  test("C13: leaves out a part that fails, says so, and completes with the others", async () => {
    const { id: tenantId } = await api.tenant();
    const { id } = await compliance().createRequest(tenantId, "export", "user-1", undefined, { dataTypes: ["invoice", "subscription"] });
    const services = await processWith(api, "query", (query) => {
      if (query.entity.name === "invoice") throw new InnkeepError("internal", "damaged");
      return api.open.store.query(query);
    });
    const done = await services.ComplianceService.process(id);
    const parts = done?.parts?.toSorted((a, b) => a.type < b.type ? -1 : 1);
    expect(parts).toEqual([{ type: "invoice", records: 0, error: "internal" }, { type: "subscription", records: 1 }]);
    const { files, manifest } = await archive(tenantId, id);
    expect(Object.keys(files).sort()).toEqual(["manifest.json", "subscription.ndjson"]);
    expect(manifest.failed).toEqual([{ type: "invoice", error: "internal" }]);
  });

  test("C07: goes on after a crash at any of its commits, and counts nothing twice", async () => {
    const { id: tenantId } = await api.tenant();
    const { id } = await compliance().createRequest(tenantId, "export", "user-1", undefined, { dataTypes: ["subscription", "tenant"] });
    let crashes = 0;
    for (let status = ""; status !== "completed";) {
      let commits = 0;
      const services = await processWith(api, "commit", async (checks, mutations) => {
        if (++commits > 1) throw new InnkeepError("commit_unknown", "The process has ended.");
        return await api.open.store.commit(checks, mutations);
      });
      await services.ComplianceService.process(id).catch((error: InnkeepError) => expect(error.code).toBe("commit_unknown"));
      status = (await compliance().get(id))?.status ?? "";
      crashes++;
    }
    expect(crashes).toBeGreaterThanOrEqual(7);
    expect((await archive(tenantId, id)).manifest.parts.map(({ records }) => records)).toEqual([1, 1]);
    expect(await api.open.store.count({ entity: storedFile, scope: tenantId })).toBe(4);
  });
});
