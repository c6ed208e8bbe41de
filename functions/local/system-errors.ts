/** What to do about a file system error that the machine causes, not the program. */
const ADVICE: Readonly<Record<string, string>> = {
  EACCES: "permission denied: run this command as the owner of this path, or, for the data directory, choose another with --data",
  EPERM: "permission denied: run this command as the owner of this path, or, for the data directory, choose another with --data",
  EROFS: "the file system is read-only: make it writable, or, for the data directory, choose another with --data",
  ENOSPC: "the disk is full: free some space",
  EDQUOT: "your disk quota is exceeded: free some space",
};

/** The message for a file system error, or null for another error. A failed write does not report its path. */
export function systemErrorMessage(error: unknown): string | null {
  const { code, path, dest } = error as NodeJS.ErrnoException & { readonly dest?: string };
  const advice = ADVICE[code ?? ""];
  if (!advice) return null;
  if (typeof path === "string") return `${dest ?? path}: ${advice}`;
  return code === "ENOSPC" || code === "EDQUOT" ? advice : null;
}
