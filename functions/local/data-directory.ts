import { randomBytes } from "node:crypto";
import { chmod, link, mkdtemp, readdir, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import type { JWK } from "jose";
import { z } from "zod";
import { handOver, isRoot, makeDirectory } from "./accounts.ts";
import { ROOT_KEY_BYTES } from "../../shared/core/root-keys.ts";
import { createSigningKey } from "./tokens.ts";
import { isRunning } from "./processes.ts";
import { Refusal } from "./refusal.ts";
import { clusterPath, holdsCluster, removeOutside } from "./server-home.ts";

export const POSTGRES_MAJOR = 18;
const FORMAT = 1;
const MARKER = "innkeep.json";
const LOCK = "start.pid";
/** Part of the command line of every process that can hold the lock. */
const HOLDER = "functions/local/";

/** The state of the directory. It contains no secrets. */
const markerSchema = z.object({
  format: z.number(),
  postgres: z.number(),
  /** The port of the last run. It is used again if it is free, so that saved connections keep working. */
  postgresPort: z.number().optional(),
  /** Set when seeding is complete. Contains the demo tenant, if there is one. */
  seeded: z.object({ tenantId: z.string().nullable() }).optional(),
});
export type Marker = z.output<typeof markerSchema>;

const jwk = z.custom<JWK>((value) => typeof value === "object" && value !== null && "kty" in value);
const secretsSchema = z.object({
  superuserPassword: z.string().min(1),
  ownerPassword: z.string().min(1),
  appPassword: z.string().min(1),
  jobsSecret: z.string().min(1),
  /** These are absent in directories of earlier versions until the next start. */
  apiKeySecret: z.string().min(32).optional(),
  rootKey: z.string().min(1).optional(),
  signingKey: z.object({ kid: z.string(), privateJwk: jwk, publicJwk: jwk }),
});
export type Secrets = z.output<typeof secretsSchema>;

const token = z.string().nullable();
/** `DIR/local.json`: addresses and tokens for people, tests and frontends. */
const infoSchema = z.object({
  url: z.url(),
  /** The URL of the superuser, for inspection. */
  databaseUrl: z.string(),
  jobsSecret: z.string(),
  /** Null without a demo tenant. */
  tokens: z.object({
    superAdmin: token,
    admin: token,
    support: token,
    readOnly: token,
    tenantOwner: token,
    tenantStaff: token,
    tenantViewer: token,
  }),
  tenantId: z.string().nullable(),
});
export type LocalInfo = Readonly<z.output<typeof infoSchema>>;

/** The private files, and what to do if one is damaged. */
const FILES = {
  "innkeep.json": { schema: markerSchema, advice: "restore it from a backup, or move the whole directory away to start with a new one" },
  "secrets.json": { schema: secretsSchema, advice: "restore it from a backup, or move the whole directory away to start with a new one" },
  "local.json": { schema: infoSchema, advice: "delete it; the next npm start writes it again" },
} as const;

export type TokenName = keyof LocalInfo["tokens"];

export interface DataDirectory {
  readonly path: string;
  readonly secrets: Secrets;
  readonly marker: Marker;
  updateMarker(change: Partial<Marker>): Promise<void>;
  writeInfo(info: LocalInfo): Promise<void>;
  /** Writes a small file of the running stack, such as a process id. */
  writeNote(name: string, text: string): Promise<void>;
  /** Releases the lock. Removes the directory if it is temporary, or if this start created it but no database in it. */
  release(): Promise<void>;
}

export async function temporaryDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "innkeep-"));
  await chmod(path, directoryMode());
  return path;
}

/** Root runs PostgreSQL as another user, who must be able to enter the directory. */
function directoryMode(): number {
  return isRoot() ? 0o755 : 0o700;
}

/** Opens or creates a data directory and locks it. Refuses one that is in use, of another version or not Innkeep's, unchanged. */
export async function openDataDirectory(path: string, options: { readonly removeAtEnd?: boolean } = {}): Promise<DataDirectory> {
  const firstMade = await makeDirectory(path, directoryMode()).catch((error: Error) => {
    throw new Refusal(`${path} cannot be used as the data directory (${error.message}): choose another with --data`);
  });
  let marker = await readMarker(path);
  if (marker && options.removeAtEnd) {
    throw new Refusal(`--ephemeral removes its data directory at the end, and ${path} contains data: choose an empty directory`);
  }
  const found = await readSecrets(path);
  if (!found && await holdsCluster(path)) {
    throw new Refusal(`${path} contains a database, but not its secrets.json: ${FILES["secrets.json"].advice}`);
  }
  await lock(path);
  let isUsed = marker !== null;
  marker ??= await writeMarker(path, { format: FORMAT, postgres: POSTGRES_MAJOR });
  const secrets = await completeSecrets(path, found);
  return {
    path,
    secrets,
    get marker() {
      return marker as Marker;
    },
    async updateMarker(change) {
      isUsed ||= change.seeded !== undefined;
      marker = await writeMarker(path, { ...marker as Marker, ...change });
    },
    async writeInfo(info) {
      isUsed = true;
      await writePrivate(path, "local.json", info);
    },
    writeNote: (name, text) => writeWhole(path, name, text),
    async release() {
      if (options.removeAtEnd) await removeAll(path);
      else if (!isUsed && !await holdsCluster(path)) await undo(path, firstMade);
      else await rm(join(path, LOCK), { force: true });
    },
  };
}

async function removeAll(path: string): Promise<void> {
  await removeOutside(path);
  await rm(path, { recursive: true, force: true });
}

