import { randomBytes } from "node:crypto";
import { chmod, link, mkdtemp, readdir, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import type { JWK } from "jose";
import { z } from "zod";
import { handOver, isRoot, makeDirectory } from "./accounts.ts";
import { createSigningKey } from "./tokens.ts";
import { isRunning } from "./processes.ts";
import { Refusal } from "./refusal.ts";
import { clusterPath, holdsCluster, removeOutside } from "./server-home.ts";

export const POSTGRES_MAJOR = 18;
const FORMAT = 1;
const MARKER = "innkeep.json";
const LOCK = "start.pid";
/** What the command line of whoever holds the lock contains. */
const HOLDER = "functions/local/";

/** What the directory is and how far its making got; no secret is in it. */
const markerSchema = z.object({
  format: z.number(),
  postgres: z.number(),
  /** The port of the last run, taken again when it is free, so that a saved connection keeps working. */
  postgresPort: z.number().optional(),
  /** Set once seeding is done: the demo tenant, if there is one. */
  seeded: z.object({ tenantId: z.string().nullable() }).optional(),
});
export type Marker = z.output<typeof markerSchema>;

const jwk = z.custom<JWK>((value) => typeof value === "object" && value !== null && "kty" in value);
const secretsSchema = z.object({
  superuserPassword: z.string().min(1),
  ownerPassword: z.string().min(1),
  appPassword: z.string().min(1),
  jobsSecret: z.string().min(1),
  signingKey: z.object({ kid: z.string(), privateJwk: jwk, publicJwk: jwk }),
});
export type Secrets = z.output<typeof secretsSchema>;

const token = z.string().nullable();
/** `DIR/local.json`: where everything is, for people, tests and frontends. */
const infoSchema = z.object({
  url: z.url(),
  /** The superuser's, for inspection. */
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

/** The private files, and what to do when one is damaged. */
const FILES = {
  "innkeep.json": { schema: markerSchema, advice: "bring it back from a copy, or move the whole directory away to begin anew" },
  "secrets.json": { schema: secretsSchema, advice: "bring it back from a copy, or move the whole directory away to begin anew" },
  "local.json": { schema: infoSchema, advice: "remove it; the next npm start writes it" },
} as const;

export type TokenName = keyof LocalInfo["tokens"];

export interface DataDirectory {
  readonly path: string;
  readonly secrets: Secrets;
  readonly marker: Marker;
  updateMarker(change: Partial<Marker>): Promise<void>;
  writeInfo(info: LocalInfo): Promise<void>;
  /** A small file of the running stack, such as the id of a process. */
  writeNote(name: string, text: string): Promise<void>;
  /** Lets another start have it; removes it when it was temporary, or when this start laid it out and made no database. */
  release(): Promise<void>;
}

export async function temporaryDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "innkeep-"));
  await chmod(path, directoryMode());
  return path;
}

/** As root, PostgreSQL runs as another user, which has to get through to its own folder. */
function directoryMode(): number {
  return isRoot() ? 0o755 : 0o700;
}

/** Opens, or lays out, a data directory for this process alone. A foreign, older or used one is refused untouched. */
export async function openDataDirectory(path: string, options: { readonly removeAtEnd?: boolean } = {}): Promise<DataDirectory> {
  const firstMade = await makeDirectory(path, directoryMode()).catch((error: Error) => {
    throw new Refusal(`${path} cannot be a data directory: ${error.message}; choose another with --data`);
  });
  let marker = await readMarker(path);
  if (marker && options.removeAtEnd) {
    throw new Refusal(`--ephemeral removes its directory at the end, and ${path} holds data: choose an empty one`);
  }
  const found = await readSecrets(path);
  if (!found && await holdsCluster(path)) {
    throw new Refusal(`${path} holds a database, but not its secrets.json: ${FILES["secrets.json"].advice}`);
  }
  await lock(path);
  let isUsed = marker !== null;
  marker ??= await writeMarker(path, { format: FORMAT, postgres: POSTGRES_MAJOR });
  const secrets = found ?? await makeSecrets(path);
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

/** Takes away what a start that came to nothing has made, and the folders it had to make for that. */
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

/** For commands beside a running stack: what is in the directory, without claiming it. */
export async function peekDataDirectory(
  path: string,
): Promise<{ readonly secrets: Secrets; readonly info: LocalInfo | null; readonly running: boolean }> {
  const secrets = await readdir(path).then(() => readSecrets(path), ignoreMissing);
  if (!secrets) throw new Refusal(`${path} is no Innkeep data directory yet: run npm start first, or name another with --data`);
  return { secrets, info: await readPrivate(path, "local.json"), running: await holderOf(path) !== null };
}

/** Null for a new directory. */
async function readMarker(path: string): Promise<Marker | null> {
  const names = await readdir(path);
  const marker = names.includes(MARKER) ? await readPrivate(path, MARKER) : null;
  if (!marker) {
    const foreign = names.filter((name) => name !== LOCK && !name.startsWith(`${LOCK}.`) && !name.startsWith(`${MARKER}.`));
    if (foreign.length === 0) return null;
    throw new Refusal(
      `${path} is not empty and not an Innkeep data directory (it has ${foreign.slice(0, 3).join(", ")}); choose another with --data`,
    );
  }
  const version = (await readFile(join(await clusterPath(path), "PG_VERSION"), "utf8").catch(() => String(marker.postgres))).trim();
  if (marker.format > FORMAT) throw new Refusal(`${path} was made by a newer Innkeep: use that one, or another directory with --data`);
  if (marker.format < FORMAT || Number(version) !== POSTGRES_MAJOR) {
    throw new Refusal(
      `${path} holds the data of PostgreSQL ${version}, and this Innkeep runs ${POSTGRES_MAJOR}. ` +
        `For a fresh start move it away (mv ${path} ${path}.old); to keep the data, dump it with the release that made it and load it here.`,
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
    // Linked when it is whole: a start in between must never read a lock without its holder.
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
        }); stop it, or use another directory with --data`,
      );
    }
    await rm(join(path, LOCK), { force: true }); // its process was killed
  }
}

async function holderOf(path: string): Promise<number | null> {
  const pid = Number(await readFile(join(path, LOCK), "utf8").catch(() => ""));
  if (pid === process.pid) return null; // a reused id
  return pid > 1 && await isRunning(pid, HOLDER) ? pid : null;
}

async function readSecrets(path: string): Promise<Secrets | null> {
  return await readPrivate(path, "secrets.json");
}

async function makeSecrets(path: string): Promise<Secrets> {
  const random = () => randomBytes(24).toString("hex");
  const secrets: Secrets = {
    superuserPassword: random(),
    ownerPassword: random(),
    appPassword: random(),
    jobsSecret: random(),
    signingKey: await createSigningKey(),
  };
  await writePrivate(path, "secrets.json", secrets);
  return secrets;
}

/** Null when it is not there. */
async function readPrivate<N extends keyof typeof FILES>(path: string, name: N): Promise<z.output<typeof FILES[N]["schema"]> | null> {
  const file = join(path, name);
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "EACCES") throw new Refusal(`${file} belongs to another user: start as that user, or choose another --data`);
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

/** Whole or not at all, whenever the process is killed; only its owner may read it. */
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
