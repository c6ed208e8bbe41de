import { stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { shownPath } from "./options.ts";
import { Refusal } from "./refusal.ts";
import { clusterPath, holdsCluster } from "./server-home.ts";

/** With less, PostgreSQL cannot add a segment of 16 MiB to its write-ahead log. */
export const FULL_BYTES = 17 * 2 ** 20;
/** The size of a new database with the demo data and its write-ahead log. */
const NEW_DATABASE_BYTES = 112 * 2 ** 20;
const CHECK_EVERY_MS = 5_000;

/** The free space on the disk of the database, for users other than root. Infinity if the file system has no size, as in /proc. */
export async function freeBytes(dataDir: string): Promise<number> {
  const data = await clusterPath(dataDir);
  for (let folder = data;; folder = dirname(folder)) {
    if (!await stat(folder).catch(() => null)) continue;
    const { blocks, bavail, bsize } = await statfs(folder);
    return blocks === 0 ? Infinity : bavail * bsize;
  }
}

export function fullDiskMessage(dataDir: string): string {
  return `the disk that holds ${shownPath(dataDir)} is full: free some space, or choose another disk with --data`;
}

/** Refuses a start if there is not enough free space. */
export async function assertRoom(dataDir: string): Promise<void> {
  const free = await freeBytes(dataDir);
  if (free < FULL_BYTES) throw new Refusal(fullDiskMessage(dataDir));
  if (free >= NEW_DATABASE_BYTES || await holdsCluster(dataDir)) return;
  const room = `the disk that holds ${shownPath(dataDir)} has ${mebibytes(free)} free`;
  throw new Refusal(
    `a new database needs ${mebibytes(NEW_DATABASE_BYTES)}, and ${room}: free some space, or choose another disk with --data`,
  );
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / 2 ** 20)} MiB`;
}

/** Reports once when the disk is full and once when it has space again. Returns a function that ends the watch. */
export function watchDisk(dataDir: string, say: (line: string) => void): () => Promise<void> {
  let wasFull = false;
  const check = async (): Promise<void> => {
    const isFull = await freeBytes(dataDir).then((bytes) => bytes < FULL_BYTES, () => wasFull);
    if (isFull && !wasFull) say(`the disk that holds ${shownPath(dataDir)} is full: changes fail until you free some space`);
    if (!isFull && wasFull) say(`the disk that holds ${shownPath(dataDir)} has free space again`);
    wasFull = isFull;
  };
  const timer = setInterval(() => void check(), CHECK_EVERY_MS);
  return () => {
    clearInterval(timer);
    return Promise.resolve();
  };
}