/** Removes the files and directories that a failed start created. */
async function undo(path: string, firstMade: string | undefined): Promise<void> {
  await removeOutside(path);
  for (const name of await readdir(path)) {
    if (name in FILES || name === LOCK || name.startsWith("programs-")) await rm(join(path, name), { recursive: true, force: true });
  }
  for (let folder = path; firstMade !== undefined && folder.length >= firstMade.length; folder = dirname(folder)) {
    if ((await readdir(folder)).length > 0) return;
    await rmdir(folder);
  }
}

/** Reads the directory without locking it, for commands beside a running stack. */
export async function peekDataDirectory(
  path: string,
): Promise<{ readonly secrets: Secrets; readonly info: LocalInfo | null; readonly running: boolean }> {
  const secrets = await readdir(path).then(() => readSecrets(path), ignoreMissing);
  if (!secrets) throw new Refusal(`${path} is not an Innkeep data directory yet: run npm start first, or choose another with --data`);
  return { secrets, info: await readPrivate(path, "local.json"), running: await holderOf(path) !== null };
}

/** Returns null for a new directory. */
async function readMarker(path: string): Promise<Marker | null> {
  const names = await readdir(path);
  const marker = names.includes(MARKER) ? await readPrivate(path, MARKER) : null;
  if (!marker) {
    const foreign = names.filter((name) => name !== LOCK && !name.startsWith(`${LOCK}.`) && !name.startsWith(`${MARKER}.`));
    if (foreign.length === 0) return null;
    throw new Refusal(
      `${path} is not an Innkeep data directory and not empty (it contains ${foreign.slice(0, 3).join(", ")}): choose another with --data`,
    );
  }
  const version = (await readFile(join(await clusterPath(path), "PG_VERSION"), "utf8").catch(() => String(marker.postgres))).trim();
  if (marker.format > FORMAT) {
    throw new Refusal(`${path} was created by a newer version of Innkeep: use that version, or choose another directory with --data`);
  }
  if (marker.format < FORMAT || Number(version) !== POSTGRES_MAJOR) {
    throw new Refusal(
      `${path} contains data of PostgreSQL ${version}, and this version of Innkeep runs ${POSTGRES_MAJOR}. ` +
        `To start with new data, move it away (mv ${path} ${path}.old). To keep the data, dump it with the version that created it and restore it here.`,
    );
  }
  return marker;
}

async function writeMarker(path: string, marker: Marker): Promise<Marker> {
  await writePrivate(path, MARKER, marker);
  return marker;
}

async function lock(path: string): Promise<void> {
  const draft = join(path, `${LOCK}.${process.pid}`);
  try {
    // The file is linked when complete, so that another start never reads a lock without a process id.
    await writeFile(draft, String(process.pid), { mode: 0o600 });
    await handOver(draft, path);
    await claim(path, draft);
  } finally {
    await rm(draft, { force: true });
  }
}

async function claim(path: string, draft: string): Promise<void> {
  for (;;) {
    try {
      return await link(draft, join(path, LOCK));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = await holderOf(path);
    if (holder !== null) {
      const info = await readPrivate(path, "local.json").catch(() => null);
      throw new Refusal(
        `${path} is in use by another start (process ${holder}${
          info ? `, ${info.url}` : ""
        }): stop it, or choose another directory with --data`,
      );
    }
    await rm(join(path, LOCK), { force: true }); // Its process was killed.
  }
}

async function holderOf(path: string): Promise<number | null> {
  const pid = Number(await readFile(join(path, LOCK), "utf8").catch(() => ""));
  if (pid === process.pid) return null; // The system reused the id.
  return pid > 1 && await isRunning(pid, HOLDER) ? pid : null;
}

async function readSecrets(path: string): Promise<Secrets | null> {
  return await readPrivate(path, "secrets.json");
}

async function completeSecrets(path: string, found: Secrets | null): Promise<Secrets> {
  if (found?.apiKeySecret !== undefined && found.rootKey !== undefined) return found;
  const random = () => randomBytes(24).toString("hex");
  const secrets: Secrets = {
    superuserPassword: random(),
    ownerPassword: random(),
    appPassword: random(),
    jobsSecret: random(),
    apiKeySecret: random(),
    rootKey: randomBytes(ROOT_KEY_BYTES).toString("base64"),
    ...found ?? { signingKey: await createSigningKey() },
  };
  await writePrivate(path, "secrets.json", secrets);
  return secrets;
}

/** Returns null if the file does not exist. */
async function readPrivate<N extends keyof typeof FILES>(path: string, name: N): Promise<z.output<typeof FILES[N]["schema"]> | null> {
  const file = join(path, name);
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "EACCES") {
      throw new Refusal(`${file} belongs to another user: run this command as that user, or choose another directory with --data`);
    }
    return ignoreMissing(error);
  });
  if (text === null) return null;
  const { schema, advice } = FILES[name];
  const parsed = schema.safeParse(parseJson(text));
  if (!parsed.success) throw new Refusal(`${file} is damaged: ${advice}`);
  return parsed.data as z.output<typeof FILES[N]["schema"]>;
}

function ignoreMissing(error: NodeJS.ErrnoException): null {
  if (error.code !== "ENOENT") throw error;
  return null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function writePrivate(path: string, name: keyof typeof FILES, value: unknown): Promise<void> {
  await writeWhole(path, name, `${JSON.stringify(value, null, 2)}\n`);
}

/** Writes a file atomically. Only its owner may read it. */
async function writeWhole(path: string, name: string, text: string): Promise<void> {
  const draft = join(path, `${name}.${process.pid}`);
  try {
    await writeFile(draft, text, { mode: 0o600 });
    await handOver(draft, path);
    await rename(draft, join(path, name));
  } finally {
    await rm(draft, { force: true });
  }
}
