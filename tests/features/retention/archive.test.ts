import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { directoryArchive } from "../../../shared/adapters/directory-archive.ts";
import { storageArchive } from "../../../shared/adapters/storage-archive.ts";
import { verifyArchive } from "../../../shared/features/audit/archive.ts";
import type { Archive } from "../../../shared/kernel/archive.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { nodeFiles } from "../../support/files.ts";
import { temporaryPrefix } from "../../support/interrupted.ts";
import { cleanup, DAY_MS, log, program, seqs, taskOf } from "../../support/retention.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
let directory: string;
const closing: (() => Promise<unknown>)[] = [];
beforeAll(async () => {
  context = await openTestContext();
  directory = await mkdtemp(temporaryPrefix("archive"));
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
afterAll(async () => {
  await context.close();
  await rm(directory, { recursive: true });
});

const KEY = "a signing key of at least 32 characters";
const KEYS = { auditKey: KEY, previousAuditKey: null };
const SERVICE_KEY = "the service role key";

/** A tenant with `old` entries past a policy of 30 days that archives them, and one young entry. */
async function chainOf(archive: Archive, old: number): Promise<string> {
  const { id } = await context.tenant();
  await log(context, id, old - 1);
  context.clock.advance(31 * DAY_MS);
  await log(context, id, 1);
  const { RetentionService } = await program(context, { archive });
  await RetentionService.upsert("archived", { type: "audit-entry", retentionDays: 30, action: "archive", enabled: true, tenantId: id });
  return id;
}

const clean = async (archive: Archive) => await cleanup(await program(context, { archive, auditKey: KEY }));
const namesOf = async (id: string) => (await readdir(join(directory, "audit", id))).sort();
const verify = async (id: string, keys = KEYS) =>
  await verifyArchive((await namesOf(id)).map((name) => `audit/${id}/${name}`), (path) => readFile(join(directory, path)), keys);

/** Supabase Storage as far as an upload goes: service key, upsert, 400 for a bucket that does not exist. */
async function storage(
  answer: (request: IncomingMessage, response: ServerResponse, nth: number) => boolean = () => false,
  timeoutMs = 5_000,
) {
  const objects = new Map<string, Buffer>();
  let nth = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (answer(request, response, ++nth)) return;
      const [, bucket = "", path = ""] = /^\/storage\/v1\/object\/([^/]+)\/(.+)$/.exec(request.url ?? "") ?? [];
      const send = (status: number, body: object) =>
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      const name = decodeURIComponent(path);
      if (request.method !== "POST" || request.headers.authorization !== `Bearer ${SERVICE_KEY}`) {
        return send(400, { error: "Unauthorized" });
      }
      if (bucket !== "audit-archive") return send(400, { statusCode: "404", error: "Bucket not found" });
      if (!/^(\w|\/|!|-|\.|\*|'|\(|\)| |&|\$|@|=|;|:|\+|,|\?)*$/.test(name)) return send(400, { error: "InvalidKey" });
      if (objects.has(name) && request.headers["x-upsert"] !== "true") return send(400, { statusCode: "409", error: "Duplicate" });
      objects.set(name, Buffer.concat(chunks));
      return send(200, { Key: `${bucket}/${name}` });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const archiveOf = (bucket = "audit-archive", key = SERVICE_KEY) => storageArchive({ url, key, bucket, fetch, timeoutMs });
  return { objects, archiveOf, calls: () => nth };
}

describe("an archived chain", () => {
  test("A17: is written before it is deleted: the entries as they were and the signed checkpoint, which verify from file to file", async () => {
    const archive = directoryArchive(nodeFiles, directory);
    const id = await chainOf(archive, 700);
    const before = await context.auditOf(id);
    await clean(archive);
    expect(await namesOf(id)).toEqual(["1-500.ndjson.gz", "501-700.ndjson.gz"]);
    const lines = await Promise.all(
      (await namesOf(id)).map(async (name) =>
        gunzipSync(await readFile(join(directory, "audit", id, name))).toString().trimEnd().split("\n").map((line) =>
          JSON.parse(line) as JsonObject
        )
      ),
    );
    expect(lines.flatMap((file) => file.slice(0, -1))).toEqual(before.slice(0, 700));
    expect(lines.map((file) => file.at(-1))).toMatchObject([{ kind: "base", seq: 500 }, {
      kind: "base",
      seq: 700,
      signature: expect.any(String) as unknown,
    }]);
    const { hash } = before[699] as { readonly hash: string };
    expect(await verify(id)).toEqual({ ok: true, scope: id, files: 2, from: 1, to: 700, hash });
    expect(await verify(id, { auditKey: "another key of at least 32 characters", previousAuditKey: null })).toMatchObject({ ok: false });
    expect(await seqs(context, id)).toEqual([701]);
    expect(await (await program(context, { auditKey: KEY })).AuditService.verify(id)).toMatchObject({ ok: true, deletedTo: 700 });
    // The archive goes on where it ended.
    context.clock.advance(31 * DAY_MS);
    await log(context, id, 1);
    await clean(archive);
    expect(await verify(id)).toMatchObject({ ok: true, files: 3, to: 701 });
  });

  test("A17: shows what was changed in it, and what is missing", async () => {
    const archive = directoryArchive(nodeFiles, directory);
    const id = await chainOf(archive, 3);
    await clean(archive);
    for (let i = 0; i < 2; i++) {
      await log(context, id, 2);
      context.clock.advance(31 * DAY_MS);
      await log(context, id, 1);
      await clean(archive);
    }
    const names = await namesOf(id);
    expect(names.length).toBeGreaterThanOrEqual(3);
    expect((await verify(id)).ok).toBe(true);
    const path = join(directory, "audit", id, names[1] ?? "");
    const bytes = await readFile(path);
    const [first = "", ...rest] = gunzipSync(bytes).toString().trimEnd().split("\n");
    const changed = first.replace("room.opened", "room.closed");
    expect(changed).not.toBe(first);
    const cases = [[changed, ...rest], rest, [first, ...rest.slice(0, -1)], [first, ...rest.slice(1)], ["{"], []];
    for (const lines of cases) {
      await writeFile(path, gzipSync(lines.map((line) => `${line}\n`).join("")));
      expect(await verify(id)).toMatchObject({ ok: false, firstBroken: { path: expect.stringContaining(names[1] ?? "") as unknown } });
    }
    for (const wrong of [bytes.subarray(0, 20), Buffer.from("no gzip")]) {
      await writeFile(path, wrong);
      expect(await verify(id)).toMatchObject({ ok: false });
    }
    await rm(path);
    expect(await verify(id)).toMatchObject({ ok: false, firstBroken: { reason: expect.stringContaining("missing") as unknown } });
    await writeFile(path, bytes);
    expect((await verify(id)).ok).toBe(true);
  });

  test("A17: has the same path when a run that was killed after the upload is repeated", async () => {
    const { objects, archiveOf } = await storage();
    const id = await chainOf(archiveOf(), 5);
    const killed = new Proxy(context.store, {
      get(target, name) {
        const member = Reflect.get(target, name) as unknown;
        if (name !== "commit") return typeof member === "function" ? (member as () => unknown).bind(target) : member;
        return async (...args: Parameters<typeof target.commit>) => {
          if (args[1].some((each) => each.op === "purgeChain" && each.scope === id)) return await new Promise(() => undefined);
          return await target.commit(...args);
        };
      },
    });
    void (await program(context, { store: killed, archive: archiveOf(), auditKey: KEY })).RetentionService.run();
    await expect.poll(() => [...objects.keys()].filter((name) => name.includes(id)), { timeout: 20_000 }).toHaveLength(1);
    expect(await seqs(context, id)).toHaveLength(6);
    await clean(archiveOf());
    expect([...objects.keys()].filter((name) => name.includes(id))).toEqual([`audit/${id}/1-5.ndjson.gz`]);
    expect(await seqs(context, id)).toEqual([6]);
  });
});

describe("an upload that fails", () => {
  const failures: Readonly<Record<string, Parameters<typeof storage>[0]>> = {
    "status 403": (_, response) => !!response.writeHead(403).end('{"error":"denied"}'),
    "status 500": (_, response) => !!response.writeHead(500).end("x".repeat(5_000)),
    "no response": () => true,
    "a response that hangs in its body": (_, response) => (response.writeHead(200).write("{"), true),
    "a closed connection": (request) => !!request.socket.destroy(),
  };

  test.each(Object.entries(failures))("A17: deletes nothing, is the error of the task, and the next run goes on: %s", async (_, answer) => {
    let isBroken = true;
    const { objects, archiveOf } = await storage((...args) => isBroken && (answer?.(...args) ?? false), 500);
    const id = await chainOf(archiveOf(), 4);
    expect(taskOf(await clean(archiveOf()), "audit-entry")).toMatchObject({ error: "archive_unavailable" });
    expect(await seqs(context, id)).toHaveLength(5);
    isBroken = false;
    expect(taskOf(await clean(archiveOf()), "audit-entry")).toMatchObject({ error: null });
    expect(await seqs(context, id)).toEqual([5]);
    expect(objects.has(`audit/${id}/1-4.ndjson.gz`)).toBe(true);
  });

  test("A17: to a bucket that does not exist, with a wrong key, or to a directory that cannot be written", async () => {
    const { archiveOf } = await storage();
    const wrong = [archiveOf("none"), archiveOf("audit-archive", "wrong"), directoryArchive(nodeFiles, join("/dev/null", "archive"))];
    const id = await chainOf(archiveOf(), 4);
    for (const archive of wrong) {
      expect(taskOf(await clean(archive), "audit-entry")).toMatchObject({ error: "archive_unavailable" });
      expect(await seqs(context, id)).toHaveLength(5);
    }
    const none = await cleanup(await program(context, { auditKey: KEY }));
    expect(taskOf(none, "audit-entry")).toMatchObject({ error: "archive_unavailable" });
    expect(await seqs(context, id)).toHaveLength(5);
  });
});

test("A17: the platform's chain and ids with every character have names that Storage accepts", async () => {
  const { objects, archiveOf } = await storage();
  await archiveOf().put("audit/a=7Eb@c+d/1-2.ndjson.gz", new Uint8Array([1]));
  expect([...objects.keys()]).toEqual(["audit/a=7Eb@c+d/1-2.ndjson.gz"]);
  const id = "a~b@c+d.e";
  await context.tenant({ id });
  await log(context, id, 3);
  context.clock.advance(31 * DAY_MS);
  await log(context, id, 1);
  const { RetentionService } = await program(context, { archive: archiveOf() });
  await RetentionService.upsert("archived", { type: "audit-entry", retentionDays: 30, action: "archive", enabled: true });
  await clean(archiveOf());
  const read = (path: string) => Promise.resolve(objects.get(path) ?? new Uint8Array());
  for (const folder of ["audit/a=7Eb@c+d.e/", "audit/global/"]) {
    const paths = [...objects.keys()].filter((name) => name.startsWith(folder));
    expect(await verifyArchive(paths, read, KEYS)).toMatchObject({ ok: true, from: 1, scope: folder.includes("global") ? "global" : id });
  }
});
