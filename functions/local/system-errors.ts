/** What to do about an error of the file system that is the machine's and not the program's. */
const ADVICE: Readonly<Record<string, string>> = {
  EACCES: "permission denied: start as the user it belongs to, or choose a folder of your own, for the data with --data",
  EPERM: "permission denied: start as the user it belongs to, or choose a folder of your own, for the data with --data",
  EROFS: "the file system is read-only: choose a folder that can be written, for the data with --data",
  ENOSPC: "the disk is full: make room there",
  EDQUOT: "your share of the disk is used up: make room there",
};

/** One line for an error of the file system; null for any other. A write that fails does not name its path. */
export function systemErrorMessage(error: unknown): string | null {
  const { code, path, dest } = error as NodeJS.ErrnoException & { readonly dest?: string };
  const advice = ADVICE[code ?? ""];
  if (!advice) return null;
  if (typeof path === "string") return `${dest ?? path}: ${advice}`;
  return code === "ENOSPC" || code === "EDQUOT" ? advice : null;
}
