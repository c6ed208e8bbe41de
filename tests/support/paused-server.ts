import { readFile } from "node:fs/promises";

/**
 * Stops all processes of a server with SIGSTOP. It keeps its sockets and sends nothing, like a machine that hangs.
 * Returns a function that resumes them. Reads /proc, so it works only on Linux.
 */
export async function pauseServer(postmaster: number): Promise<() => void> {
  const paused = [postmaster];
  const resume = () => {
    for (const pid of paused.splice(0).reverse()) signal(pid, "SIGCONT");
  };
  try {
    // The postmaster first, so that it starts no other process.
    signal(postmaster, "SIGSTOP");
    const children = (await readFile(`/proc/${postmaster}/task/${postmaster}/children`, "utf8")).trim().split(" ").filter(Boolean);
    for (const pid of children.map(Number)) {
      signal(pid, "SIGSTOP");
      paused.push(pid);
    }
    return resume;
  } catch (error) {
    resume();
    throw error;
  }
}

/** Sends a signal to a process, which may have ended since it was listed. */
function signal(pid: number, name: "SIGSTOP" | "SIGCONT"): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}
