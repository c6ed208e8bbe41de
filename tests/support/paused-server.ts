import { readFile } from "node:fs/promises";

/**
 * Stops a server with SIGSTOP, all its processes: it keeps its sockets and answers nothing, as a machine
 * that hangs does. Answers what sets it going again. Reads /proc, so only on Linux.
 */
export async function pauseServer(postmaster: number): Promise<() => void> {
  const paused = [postmaster];
  const resume = () => {
    for (const pid of paused.splice(0).reverse()) signal(pid, "SIGCONT");
  };
  try {
    // The postmaster first: from then on it starts no others.
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

/** A backend may have ended since it was listed. */
function signal(pid: number, name: "SIGSTOP" | "SIGCONT"): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}
