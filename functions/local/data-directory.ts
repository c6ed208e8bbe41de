import { randomBytes } from "node:crypto";
import { chmod, link, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createSigningKey } from "./tokens.ts";
import type { SigningKey } from "./tokens.ts";
import { isRunning } from "./processes.ts";
import { Refusal } from "./refusal.ts";

export const POSTGRES_MAJOR = 18;
const FORMAT = 1;
const MARKER = "innkeep.json";
const LOCK = "start.pid";
/** What the command line of whoever holds the lock contains. */
const HOLDER = "functions/local/";

/** What the directory is and how far its making got; no secret is in it. */
interface Marker {
  readonly format: number;
  readonly postgres: number;
  /** The port of the last run, taken again when it is free, so that a saved connection keeps working. */
  readonly postgresPort?: number;
  /** Set once seeding is done: the demo tenant, if there is one. */
  readonly seeded?: { readonly tenantId: string | null };
}

export interface Secrets {
  readonly superuserPassword: string;
  readonly ownerPassword: string;
  readonly appPassword: string;
  readonly jobsSecret: string;
  readonly signingKey: SigningKey;
}

/** `DIR/local.json`: where everything is, for people, tests and frontends. */
export interface LocalInfo {
  readonly url: string;
  /** The superuser's, for inspection. */
  readonly databaseUrl: string;
  readonly jobsSecret: string;
  /** Null without a demo tenant. */
  readonly tokens: Readonly<Record<TokenName, string | null>>;
  readonly tenantId: string | null;
}

export type TokenName = "superAdmin" | "admin" | "support" | "readOnly" | "tenantOwner" | "tenantStaff" | "tenantViewer";

export interface DataDirectory {
  readonly path: string;
  readonly secrets: Secrets;
  readonly marker: Marker;
  updateMarker(change: Partial<Marker>): Promise<void>;
  writeInfo(info: LocalInfo): Promise<void>;
  /** Lets another start have it; removes it when it was temporary. */
  release(): Promise<void>;
}

export async function temporaryDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "innkeep-"));
  await chmod(path, directoryMode());
  return path;
}

/** As root, PostgreSQL runs as another user, which has to get through to its own folder. */
function directoryMode(): number {
  return process.getuid?.() === 0 ? 0o755 : 0o700;
}

/** Opens, or lays out, a data directory for this process alone. A foreign, older or used one is refused untouched. */
export async function openDataDirectory(path: string, options: { readonly removeAtEnd?: boolean } = {}): Promise<DataDirectory> {
  await mkdir(path, { recursive: true, mode: directoryMode() }).catch((error: Error) => {
    throw new Refusal(`${path} cannot be a data directory: ${error.message}`);
  });
  let marker = await readMarker(path);
  if (marker && options.removeAtEnd) {
    throw new Refusal(`--ephemeral removes its directory at the end, and ${path} holds data: choose an empty one`);
  }
  await lock(path);
  marker ??= await writeMarker(path, { format: FORMAT, postgres: POSTGRES_MAJOR });
  const secrets = await readSecrets(path) ?? await makeSecrets(path);
  return {
    path,
    secrets,
    get marker() {
      return marker as Marker;
    },
    async updateMarker(change) {
      marker = await writeMarker(path, { ...marker as Marker, ...change });
    },
    writeInfo: (info) => writePrivate(path, "local.json", info),
    async release() {
      if (options.removeAtEnd) await rm(path, { recursive: true, force: true });
      else await rm(join(path, LOCK), { force: true });
    },
  };
}

/** For commands beside a running stack: what is in the directory, without claiming it. */
export async function peekDataDirectory(
  path: string,
): Promise<{ readonly secrets: Secrets; readonly info: LocalInfo | null; readonly running: boolean }> {
  const secrets = await readMarker(path).then(() => readSecrets(path), () => null);
  if (!secrets) throw new Refusal(`${path} is no Innkeep data directory yet: run npm start first, or name another with --data`);
  return { secrets, info: await readJson<LocalInfo>(path, "local.json"), running: await holderOf(path) !== null };
}

/** Null for a new directory. */
async function readMarker(path: string): Promise<Marker | null> {
  const names = await readdir(path);
  const marker = names.includes(MARKER) ? await readJson<Marker>(path, MARKER) : null;
  if (!marker) {
    const foreign = names.filter((name) => name !== LOCK && !name.startsWith(`${LOCK}.`) && !name.startsWith(`${MARKER}.`));
    if (foreign.length === 0) return null;
    throw new Refusal(
      `${path} is not empty and not an Innkeep data directory (it has ${foreign.slice(0, 3).join(", ")}); choose another with --data`,
    );
  }
  const version = (await readFile(join(path, "postgres", "PG_VERSION"), "utf8").catch(() => String(marker.postgres))).trim();
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
      const info = await readJson<LocalInfo>(path, "local.json");
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
  return await readJson<Secrets>(path, "secrets.json");
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

async function readJson<T>(path: string, name: string): Promise<T | null> {
  const text = await readFile(join(path, name), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  return text === null ? null : JSON.parse(text) as T;
}

/** Whole or not at all, whenever the process is killed; only its owner may read it. */
async function writePrivate(path: string, name: string, value: unknown): Promise<void> {
  const draft = join(path, `${name}.${process.pid}`);
  await writeFile(draft, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  await rename(draft, join(path, name));
}
