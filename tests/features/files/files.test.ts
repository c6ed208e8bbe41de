import { createHash, randomBytes } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { Collection } from "../../../shared/core/collection.ts";
import { loadIds } from "../../../shared/kernel/ids.ts";
import { appended, contentOf, creationOf, deletionOf, newFile } from "../../../shared/features/files/content.ts";
import { fileChunk, type StoredFile, storedFile } from "../../../shared/features/files/entity.ts";
import { linkTo } from "../../../shared/features/files/links.ts";
import { useApi } from "../../http/support/api.ts";

const api = useApi();
beforeAll(loadIds);

const EXPIRES_IN_MS = 7 * 86_400_000;
const work = () => api.container.bind({ actor: { type: "system", id: "job" }, tenantId: null, requestId: "req", clock: api.clock });
const bytes = (text: string) => new TextEncoder().encode(text);
const incompressible = (length: number) => new Uint8Array(randomBytes(length));

async function write(tenantId: string | undefined, parts: readonly Uint8Array<ArrayBuffer>[]): Promise<StoredFile> {
  const expiresAt = new Date(api.clock.now() + EXPIRES_IN_MS).toISOString();
  const first = creationOf(work(), newFile(work(), { name: "log.ndjson", mediaType: "application/x-ndjson", expiresAt, tenantId }));
  expect(await api.open.store.commit(first.checks, first.mutations)).toMatchObject({ ok: true });
  for (const [i, part] of parts.entries()) {
    const step = await appended(work(), await read(first.file), part, { isLast: i === parts.length - 1 });
    expect(await api.open.store.commit(step.checks, step.mutations)).toMatchObject({ ok: true });
  }
  return await read(first.file);
}

async function read(file: StoredFile) {
  const files = new Collection(storedFile, api.open.store);
  const found = await files.get(files.keyOfRecord(file));
  if (!found) throw new Error("no file");
  return found;
}

async function whole(file: StoredFile): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of contentOf(api.open.store, file)) parts.push(part);
  return Buffer.concat(parts);
}

describe("a stored file", () => {
  test("C04: that was written in steps has the bytes of all steps and their SHA-256", async () => {
    const parts = [incompressible(400_000), bytes("x".repeat(900_000)), new Uint8Array(0), incompressible(2_400 * 1_024)];
    const file = await write(undefined, parts);
    const all = Buffer.concat(parts);
    expect(file).toMatchObject({ bytes: all.length, sha256: createHash("sha256").update(all).digest("hex") });
    expect((await whole(file)).equals(all)).toBe(true);
  });

  test("C07: takes a step that is repeated after a crash only once", async () => {
    const { id: tenantId } = await api.tenant();
    const before = await write(tenantId, [bytes("first\n"), bytes("second\n")]);
    const open = { ...before, version: (await read(before)).version };
    const step = await appended(work(), open, bytes("third\n"));
    expect(await api.open.store.commit(step.checks, step.mutations)).toMatchObject({ ok: true });
    expect(await api.open.store.commit(step.checks, step.mutations)).toMatchObject({ ok: false });
    expect(String(await whole(await read(before)))).toBe("first\nsecond\nthird\n");
  });

  test("C05: is deleted with all its content", async () => {
    const { id: tenantId } = await api.tenant();
    const file = await write(tenantId, [incompressible(1_000_000)]);
    for (const page of deletionOf(work(), file)) await api.open.store.commit([], page);
    expect(file.chunks).toBeGreaterThan(1);
    for (const entity of [storedFile, fileChunk]) expect(await api.open.store.count({ entity, scope: tenantId })).toBe(0);
  });
});

describe("a signed link", () => {
  const link = async (file: StoredFile) => await linkTo(work().platform.secrets, file);

  test("C05: downloads the file without a credential, and the download is audited", async () => {
    const { id: tenantId } = await api.tenant();
    const file = await write(tenantId, [bytes("{}\n")]);
    const answer = await api.send("GET", await link(file));
    expect(answer.status, answer.text).toBe(200);
    expect(answer.text).toBe("{}\n");
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      "content-type": "application/x-ndjson",
      "content-disposition": 'attachment; filename="log.ndjson"',
      "cache-control": "no-store",
    });
    const { data } = await api.services.AuditService.getByResource("stored-file", file.id);
    expect(data).toMatchObject([{ action: "file.downloaded", tenantId, data: { name: "log.ndjson", bytes: 3, sha256: file.sha256 } }]);
  });

  test("C05: with another file, tenant, time or signature is a 404 that names nothing", async () => {
    const [{ id: tenantId }, { id: other }] = [await api.tenant(), await api.tenant()];
    const [file, second] = [await write(tenantId, [bytes("a")]), await write(tenantId, [bytes("b")])];
    const path = await link(file);
    const forged = [
      path.replace(file.id, second.id),
      path.replace(tenantId, other),
      path.replace(`owner=${tenantId}&`, ""),
      path.replace(encodeURIComponent(file.expiresAt), encodeURIComponent("2099-01-01T00:00:00.000Z")),
      path.replace(/signature=.{4}/, "signature=AAAA"),
    ];
    for (const one of forged) {
      expect(one).not.toBe(path);
      const answer = await api.send("GET", one);
      expect([answer.status, answer.body.code]).toEqual([404, "not_found"]);
      expect(answer.body.detail).toBe("There is no such download. Use the link as you got it.");
    }
  });

  test("C05: is refused with 410 from the instant at which it expires", async () => {
    const file = await write(undefined, [bytes("a")]);
    const expired = await link({ ...file, expiresAt: new Date(api.clock.now()).toISOString() });
    const answer = await api.send("GET", expired);
    expect([answer.status, answer.body.code]).toEqual([410, "link_expired"]);
  });
});
