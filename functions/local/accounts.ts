import { chown, mkdir, readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { Refusal } from "./refusal.ts";

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** Creates a directory. As root, gives it to the owner of its parent. Returns the first directory that was missing. */
export async function makeDirectory(path: string, mode: number): Promise<string | undefined> {
  const first = await mkdir(path, { recursive: true, mode });
  if (first === undefined || !isRoot()) return first;
  const owner = await ownerOf(dirname(first));
  for (let folder = path; folder.length >= first.length; folder = dirname(folder)) {
    if (owner) await chown(folder, owner.uid, owner.gid);
  }
  return first;
}

/** As root, gives a file to the owner of a directory, so that this user can run the next start. */
export async function handOver(file: string, folder: string): Promise<void> {
  const owner = isRoot() ? await ownerOf(folder) : null;
  if (owner) await chown(file, owner.uid, owner.gid);
}

/** Null if the path belongs to root or to a user id without an account. */
async function ownerOf(path: string): Promise<Account | null> {
  const { uid, gid } = await stat(path);
  return uid !== 0 && (await accounts()).some((account) => account.uid === uid) ? { uid, gid } : null;
}

/** PostgreSQL does not run as root, so root runs it as the owner of its directory, else as `postgres` or `nobody`. Null: the current user. */
export async function serverAccount(folder: string): Promise<Account | null> {
  if (!isRoot()) return null;
  const owner = await ownerOf(folder);
  if (owner) return owner;
  const known = await accounts();
  const account = known.find(({ name }) => name === "postgres") ?? known.find(({ name }) => name === "nobody");
  if (!account) {
    throw new Refusal("PostgreSQL does not run as root, and there is no user postgres or nobody: run this command as another user");
  }
  return { uid: account.uid, gid: account.gid };
}

async function accounts(): Promise<(Account & { readonly name: string })[]> {
  const lines = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  return lines.flatMap(([name = "", , uid, gid]) => uid && gid ? [{ name, uid: Number(uid), gid: Number(gid) }] : []);
}

/** Returns a directory on the way to `path` that the account may not enter, or null. */
export async function closedFolder(path: string, account: Account | null): Promise<string | null> {
  if (!account) return null;
  for (let folder = path;; folder = dirname(folder)) {
    const { mode, uid, gid } = await stat(folder);
    const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
    if (!(mode & bit)) return folder;
    if (folder === dirname(folder)) return null;
  }
}
